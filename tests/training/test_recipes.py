"""The recipe for Europarl-ST runs from its files to an evaluated adapter."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from skipwise.cli.main import app
from skipwise.gating import GateAdapter
from skipwise.models.owsm.loading import load_owsm
from tests.espnet_folder import write_espnet
from tests.tiny import SENTENCES, tone

RECIPES = Path(__file__).parents[2] / "recipes"
SECONDS = ((0.3, 2.1), (2.4, 4.0), (4.2, 6.5))


def write_europarl_st(root: Path) -> Path:
    """A corpus as Europarl-ST v1.1 is on disk: AAC in .m4a at 44.1 kHz, two languages, one speech in each split."""
    for source, spoken in (("de", SENTENCES[0:2]), ("fr", SENTENCES[4:6])):
        audios = root / "v1.1" / source / "audios"
        audios.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            name, folder = f"{source}.{split}", root / "v1.1" / source / "en" / split
            folder.mkdir(parents=True)
            _write_m4a(audios / f"{name}.m4a", seed=len(name))
            texts = [spoken[index % 2] for index in range(len(SECONDS))]
            files = {
                "segments.lst": [f"{name} {start:.2f} {end:.2f}" for start, end in SECONDS],
                f"segments.{source}": texts,
                "segments.en": [SENTENCES[2 + index % 2] for index in range(len(SECONDS))],
                "speeches.lst": [name],
                "speakers.lst": [f"speaker of {split}"],
            }
            for file, lines in files.items():
                (folder / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return root / "v1.1"


def _write_m4a(path: Path, *, seed: int) -> None:
    samples = np.repeat(tone(7.0, seed=seed), 3)[: 7 * 44_100]  # its pitch does not matter
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 44_100, Fraction(1, 44_100)
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def test_the_recipe_for_europarl_st_goes_from_its_files_and_a_model_of_espnet_to_an_evaluated_adapter(
    tmp_path: Path,
) -> None:
    corpus, base = write_europarl_st(tmp_path), write_espnet(tmp_path / "owsm")
    output = tmp_path / "run"
    few = {"max_steps": 3, "warmup_steps": 1, "batch_s": 60, "pieces": 2, "eval_steps": 3, "eval_utterances": 2}
    changes = [f"optimisation.{name}={value}" for name, value in few.items()]
    changes += [f"output={output}", f"data.root={corpus}", "data.languages=[de, fr]", f"model.init={base}"]
    run = CliRunner().invoke(app, ["train", str(RECIPES / "europarl_st" / "base.yaml"), *changes])
    assert run.exit_code == 0, run.output
    adapter = GateAdapter.from_pretrained(output / "model" / "gates")
    model = load_owsm(output / "model")
    assert adapter.is_elastic and adapter.config.scope == "both"
    assert model.network.config.window_s == 30.0, "as OWSM has it"

    result = tmp_path / "result.json"
    asked = ["--model", str(output / "model"), "--data", str(corpus), "--split", "test", "--sparsity", "0.5", "--exact"]
    run = CliRunner().invoke(app, ["evaluate", *asked, "--json", str(result), "--max-length-ratio", "-5"])
    assert run.exit_code == 0, run.output
    found = json.loads(result.read_text())
    cell = found["all"] if "all" in found else next(iter(found.values()))["all"]
    assert cell["utterances"] == 2 * 2 * len(SECONDS)
    assert cell["sparsity"] == pytest.approx({"encoder": 0.5, "decoder": 0.5}, abs=0.06), "whole sites: 5 of 9"
