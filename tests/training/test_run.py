import json
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter
from skipwise.models.attach import attach
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import Transcriber
from skipwise.training.run import train
from skipwise.training.trainer import _arguments
from tests.tiny import tone

ROOT = Path(__file__).parents[2]
GATES = {"scope": "both", "sparsity": 0.5, "learning_rate": 0.05}


def _weights(folder):
    return load_file(folder / "model.safetensors")


def test_a_base_and_then_its_gates_come_out_ready_to_use(base_config):
    base = train(base_config())
    assert Transcriber(base).languages == ("deu", "eng", "fra")
    gated = train(base_config("gated", model={"init": str(base)}, gates=GATES))
    transcript = Transcriber(gated).transcribe((tone(2.0), 16_000), language="de", task="st_eng")
    assert set(transcript.sparsity) == {"encoder", "decoder"}
    attach(load_owsm(gated).network, gated / "gates")
    with pytest.raises(SkipwiseError, match="another base"):
        attach(load_owsm(base).network, gated / "gates")


def test_every_step_is_told(base_config):
    steps = []
    train(base_config(), on_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]


def test_training_changes_the_base_and_the_gates(base_config):
    base = train(base_config())
    gated = train(base_config("gated", model={"init": str(base)}, gates=GATES))
    before, after = _weights(base), _weights(gated)
    assert before.keys() == after.keys()
    assert not torch.equal(before["model.decoder.lm_head.weight"], after["model.decoder.lm_head.weight"])
    # features are normalised by what the base was trained with
    assert torch.equal(before["model.feature_mean"], after["model.feature_mean"])
    assert GateAdapter.from_pretrained(gated / "gates").config.scope == "both"


def test_gates_that_follow_budgets_are_trained_over_a_range_and_measured_at_several(base_config):
    base = train(base_config())
    elastic = {"sparsity_range": [0.0, 0.9], "context": ["language", "task", "speech", "budget"]}
    config = base_config("elastic", model={"init": str(base)}, gates=GATES | elastic)
    trained = train(config)
    assert GateAdapter.from_pretrained(trained / "gates").is_elastic
    history = json.loads((config.output / "summary.json").read_text())["history"]
    logged = {name for line in history for name in line}
    assert {f"eval_pruned_{budget}_sparsity_decoder" for budget in (30, 50, 70)} <= logged
    found = Transcriber(trained, sparsity=0.8).transcribe((tone(2.0), 16_000), language="de")
    assert set(found.sparsity) == {"encoder", "decoder"}


def test_gates_go_on_from_those_of_an_adapter_that_fits(base_config):
    base = train(base_config())
    gated = train(base_config("gated", model={"init": str(base)}, gates=GATES))
    still = GATES | {"init": str(gated / "gates"), "learning_rate": 1e-9, "default_scope": "decoder"}
    further = train(base_config("further", model={"init": str(gated)}, gates=still))
    before, after = (load_file(folder / "gates" / "gate_model.safetensors") for folder in (gated, further))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-6)
    assert GateAdapter.from_pretrained(further / "gates").pruned_stacks() == ("decoder",)
    with pytest.raises(SkipwiseError, match=r"gates.init: .* has other context than this run: .* there, .* here"):
        other = still | {"context": ["task"]}
        train(base_config("other", model={"init": str(gated)}, gates=other))


def test_gates_go_on_from_those_of_an_adapter_on_the_stacks_that_both_have(base_config):
    base = train(base_config())
    both = train(base_config("both", model={"init": str(base)}, gates=GATES))
    of_one = GATES | {"scope": "decoder", "init": str(both / "gates"), "learning_rate": 1e-9}
    one = train(base_config("one", model={"init": str(base)}, gates=of_one))
    again = of_one | {"scope": "both", "init": str(one / "gates")}
    last = train(base_config("last", model={"init": str(base)}, gates=again))
    before, after = (load_file(folder / "gates" / "gate_model.safetensors") for folder in (both, last))
    same = {name: torch.allclose(after[name], weight, atol=1e-6) for name, weight in before.items()}
    assert all(kept for name, kept in same.items() if "decoder" in name)
    assert not all(kept for name, kept in same.items() if "encoder" in name), "the encoder's are fresh"
    with pytest.raises(SkipwiseError, match=r"has gates on the decoder alone, this run on the encoder.*scope: both"):
        wrong = again | {"scope": "encoder"}
        train(base_config("wrong", model={"init": str(base)}, gates=wrong))


def test_gates_to_go_on_from_that_are_not_there_are_told_before_features_are_made(base_config, monkeypatch):
    monkeypatch.setattr("skipwise.training.run.starting_point", lambda config: pytest.fail("features are made"))
    with pytest.raises(SkipwiseError, match="no gate adapter at nowhere"):
        train(base_config(gates=GATES | {"init": "nowhere"}))


