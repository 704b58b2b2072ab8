from typing import Any

import pytest
import torch

from skipwise.gating import Context, GateConfig, MlpPredictorConfig, Scope
from skipwise.models.attach import attach
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.training.batches import TrainBatch, plan_steps
from skipwise.training.objective import GatedObjective, ObjectiveConfig
from tests.tiny import tiny_network

SETTINGS: dict[str, Any] = {"max_steps": 10, "seed": 1, "ctc_weight_start": 0.7, "ctc_warmup_steps": 0}


def _batch(step: int = 0) -> TrainBatch:
    """Two utterances, each transcribed and translated."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 60, (4, 7), generator=generator)
    labels = torch.cat([tokens[:, 1:], torch.full((4, 1), 5)], dim=1)
    labels[1, 4:] = IGNORED_LABEL
    return TrainBatch(
        features=torch.randn(2, 120, 80, generator=generator),
        num_frames=torch.tensor([120, 90]),
        row_utterance=torch.tensor([0, 1, 0, 1]),
        contexts=[Context(language=lang, task=task) for task in ("asr", "st_eng") for lang in ("deu", "fra")],
        tokens=tokens,
        labels=labels,
        ctc_targets=torch.randint(3, 60, (2, 5), generator=generator),
        num_ctc_targets=torch.tensor([5, 3]),
        step=step,
    )


def _objective(scope: Scope | None = None, **settings) -> GatedObjective:
    network = tiny_network(dropout=0.0, attention_dropout=0.0).train()
    if scope is not None:
        torch.manual_seed(0)
        attach(network, GateConfig(scope=scope, predictor=MlpPredictorConfig(open_bias=0.5, output_std=0.5)))
    return GatedObjective(network, ObjectiveConfig(**SETTINGS | settings))


def _count_calls(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_without_gates_the_loss_is_ctc_and_attention():
    parts = _objective().losses(_batch())
    assert float(parts["loss"].detach()) == pytest.approx(
        float(0.3 * parts["ctc"] + 0.7 * parts["attention"]), rel=1e-6
    )


def test_ctc_leads_during_its_warm_up():
    parts = _objective(ctc_warmup_steps=5).losses(_batch(step=4))
    assert float(parts["loss"].detach()) == pytest.approx(
        float(0.7 * parts["ctc"] + 0.3 * parts["attention"]), rel=1e-6
    )


@pytest.mark.parametrize(("scope", "expected"), [("decoder", 1), ("both", 2), ("encoder", 2)])
def test_an_encoder_without_gates_runs_once_for_both_passes(scope, expected):
    objective = _objective(scope, dense_share=0.5, target_sparsity=0.5)
    calls = _count_calls(objective.network.encoder.final_norm)
    objective.losses(_batch())
    assert len(calls) == expected


def test_without_a_dense_share_a_gated_encoder_runs_once():
    objective = _objective("both", dense_share=0.0, target_sparsity=0.5)
    calls = _count_calls(objective.network.encoder.final_norm)
    assert "attention" not in objective.losses(_batch())
    assert len(calls) == 1


@pytest.mark.parametrize("scope", ["encoder", "decoder", "both"])
def test_the_gradient_reaches_every_predictor_and_the_base(scope):
    objective = _objective(scope, dense_share=0.5, target_sparsity=0.5)
    objective.losses(_batch())["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in objective.network.named_parameters()}
    stacks = ("encoder", "decoder") if scope == "both" else (scope,)
    predictors = [f"gate_adapter.predictors.{stack}.output.weight" for stack in stacks]
    for name in (*predictors, "decoder.layers.0.ffn.fc1.weight", "encoder.layers.0.cgmlp.in_proj.weight"):
        gradient = gradients[name]
        assert gradient is not None and gradient.abs().sum() > 0, name


def test_gates_differ_from_step_to_step_and_repeat_with_the_seed():
    objective = _objective("decoder", target_sparsity=0.5)
    first, again, later = (float(objective.losses(_batch(step))["pruned_attention"]) for step in (0, 0, 1))
    assert first == again != later


def test_every_epoch_uses_every_utterance_once_and_orders_differ():
    durations = [1.0 + 0.1 * i for i in range(20)]
    steps = plan_steps(durations, batch_s=8.0, max_steps=200, sorted_epochs=1, seed=1)
    assert len(steps) == 200
    seen: list[int] = []
    while len(seen) < 2 * len(durations):
        seen += steps.pop(0)
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]
    assert plan_steps(durations, batch_s=8.0, max_steps=50, sorted_epochs=0, seed=1) == plan_steps(
        durations, batch_s=8.0, max_steps=50, sorted_epochs=0, seed=1
    )
