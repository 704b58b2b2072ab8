"""recipes/espnet runs from a corpus and a base to a converted model, in a minute instead of a day."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("espnet2", reason="needs ESPnet: `make oracle`")

from skipwise.gating import GateAdapter
from skipwise.models.attach import describe_base
from skipwise.models.owsm.loading import load_owsm
from tests.interop.clips import RATE, clip

ROOT = Path(__file__).parents[3]
RUN = ROOT / "recipes" / "espnet" / "run.sh"
SHORT = "--max_epoch 1 --num_iters_per_epoch 2 --batch_size 2 --num_workers 0 --use_amp false --keep_nbest_models 1"

pytestmark = pytest.mark.parametrize("folder", ["tiny-4x"], indirect=True, scope="session")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two speeches in the layout of Europarl-ST, the same in each split."""
    audios = tmp_path / "corpus" / "v1.1" / "de" / "audios"
    audios.mkdir(parents=True)
    for index, name in enumerate(("one", "two")):
        soundfile.write(audios / f"{name}.flac", clip(4.0, seed=index), RATE)
        shutil.move(audios / f"{name}.flac", audios / f"{name}.m4a")  # content decides, not the name
    files = {
        "segments.lst": ["one 0.50 2.25", "one 2.50 4.00", "two 1.00 3.00"],
        "segments.de": ["das Budget", "der Rat", "das Parlament"],
        "segments.en": ["the budget", "the council", "the parliament"],
        "speeches.lst": ["one", "two"],
        "speakers.lst": ["Anna", "Bert"],
    }
    for split in ("train", "dev", "test"):
        pair = tmp_path / "corpus" / "v1.1" / "de" / "en" / split
        pair.mkdir(parents=True)
        for name, lines in files.items():
            (pair / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path / "corpus"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(["bash", str(RUN), *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_recipe_runs_from_corpus_to_converted_model(folder: Path, corpus: Path, tmp_path: Path) -> None:
    done = _run(
        *("--corpus", str(corpus), "--base", str(folder), "--languages", "de", "--dir", str(tmp_path / "exp")),
        *("--ngpu", "0", "--train_args", SHORT, "--python", sys.executable),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    exp = tmp_path / "exp"
    assert (exp / "data" / "train" / "text").read_text(encoding="utf-8").count("<deu><st_eng><notimestamps> the ") == 3
    result = json.loads((exp / "decode" / "result.json").read_text(encoding="utf-8"))
    assert set(result["dense"]) == set(result["pruned"]) == {"seconds", "utterances", "asr", "st_eng"}
    assert result["pruned"]["utterances"] == 6
    adapter = GateAdapter.from_pretrained(exp / "model" / "gates")
    assert adapter.config.scope == "decoder" and adapter.config.sparsity == 0.5
    assert adapter.base == describe_base(load_owsm(exp / "model").network)


def test_a_wrong_option_is_named(folder: Path) -> None:
    done = _run("--corpora", "here")
    assert done.returncode == 2 and "options are --corpus --base" in done.stderr
    done = _run("--corpus", "here")
    assert done.returncode == 2 and "--corpus DIR --base DIR" in done.stderr