def test_a_model_is_averaged_with_the_one_it_went_on_from(base_config, tmp_path):
    base = train(base_config())
    gated = train(base_config("gated", model={"init": str(base)}, gates=GATES))
    average = runpy.run_path(str(ROOT / "recipes" / "parliament" / "average.py"))["average"]
    average(base, gated, tmp_path / "averaged", share=0.25, decoder_share=0.75)
    before, after, found = (_weights(folder) for folder in (base, gated, tmp_path / "averaged"))
    for name, weight in found.items():
        share = 0.75 if "decoder." in name else 0.25
        torch.testing.assert_close(weight, (1 - share) * before[name] + share * after[name])
    kept = (load_file(folder / "gates" / "gate_model.safetensors") for folder in (gated, tmp_path / "averaged"))
    assert all(torch.equal(*pair) for pair in zip(*(weights.values() for weights in kept), strict=True))
    found = Transcriber(tmp_path / "averaged").transcribe((tone(2.0), 16_000), language="de")
    assert set(found.sparsity) == {"encoder", "decoder"}, "its gates know it"


def test_the_window_of_a_trained_base_may_change_and_its_widths_may_not(base_config):
    base = train(base_config())
    padded = train(base_config("padded", model={"init": str(base), "architecture": {"window_s": 6.0}}))
    assert load_owsm(padded).network.config.window_s == 6.0
    with pytest.raises(SkipwiseError, match=r"model.architecture.hidden_size cannot change in a trained base; allowed"):
        train(base_config("wide", model={"init": str(base), "architecture": {"hidden_size": 64}}))


def test_a_resumed_run_equals_one_that_was_not_interrupted(base_config):
    base = train(base_config())
    config = base_config("whole", model={"init": str(base)}, gates=GATES | {"penalty": "lagrangian"})
    whole = train(config)
    expected, gates = _weights(whole), load_file(whole / "gates" / "gate_model.safetensors")
    shutil.rmtree(whole)
    shutil.rmtree(config.output / "checkpoints" / "checkpoint-6")
    resumed = train(config, resume=True)
    for name, tensor in _weights(resumed).items():
        assert torch.equal(tensor, expected[name]), name
    for name, tensor in load_file(resumed / "gates" / "gate_model.safetensors").items():
        assert torch.equal(tensor, gates[name]), name


def test_another_seed_gives_another_model(base_config):
    first, other = train(base_config()), train(base_config("other", seed=4))
    assert not torch.equal(_weights(first)["model.ctc_head.weight"], _weights(other)["model.ctc_head.weight"])


def test_the_log_holds_every_part_of_the_loss_and_the_dev_scores(base_config):
    base = train(base_config())
    config = base_config("gated", model={"init": str(base)}, gates=GATES)
    train(config)
    summary = json.loads((config.output / "summary.json").read_text())
    logged = {name for line in summary["history"] for name in line}
    for stack in ("encoder", "decoder"):
        assert {f"penalty_{stack}", f"sparsity_sampled_{stack}", f"sparsity_argmax_{stack}"} <= logged
    assert {"ctc", "attention", "pruned_attention", "eval_wer", "eval_pruned_wer", "eval_pruned_bleu"} <= logged
    assert summary["config"]["seed"] == 3
    assert list((config.output / "tensorboard").glob("events.*"))


def test_a_folder_with_a_run_is_not_overwritten(base_config):
    train(base_config())
    with pytest.raises(SkipwiseError, match=r"reached checkpoint-6\. Add --resume"):
        train(base_config())
    shutil.rmtree(base_config().output / "checkpoints")
    with pytest.raises(SkipwiseError, match=r"base/model holds a trained model, which a new run would replace"):
        train(base_config())


def test_nothing_to_train_on_is_said(base_config):
    with pytest.raises(SkipwiseError, match=r"no train utterances of at most 0\.5 s in deu, fra"):
        train(base_config(data={"max_window_s": 0.5}, optimisation={"eval_utterances": 0}))


def test_an_unknown_field_of_the_architecture_names_the_known_ones(base_config):
    with pytest.raises(SkipwiseError, match=r"unknown key model\.architecture\.depth; allowed there: .*encoder_layers"):
        train(base_config(model={"architecture": {"depth": 3}}))


@pytest.mark.parametrize("has_amx", [True, False])
def test_mixed_precision_is_chosen_by_what_the_cpu_has(base_config, monkeypatch, has_amx):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": has_amx})
    assert _arguments(base_config(optimisation={"bf16": "auto"}), has_dev=False).bf16 is has_amx
    assert _arguments(base_config(optimisation={"bf16": True}), has_dev=False).bf16
