"""docs/prune_your_own.md works as written: its commands, as they stand, on a small folder."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from skipwise.cli.main import app, run
from skipwise.data.manifest import read_manifest
from skipwise.gating import GateAdapter
from skipwise.pipeline import shipped_clips
from skipwise.training.config import load_config
from skipwise.training.recipes import shipped_recipe

_GUIDE = Path(__file__).parents[1] / "docs" / "prune_your_own.md"
_REHEARSAL = "optimisation.max_steps=4"
_SPEAKERS = ("anna", "bert", "carla")

pytestmark = pytest.mark.skipif(not _GUIDE.is_file(), reason="a source distribution has no docs")


def commands() -> list[list[str]]:
    (block,) = re.findall(r"<!-- guide: .*? -->\n```\n(.*?)```\n<!-- end of guide -->", _text(), re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


def _text() -> str:
    return _GUIDE.read_text(encoding="utf-8")


def make_recordings(folder: Path) -> None:
    """The shipped German clips, which espeak-ng spoke, as if they were three speakers' own."""
    clips = [clip for clip in read_manifest(shipped_clips()) if clip.language == "deu"]
    for speaker in _SPEAKERS:
        place = folder / speaker
        place.mkdir(parents=True)
        for number, clip in enumerate(clips[:2], start=1):
            shutil.copy(clip.audio, place / f"{number:04d}.flac")
            (place / f"{number:04d}.txt").write_text(f"{clip.transcript}\n", encoding="utf-8")
    # the guide transcribes a wav; libsndfile reads what is in a file, whatever its name says
    first = folder / _SPEAKERS[0] / "0001.flac"
    first.rename(first.with_suffix(".wav"))


@pytest.mark.slow
def test_the_commands_work_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_recordings(tmp_path / "recordings")
    five = commands()
    assert len(five) == 5 and _REHEARSAL in _text(), "what shortens the training is documented"
    told = []
    for command in five:
        argv = [*command, _REHEARSAL] if command[1] == "train" else command
        monkeypatch.setattr(sys, "argv", argv)
        with torch.random.fork_rng():
            assert run(app) == 0, (command, capsys.readouterr().err)
        told.append(capsys.readouterr().out)
    imported, trained, on_dev, on_test, transcript = told
    assert "train: 0.00 h, 2 utterances of deu, 1 speaker\n" in imported
    assert "4 steps, asr of deu" in trained and "adapter: runs/prune/gates" in trained
    assert [line.split()[0] for line in on_dev.splitlines() if "×" in line] == ["dense", "30", "50", "70"]
    assert [line.split()[0] for line in on_test.splitlines() if "×" in line] == ["dense", "50"]
    assert "of data/mine, test. Brackets" in on_test and "of data/mine, dev. Brackets" in on_dev
    assert len(transcript.split()) > 3
    adapter = GateAdapter.from_pretrained(tmp_path / "runs" / "prune" / "gates")
    assert adapter.is_elastic and adapter.lora is not None, "the base is left as it is"


def changes() -> list[str]:
    """What the guide says to append to the recipe."""
    return sorted(set(re.findall(r"`((?:gates|model|optimisation|data)\.[^`]*=[^`]+)`", _text())))


@pytest.mark.parametrize("change", changes() if _GUIDE.is_file() else [])
def test_what_the_guide_says_to_change_can_be_changed(change: str) -> None:
    overrides = ["data.root=data", "data.languages=[de]", "data.tasks=[asr, st_eng]", *shlex.split(change)]
    config = load_config(shipped_recipe("prune"), overrides)
    assert config != load_config(shipped_recipe("prune"), overrides[:3])
