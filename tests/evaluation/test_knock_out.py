"""The order in which sites can be closed at the least harm."""

from __future__ import annotations

import pytest

from skipwise.errors import SkipwiseError
from skipwise.evaluation.knock_out import ErrorHarm, Knocked, LossHarm, knock_out_order, plan_of_order
from skipwise.gating import GatePlan, GateSite

SITES = tuple(GateSite("decoder", layer, kind) for layer in range(2) for kind in ("self_attn", "src_attn", "ffn"))
WORTH = dict(zip(SITES, (5.0, 9.0, 1.0, 3.0, 8.0, 2.0), strict=True))


def _harm(plan: GatePlan) -> float:
    """What is closed is missed; a layer without any feed-forward site at all is missed most."""
    closed = plan.closed()
    return sum(WORTH[site] for site in closed) + 100.0 * (SITES[2] in closed and SITES[5] in closed)


def test_the_least_harmful_site_is_closed_first_given_what_is_closed_already():
    told: list[Knocked] = []
    order = knock_out_order(SITES, _harm, on_step=told.append)
    assert [step.site for step in order] == [SITES[2], SITES[3], SITES[0], SITES[4], SITES[1], SITES[5]]
    assert [step.harm for step in order] == [1.0, 4.0, 9.0, 17.0, 26.0, 128.0] and told == order


def test_a_search_may_stop_early_and_gives_a_plan():
    asked = []
    order = knock_out_order(SITES, lambda plan: asked.append(plan.closed()) or _harm(plan), num_closed=2)
    assert len(order) == 2 and len(asked) == 6 + 5
    assert plan_of_order(SITES, order, 2).closed() == (SITES[2], SITES[3])
    assert plan_of_order(SITES, order, 0).sparsity() == 0.0
    with pytest.raises(SkipwiseError, match=r"num_closed must be in \[0, 6\], the number of sites; got 7"):
        knock_out_order(SITES, _harm, num_closed=7)


def test_loss_grows_with_what_a_random_model_loses_and_does_not_depend_on_the_batch(transcribers, utterances):
    model = transcribers[0].model
    sites = model.network.config.gate_sites()
    together, alone = (LossHarm(model, utterances, ["asr", "st_eng"], batch_size=size) for size in (8, 1))
    opened, closed = GatePlan.all_open(sites), GatePlan.closing(sites, sites)
    assert together(opened) != pytest.approx(together(closed), rel=1e-3)
    for plan in (opened, closed):
        assert together(plan) == pytest.approx(alone(plan), rel=1e-5)
    with pytest.raises(SkipwiseError, match=r"no utterance has a reference for st_xho"):
        LossHarm(model, utterances, ["st_xho"])


def test_errors_are_counted_by_decoding(transcribers, utterances):
    harm = ErrorHarm(transcribers[0], utterances[:2])
    sites = transcribers[0].model.network.config.gate_sites()
    assert harm(GatePlan.all_open(sites)) > 0
