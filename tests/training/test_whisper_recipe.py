"""The recipe of the tiny Whisper runs from a corpus to a pruned transcript."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from skipwise.cli.main import app
from skipwise.gating import GateAdapter
from skipwise.training.config import load_config
from tests.tiny import tone
from tests.training.test_recipes import RECIPES, write_europarl_st

RECIPE = RECIPES / "parliament_whisper"
SMALL = ["optimisation.max_steps=3", "optimisation.warmup_steps=1", "optimisation.batch_s=28"]
SMALL += ["optimisation.eval_steps=3", "optimisation.eval_utterances=2", "optimisation.log_steps=1"]


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_recipe_goes_from_a_corpus_to_a_pruned_transcript(tmp_path: Path) -> None:
    data = ["--data", str(write_europarl_st(tmp_path)), "--split", "test"]
    changes = [*SMALL, f"data.root={data[1]}", "data.languages=[de, fr]", "data.jobs=1"]
    base, gated = tmp_path / "base", tmp_path / "gated"
    run("train", str(RECIPE / "base.yaml"), f"output={base}", "model.vocabulary_size=300", *changes)
    run("train", str(RECIPE / "gates.yaml"), f"output={gated}", f"model.init={base / 'model'}", *changes)
    adapter = GateAdapter.from_pretrained(gated / "model" / "gates")
    assert (adapter.base.family, adapter.config.scope, adapter.config.sparsity) == ("whisper", "decoder", 0.5)

    model = ["--model", str(gated / "model"), "--sparsity", "0.5", "--exact"]
    run("evaluate", *model, *data, "--task", "asr", "--json", str(tmp_path / "r.json"), "--max-length-ratio", "-5")
    found = json.loads((tmp_path / "r.json").read_text())
    cell = found["all"] if "all" in found else next(iter(found.values()))["all"]
    assert cell["utterances"] == 6 and cell["sparsity"] == pytest.approx({"encoder": 0.0, "decoder": 0.5})

    soundfile.write(tmp_path / "speech.wav", tone(2.0), 16_000)
    said = json.loads(run("transcribe", str(tmp_path / "speech.wav"), *model, "--language", "de", "--json"))
    assert said["sparsity"]["decoder"] == 0.5


def test_dense_and_gated_training_differ_in_nothing_but_the_gates() -> None:
    gated, dense = (load_config(RECIPE / f"{name}.yaml").model_dump() for name in ("gates", "dense"))
    assert gated.pop("gates") and not dense.pop("gates")
    assert gated.pop("output") != dense.pop("output") and gated == dense


def test_the_gates_start_from_the_base_of_the_recipe() -> None:
    base, gates = (load_config(RECIPE / f"{name}.yaml") for name in ("base", "gates"))
    assert Path(gates.model.init) == base.output / "model"
    assert base.model.family == "whisper" and base.model.auxiliary_ctc > 0
