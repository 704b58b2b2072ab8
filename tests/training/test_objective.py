from typing import Any

import pytest
import torch

from skipwise.gating import (
    Context,
    GateConfig,
    GateSample,
    LayerDropPredictorConfig,
    LocalPredictorConfig,
    MlpPredictorConfig,
    PenaltyConfig,
    RandomPredictorConfig,
    Scope,
    SparsityWarmup,
    StaticPredictorConfig,
    TablePredictorConfig,
)
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.predictors import PredictorConfig
from skipwise.models.attach import attach
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.training.batches import TrainBatch
from skipwise.training.distillation import Distillation
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


def test_a_multiplier_moves_once_a_step_in_however_many_parts():
    penalty = PenaltyConfig(form="lagrangian")
    whole, parts = (_objective("decoder", penalty=penalty, target_sparsity=0.9) for _ in range(2))
    whole.losses(_batch())
    for window in (0, 1):
        parts.losses(_part(_batch(), window))
    assert float(whole.penalty.multipliers.abs().max()) > 0.01
    torch.testing.assert_close(parts.penalty.multipliers, whole.penalty.multipliers, rtol=0, atol=1e-6)


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
def test_rows_whose_gates_are_held_open_are_dense_and_teach_no_gates(scope):
    expected = _objective(scope, dense_share=0.5, target_sparsity=0.5).losses(_batch())
    objective = _objective(scope, open_share=1.0, target_sparsity=0.5, penalty=PenaltyConfig(per_row=True))
    found = objective.losses(_batch())
    for name in ("ctc", "attention"):
        torch.testing.assert_close(found[f"pruned_{name}"], expected[name])
    found["loss"].backward()
    stacks = ("encoder", "decoder") if scope == "both" else (scope,)
    for stack in stacks:
        assert float(found[f"penalty_{stack}"]) == 0 and float(found[f"sparsity_sampled_{stack}"]) == 0
        gradient = objective.network.get_parameter(f"gate_adapter.predictors.{stack}.output.weight").grad
        assert gradient is None or not gradient.any()


def test_each_stack_is_held_open_in_rows_of_its_own():
    batch = _batch()
    whole, some = (_objective("both", open_share=share, target_sparsity=0.5) for share in (0.0, 0.5))
    assert float(whole.losses(batch)["sparsity_sampled_decoder"]) > 0
    held = []
    sample = GateSample.held_open

    def noted(self: GateSample, rows: torch.Tensor) -> GateSample:
        held.append(rows)
        kept = sample(self, rows)
        assert kept.gates[rows].eq(1).all() and torch.equal(kept.gates[~rows], self.gates[~rows])
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GateSample, "held_open", noted)
        for step in range(8):
            some.losses(_batch(step))
    encoder, decoder = torch.stack(held[::2]), torch.stack(held[1::2])
    assert encoder.any() and decoder.any() and not torch.equal(encoder, decoder)
    assert 0.2 < encoder.float().mean() < 0.8 and 0.2 < decoder.float().mean() < 0.8


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
    settings = {"target_sparsity": 0.5, "dense_share": 0.5, "context_dropout": 0.3, "open_share": 0.4}
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


def _gated(predictor: PredictorConfig, scope: Scope = "both", gates: dict[str, Any] | None = None, **settings):
    network = tiny_network(dropout=0.0, attention_dropout=0.0).train()
    torch.manual_seed(0)
    attach(network, GateConfig(scope=scope, predictor=predictor, **gates or {}))
    return GatedObjective(network, ObjectiveConfig(**SETTINGS | settings))


PREDICTORS = (
    LocalPredictorConfig(open_bias=0.5, output_std=0.5),
    TablePredictorConfig(open_bias=0.5, init_std=0.5),
    StaticPredictorConfig(open_bias=0.5, init_std=0.5),
    RandomPredictorConfig(),
    LayerDropPredictorConfig(),
)


@pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda config: type(config).__name__)
def test_every_kind_of_predictor_trains_and_its_parts_sum_up_to_the_step(predictor):
    settings = {"target_sparsity": 0.5, "dense_share": 0.5, "context_dropout": 0.3}
    objective = _gated(predictor, penalty=PenaltyConfig(per_row=True), **settings)
    whole = objective.losses(_batch())
    whole["loss"].backward()
    gradients = {name: p.grad for name, p in objective.network.named_parameters() if "gate_adapter." in name}
    deciding = {name: gradient for name, gradient in gradients.items() if "margins" in name or "output" in name}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in deciding.values())
    parts = [objective.losses(_part(_batch(), window)) for window in (0, 1)]
    for name, value in whole.items():
        assert sum(float(part[name].detach()) for part in parts) == pytest.approx(float(value.detach()), rel=1e-4), name
    learned = not isinstance(predictor, RandomPredictorConfig | LayerDropPredictorConfig)
    assert ("penalty_decoder" in whole) == learned


