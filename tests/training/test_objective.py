from typing import Any

import pytest
import torch

from skipwise.gating import Context, GateConfig, MlpPredictorConfig, PenaltyConfig, Scope
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.models.attach import attach
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.training.batches import TrainBatch
from skipwise.training.objective import GatedObjective, ObjectiveConfig
from tests.tiny import tiny_network

SETTINGS: dict[str, Any] = {"max_steps": 10, "seed": 1, "ctc_weight_start": 0.7, "ctc_warmup_steps": 0}


def _batch(step: int = 0) -> TrainBatch:
    """Two windows, each transcribed and translated."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 60, (4, 7), generator=generator)
    labels = torch.cat([tokens[:, 1:], torch.full((4, 1), 5)], dim=1)
    labels[1, 4:] = IGNORED_LABEL
    return TrainBatch(
        features=torch.randn(2, 120, 80, generator=generator),
        num_frames=torch.tensor([120, 90]),
        num_real_frames=torch.tensor([120, 90]),
        row_window=torch.tensor([0, 1, 0, 1]),
        step_rows=[0, 1, 2, 3],
        contexts=[Context(language=lang, task=task) for task in ("asr", "st_eng") for lang in ("deu", "fra")],
        tokens=tokens,
        labels=labels,
        ctc_targets=torch.randint(3, 60, (2, 5), generator=generator),
        num_ctc_targets=torch.tensor([5, 3]),
        weight=1.0,
        num_step_windows=2,
        num_step_rows=4,
        num_step_labels=25,
        num_step_ctc_targets=8,
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


def _part(batch: TrainBatch, window: int) -> TrainBatch:
    """One window of a step, as a batch of its own."""
    rows = [window, window + 2]
    given: dict[str, Any] = dict(batch)
    part: dict[str, Any] = {
        name: given[name][[window]] for name in ("features", "num_frames", "num_real_frames", "ctc_targets")
    }
    part |= {name: given[name][rows] for name in ("tokens", "labels")}
    part["num_ctc_targets"] = batch["num_ctc_targets"][[window]]
    part |= {"row_window": torch.tensor([0, 0]), "step_rows": rows}
    part["contexts"] = [batch["contexts"][row] for row in rows]
    return TrainBatch(**given | part)


@pytest.mark.parametrize("scope", [None, "decoder", "both"])
@pytest.mark.parametrize("normalized", [True, False])
def test_the_losses_and_gradients_of_the_parts_of_a_step_sum_up_to_those_of_the_step(scope, normalized):
    settings = {"target_sparsity": 0.5, "dense_share": 0.5, "context_dropout": 0.3}
    objective = _objective(scope, penalty=PenaltyConfig(per_row=True), **settings)
    objective.network.config.length_normalized_loss = normalized
    whole = objective.losses(_batch())
    whole["loss"].backward()
    expected = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    parts = [objective.losses(_part(_batch(), window)) for window in (0, 1)]
    for part in parts:
        part["loss"].backward()
    for name, value in whole.items():
        assert sum(float(part[name].detach()) for part in parts) == pytest.approx(float(value.detach()), rel=1e-4), name
    for name, parameter in objective.named_parameters():
        if name in expected:
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-4 * scale + 3e-7)


def test_a_stand_in_adds_nothing():
    objective = _objective("both", target_sparsity=0.5)
    stand_in = _batch()
    stand_in["weight"] = 0.0
    parts = objective.losses(stand_in)
    assert {float(value.detach()) for value in parts.values()} == {0.0}


def test_targets_are_drawn_for_each_row_and_reach_gates_that_follow_budgets():
    network = tiny_network(dropout=0.0, attention_dropout=0.0).train()
    adapter = attach(network, GateConfig(scope="decoder", context=(*HIDEABLE_PARTS, "budget")))
    objective = GatedObjective(
        network, ObjectiveConfig(**SETTINGS, sparsity_range=(0.2, 0.8), penalty=PenaltyConfig(per_row=True))
    )
    asked = []
    sample = adapter.sample

    def spying(stack, contexts, *rest, **named):
        asked.append([context.budget for context in contexts])
        return sample(stack, contexts, *rest, **named)

    adapter.sample = spying
    objective.losses(_batch(0))
    objective.losses(_batch(1))
    assert len({budget for row in asked for budget in row}) == 8
    assert all(0.2 <= budget <= 0.8 for row in asked for budget in row)
