"""Gates that each layer decides from its own input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from skipwise.gating import Context, GateAdapter, GateConfig, LayerPlanner, LayerSampler, Sampling
from skipwise.gating.adapter import GateBase
from skipwise.gating.branch import ALL_OPEN, RowGate, ScaledGate
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.draws import RowDraws
from skipwise.gating.layerwise import gates_of_layer
from skipwise.gating.predictors import LocalPredictorConfig

DEU, FRA = Context(language="deu", task="asr"), Context(language="fra", task="st_eng")
CONTEXTS = [DEU, FRA, DEU]


def _adapter(base: GateBase, **config) -> GateAdapter:
    torch.manual_seed(0)
    predictor = LocalPredictorConfig(open_bias=0.0, output_std=1.0)
    return GateAdapter(GateConfig(scope="both", predictor=predictor, **config), base).eval()


def _inputs(seed: int = 0) -> Tensor:
    return torch.randn(3, 3, 8, generator=torch.Generator().manual_seed(seed))


def _run(adapter: GateAdapter, inputs: Tensor, contexts=CONTEXTS, **how) -> LayerPlanner:
    planner = adapter.decide("decoder", contexts, torch.zeros(len(contexts), 8), **how)
    assert isinstance(planner, LayerPlanner)
    for layer, pooled in enumerate(inputs):
        planner.layer(layer, pooled)
    return planner


def test_each_layer_decides_from_its_own_input_alone(base):
    adapter = _adapter(base)
    assert adapter.is_layerwise
    logits = _run(adapter, _inputs()).logits()
    changed = _inputs()
    changed[1] = _inputs(1)[1]
    same = (logits == _run(adapter, changed).logits()).all(dim=2).all(dim=0).unflatten(0, (3, 3)).all(dim=1)
    assert same.tolist() == [True, False, True]


def test_what_a_layer_gets_is_what_the_plan_says(base):
    adapter = _adapter(base)
    planner = adapter.decide("decoder", CONTEXTS, torch.zeros(3, 8))
    assert isinstance(planner, LayerPlanner)
    given = [planner.layer(layer, pooled) for layer, pooled in enumerate(_inputs())]
    for layer, expected in enumerate(planner.plan().layer_gates("decoder", 3)):
        for kind, gate in expected.items():
            own = given[layer][kind]
            assert type(own) is type(gate)
            if isinstance(gate, RowGate) and isinstance(own, RowGate):
                assert own.rows.tolist() == gate.rows.tolist()


@pytest.mark.parametrize("budget", [0.0, 0.34, 0.5, 0.9])
def test_an_exact_budget_is_spread_over_the_layers(base, budget):
    contexts = [replace(DEU, budget=budget)] * 3
    plan = _run(_adapter(base), _inputs(), contexts, exact=True).plan()
    closed = (~plan.gates).unflatten(1, (3, 3)).sum(dim=2).cumsum(dim=1)
    assert closed.tolist() == [[int(3 * layers * budget + 0.5) for layers in (1, 2, 3)]] * 3


def test_a_budget_reaches_the_layers_of_elastic_gates(base):
    adapter = _adapter(base, context=(*HIDEABLE_PARTS, "budget"))
    low, high = (_run(adapter, _inputs(), [replace(DEU, budget=b)] * 3).logits() for b in (0.1, 0.9))
    assert not torch.equal(low, high)


def test_drawn_gates_repeat_with_the_seed_and_carry_a_gradient_to_every_layer(base):
    adapter = _adapter(base)

    def drawn(seed: int):
        draws = RowDraws.for_all(torch.Generator().manual_seed(seed), 3)
        sampler = adapter.sample("decoder", CONTEXTS, torch.zeros(3, 8), sampling=Sampling(dropout=0.2), draws=draws)
        assert isinstance(sampler, LayerSampler)
        for layer, pooled in enumerate(_inputs()):
            assert all(isinstance(gate, ScaledGate) for gate in sampler.layer(layer, pooled).values())
        return sampler.sample()

    sample = drawn(0)
    assert sample.sites == adapter.sites("decoder") and set(sample.gates.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(sample.gates, drawn(0).gates) and not torch.equal(sample.gates, drawn(1).gates)
    sample.sparsity().backward()
    of_layers = adapter.predictors["decoder"].get_submodule("layers")
    for name, layer in of_layers.named_children():
        gradient = layer.get_parameter("output.weight").grad
        assert gradient is not None and gradient.abs().sum() > 0, name


def test_saved_and_loaded_it_decides_the_same(base, tmp_path):
    adapter = _adapter(base)
    adapter.save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates")
    assert torch.equal(_run(loaded, _inputs()).logits(), _run(adapter, _inputs()).logits())


def test_the_mean_of_a_layers_input_is_asked_only_where_it_decides(base):
    def never() -> Tensor:
        raise AssertionError("asked")

    assert gates_of_layer(None, 0, never) is ALL_OPEN
    decided = [{"ffn": RowGate(torch.tensor([0]), 3)}]
    assert gates_of_layer(decided, 0, never) is decided[0]
    planner = _adapter(base).decide("decoder", CONTEXTS, torch.zeros(3, 8))
    assert isinstance(planner, LayerPlanner)
    with pytest.raises(AssertionError, match="asked"):
        gates_of_layer(planner, 0, never)