@pytest.mark.parametrize("unit", ["sites", "macs"])
def test_gates_of_every_step_train_and_their_parts_sum_up_to_the_step(unit):
    gates = {"granularity": "step"}
    if unit == "macs":
        gates |= {"unit": unit, "site_weights": tuple(range(1, 1 + len(tiny_network().config.gate_sites())))}
    settings = {"target_sparsity": 0.5, "dense_share": 0.5, "context_dropout": 0.3}
    predictor = MlpPredictorConfig(open_bias=0.5, output_std=0.5)
    objective = _gated(predictor, gates=gates, penalty=PenaltyConfig(per_row=True), **settings)
    batch = _batch()
    batch["tokens"][:, 1] = objective.network.config.bos_token_id
    whole = objective.losses(batch)
    whole["loss"].backward()
    for name in ("token.weight", "mean.weight", "utterance.output.weight", "utterance.task_embedding.weight"):
        gradient = objective.network.get_parameter(f"gate_adapter.predictors.decoder.{name}").grad
        assert gradient is not None and gradient.abs().sum() > 0, name
    parts = [objective.losses(_part(batch, window)) for window in (0, 1)]
    for name, value in whole.items():
        assert sum(float(part[name].detach()) for part in parts) == pytest.approx(float(value.detach()), rel=1e-4), name


def test_what_is_not_predicted_has_no_part_in_the_sparsity_of_steps():
    gates, predictor = {"granularity": "step"}, MlpPredictorConfig(open_bias=0.5, output_std=0.5)
    objective = _gated(predictor, scope="decoder", gates=gates, target_sparsity=0.5)
    torch.nn.init.normal_(objective.network.get_parameter("gate_adapter.predictors.decoder.token.weight"))
    first, second = _batch(), _batch()
    second["tokens"][1, 5:] = 7  # their labels are ignored
    found = [objective.losses(batch) for batch in (first, second)]
    for name in ("sparsity_sampled_decoder", "sparsity_argmax_decoder", "penalty_decoder"):
        assert float(found[0][name].detach()) == float(found[1][name].detach()), name


@pytest.mark.parametrize(("scope", "passes"), [("decoder", 1), ("both", 1), ("encoder", 1)])
def test_without_a_dense_pass_nothing_is_decoded_twice(scope, passes):
    objective = _objective(scope, dense_share=0.0, target_sparsity=0.5)
    calls = _count_calls(objective.network.decoder.final_norm)
    objective.losses(_batch())
    assert len(calls) == passes


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_dense_pass_teaches_the_pruned_one_with_a_weight_of_its_own_or_without(share):
    settings = {"dense_share": share, "target_sparsity": 0.5, "penalty": PenaltyConfig(per_row=True)}
    plain = _objective("both", **settings).losses(_batch())
    teaching = Distillation(weight=2.0, ctc_weight=0.5, temperature=2.0)
    objective = _objective("both", distillation=teaching, **settings)
    taught = {name: value.detach() for name, value in objective.losses(_batch()).items()}
    extra = float(taught["distilled_attention"] + taught["distilled_ctc"])
    assert extra > 0 and "distilled_ctc" not in plain
    whole = float(plain["loss"].detach()) + (1 - share) * extra
    assert float(taught["loss"]) == pytest.approx(whole, rel=1e-5)
    parts = [objective.losses(_part(_batch(), window)) for window in (0, 1)]
    for name in ("distilled_attention", "distilled_ctc", "loss"):
        summed = sum(float(part[name].detach()) for part in parts)
        assert summed == pytest.approx(float(taught[name]), rel=1e-4), name


def test_an_encoder_that_is_shared_cannot_be_taught_by_itself():
    taught = _objective("decoder", target_sparsity=0.5, distillation=Distillation(ctc_weight=1.0)).losses(_batch())
    assert "distilled_attention" in taught and "distilled_ctc" not in taught


def test_a_warm_up_lowers_the_target_at_first_and_tells_elastic_gates_so():
    network = tiny_network(dropout=0.0, attention_dropout=0.0).train()
    adapter = attach(network, GateConfig(scope="decoder", context=(*HIDEABLE_PARTS, "budget")))
    objective = GatedObjective(
        network, ObjectiveConfig(**SETTINGS, target_sparsity=0.6, sparsity_warmup=SparsityWarmup(share=0.5))
    )
    asked = []
    sample = adapter.sample

    def spying(stack, contexts, *rest, **named):
        asked.append({round(context.budget, 4) for context in contexts})
        return sample(stack, contexts, *rest, **named)

    adapter.sample = spying
    for step in (0, 2, 5, 9):
        objective.losses(_batch(step))
    assert asked == [{0.0}, {0.24}, {0.6}, {0.6}]


def test_a_penalty_by_cost_pulls_on_what_a_site_costs():
    network = tiny_network(dropout=0.0, attention_dropout=0.0).train()
    sites = network.config.gate_sites()
    costs = tuple(10.0 if site.kind == "ffn" else 1.0 for site in sites)
    objective = _gated(
        StaticPredictorConfig(init_std=0.0), "decoder", {"unit": "macs", "site_weights": costs}, target_sparsity=0.5
    )
    parts = objective.losses(_batch())
    assert {"sparsity_argmax_decoder", "sparsity_argmax_macs_decoder"} <= parts.keys()
    margins = objective.network.get_parameter("gate_adapter.predictors.decoder.margins_PS")
    (gradient,) = torch.autograd.grad(parts["loss"], margins)
    by_kind = {site.kind: float(g.abs()) for site, g in zip(sites[-6:], gradient[0], strict=True)}
    assert by_kind["ffn"] > 2 * max(by_kind["self_attn"], by_kind["src_attn"])


def test_soft_gates_reach_the_base_as_they_are():
    hard, soft = (
        float(_objective("decoder", target_sparsity=0.5, relaxation=how).losses(_batch())["sparsity_sampled_decoder"])
        for how in ("straight_through", "soft")
    )
    assert hard == pytest.approx(round(24 * hard) / 24) and soft != pytest.approx(round(24 * soft) / 24, abs=1e-4)
