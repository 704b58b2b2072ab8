"""Budgets by sites, MACs and milliseconds."""

from __future__ import annotations

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    AdapterPlanner,
    Budget,
    Context,
    GateAdapter,
    GateConfig,
    GatePlan,
    MlpPredictorConfig,
    SparsityWarmup,
)
from skipwise.gating.budget import closed_share, costs_in_order, num_closed, stack_weights

DEU = Context(language="deu", task="asr")


def _costs(base) -> tuple[float, ...]:
    """Feed-forward sites cost ten times what others do."""
    return tuple(10.0 if site.kind.startswith("ffn") else 1.0 for site in base.sites)


def _adapter(base, **config) -> GateAdapter:
    torch.manual_seed(0)
    predictor = MlpPredictorConfig(open_bias=0.0, output_std=1.0)
    return GateAdapter(GateConfig(predictor=predictor, **config), base).eval()


def _plan(planner: AdapterPlanner, rows: int = 4) -> GatePlan:
    torch.manual_seed(1)
    plan = planner.decoder([DEU] * rows, torch.randn(rows, 8))
    assert isinstance(plan, GatePlan)
    return plan


@pytest.mark.parametrize("num_sites", [1, 4, 9, 24, 54])
def test_with_equal_weights_a_budget_is_rounded_to_sites_halves_up(num_sites):
    budgets = torch.arange(0, 1, 1 / 120)
    found = num_closed(torch.randn(len(budgets), num_sites), budgets, torch.full((num_sites,), 1 / num_sites))
    assert found.tolist() == [(2 * i * num_sites + 120) // 240 for i in range(len(budgets))]


def test_a_budget_by_cost_closes_the_lowest_scores_until_their_cost_is_nearest():
    scores = torch.tensor([[3.0, 1.0, 2.0, 4.0]]).expand(4, -1)
    weights = torch.tensor([0.1, 0.5, 0.1, 0.3])  # closed in this order: .5, .6, .7, 1
    found = num_closed(scores, torch.tensor([0.2, 0.3, 0.64, 0.8]), weights)
    assert found.tolist() == [0, 1, 2, 3]
    assert num_closed(scores[:1], torch.tensor([0.25]), weights).tolist() == [1], "of two equally near the larger one"


def test_the_closed_share_weighs_each_site_and_carries_a_gradient():
    gates = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], requires_grad=True)
    weights = torch.tensor([0.7, 0.2, 0.1])
    share = closed_share(gates, weights)
    assert share.tolist() == pytest.approx([0.7, 0.3])
    share[0].backward()
    assert gates.grad is not None and gates.grad[0].tolist() == pytest.approx([-0.7, -0.2, -0.1])


def test_an_exact_budget_by_cost_closes_other_sites_than_one_by_sites(base):
    adapter = _adapter(base, unit="macs", site_weights=_costs(base))
    by_cost = _plan(AdapterPlanner(adapter, Budget(sparsity=0.5, exact=True)))
    by_sites = _plan(AdapterPlanner(adapter, Budget(sparsity=0.5, unit="sites", exact=True)))
    weights = adapter.site_weights("decoder")
    shares = closed_share(by_cost.gates.float(), weights)
    # a feed-forward site is 10 of 36: no plan is further away than half of that
    assert bool(((shares - 0.5).abs() <= 5 / 36 + 1e-6).all())
    assert set((~by_sites.gates).sum(dim=1).tolist()) == {5}
    assert not torch.equal(by_cost.gates, by_sites.gates)


def test_costs_may_come_with_the_budget(base):
    budget = Budget(sparsity=0.5, unit="ms", exact=True, site_weights=_costs(base))
    measured = _plan(AdapterPlanner(_adapter(base), budget))
    counted = _plan(AdapterPlanner(_adapter(base, unit="macs", site_weights=_costs(base)), Budget(exact=True)))
    assert torch.equal(measured.gates, counted.gates)


def test_a_unit_is_saved_with_the_adapter(base, tmp_path):
    adapter = _adapter(base, unit="ms", site_weights=_costs(base))
    adapter.save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates")
    assert loaded.config == adapter.config
    assert torch.equal(loaded.site_weights("decoder"), adapter.site_weights("decoder"))
    assert float(loaded.site_weights("decoder").sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(sparsity=0.5, unit="macs"), r"trained for budgets in sites, got macs. Ask for an exact one"),
        (Budget(unit="ms", exact=True), r"count sites: what each site costs in ms is not known. Give .*site_weights"),
        (Budget(unit="macs", exact=True, site_weights=(1.0, 2.0)), r"one for each of the 21 sites, got 2"),
    ],
)
def test_a_unit_that_the_gates_do_not_know_is_refused(base, budget, message):
    with pytest.raises(SkipwiseError, match=message):
        _plan(AdapterPlanner(_adapter(base), budget))


def test_wrong_budgets_and_costs_say_what_is_allowed(base, unchecked):
    with pytest.raises(SkipwiseError, match="scope must be one of encoder, decoder, both; got 'head'"):
        Budget(scope="head")  # type: ignore[bad-argument-type]
    with pytest.raises(SkipwiseError, match=r"unit must be one of sites, macs, ms; got 'joules'"):
        Budget(unit="joules")  # type: ignore[bad-argument-type]
    with pytest.raises(SkipwiseError, match=r"a budget in macs needs site_weights"):
        GateConfig(unit="macs")
    with pytest.raises(SkipwiseError, match=r"0 or more, and some above 0, in each gated stack"):
        stack_weights(base.sites[:2], base.sites, [-1.0] * len(base.sites))
    with pytest.raises(SkipwiseError, match=r"missing or unknown: decoder.0.ffn, decoder.0.fnn"):
        costs_in_order({"decoder.0.fnn": 1.0}, [site for site in base.sites if str(site) == "decoder.0.ffn"])
    assert costs_in_order({str(site): index for index, site in enumerate(base.sites)}, base.sites) == tuple(
        map(float, range(len(base.sites)))
    )


def test_a_warm_up_rises_to_its_target_and_stays():
    linear, cubic = (SparsityWarmup(share=0.5, shape=shape) for shape in ("linear", "cubic"))
    assert [linear.at(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert cubic.at(0.0) == 0.0 and cubic.at(0.25) == pytest.approx(0.875) and cubic.at(0.7) == 1.0
    assert SparsityWarmup().at(0.0) == 1.0
    with pytest.raises(SkipwiseError, match=r"a share of the run in \[0, 1\] and is linear or cubic; got 1.5"):
        SparsityWarmup(share=1.5)
