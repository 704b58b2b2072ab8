"""Plans of one model on another: relative depth, and as much closed."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skipwise.errors import SkipwiseError
from skipwise.gating import GatePlan, GateSite, transplanted

KINDS = {"encoder": ("ffn1", "self_attn", "cgmlp", "ffn2"), "decoder": ("self_attn", "src_attn", "ffn")}


def sites_of(num_layers: int, *stacks: str) -> tuple[GateSite, ...]:
    return tuple(
        GateSite(stack, layer, kind)  # type: ignore[arg-type]
        for stack in stacks or KINDS
        for layer in range(num_layers)
        for kind in KINDS[stack]
    )


def names(plan: GatePlan, row: int = 0) -> set[str]:
    return {str(site) for site in plan.closed(row)}


def test_three_times_as_many_layers_are_each_repeated() -> None:
    plan = GatePlan.closing(sites_of(6), ["decoder.1.ffn", "decoder.5.src_attn", "encoder.0.cgmlp"])
    large = transplanted(plan, sites_of(18))
    assert names(large) == {
        *(f"decoder.{layer}.ffn" for layer in (3, 4, 5)),
        *(f"decoder.{layer}.src_attn" for layer in (15, 16, 17)),
        *(f"encoder.{layer}.cgmlp" for layer in (0, 1, 2)),
    }
    assert large.sparsity("decoder") == plan.sparsity("decoder")


def test_the_same_model_gets_the_same_plan_and_the_way_back_is_the_same_plan() -> None:
    gates = torch.rand(8, len(sites_of(6)), generator=torch.Generator().manual_seed(0)) > 0.5
    plan = GatePlan(sites_of(6), gates)
    assert torch.equal(transplanted(plan, sites_of(6)).gates, gates)
    assert torch.equal(transplanted(transplanted(plan, sites_of(18)), sites_of(6)).gates, gates)


def test_a_layer_between_two_is_closed_where_its_middle_is_and_the_share_asks_for_it() -> None:
    plan = GatePlan.closing(sites_of(6, "decoder"), ["decoder.2.ffn", "decoder.3.ffn"])
    # a third of 9 layers; the depths of layers 2 and 3 are those of 3, 4 and 5
    assert names(transplanted(plan, sites_of(9, "decoder"))) == {f"decoder.{layer}.ffn" for layer in (3, 4, 5)}
    single = GatePlan.closing(sites_of(6, "decoder"), ["decoder.1.ffn"])
    # 1.5 of 9 layers are rounded up to 2: layer 2, all of whose depths are layer 1's, and half of layer 1
    assert names(transplanted(single, sites_of(9, "decoder"))) == {"decoder.1.ffn", "decoder.2.ffn"}


@given(
    source=st.integers(1, 8),
    target=st.integers(1, 24),
    seed=st.integers(0, 10_000),
    share=st.floats(0, 1),
)
def test_each_stack_closes_the_number_of_sites_that_is_nearest(
    source: int, target: int, seed: int, share: float
) -> None:
    sites, others = sites_of(source), sites_of(target)
    gates = torch.rand(3, len(sites), generator=torch.Generator().manual_seed(seed)) >= share
    plan = GatePlan(sites, gates)
    found = transplanted(plan, others)
    assert found.sites == others and found.num_rows == 3
    for row in range(3):
        for stack in ("encoder", "decoder"):
            num_sites = target * len(KINDS[stack])
            wanted = plan.row(row).sparsity(stack) * num_sites  # type: ignore[arg-type]
            closed = [site for site in found.closed(row) if site.stack == stack]
            assert abs(len(closed) - wanted) <= 0.5 + 1e-4
            before = Counter(site.kind for site in plan.closed(row) if site.stack == stack)
            after = Counter(site.kind for site in closed)
            for kind in KINDS[stack]:
                assert abs(after[kind] - before[kind] * target / source) < 1 + 1e-4


def test_rows_are_transplanted_one_by_one_and_what_is_not_decided_is_open() -> None:
    rows = [GatePlan.closing(sites_of(2, "decoder"), [name]) for name in ("decoder.0.ffn", "decoder.1.src_attn")]
    found = transplanted(GatePlan.stack_rows(rows), sites_of(4))
    assert names(found, 0) == {"decoder.0.ffn", "decoder.1.ffn"}
    assert names(found, 1) == {"decoder.2.src_attn", "decoder.3.src_attn"}
    assert found.sparsity("encoder") == 0.0


def test_what_cannot_be_transplanted_says_so() -> None:
    plan = GatePlan.all_open(sites_of(2))
    with pytest.raises(SkipwiseError, match=r"has no site encoder\.\*\.cgmlp, .*; its sites are decoder\.\*\.ffn"):
        transplanted(plan, sites_of(4, "decoder"))
    with pytest.raises(SkipwiseError, match=r"must decide ffn in every layer of the decoder, got layers 0, 3\. Name"):
        transplanted(GatePlan.all_open([GateSite("decoder", 0, "ffn"), GateSite("decoder", 3, "ffn")]), sites_of(6))
    steps = GatePlan(sites_of(2), torch.ones(1, 5, len(sites_of(2)), dtype=torch.bool))
    with pytest.raises(SkipwiseError, match="decides utterances, got one of every position"):
        transplanted(steps, sites_of(4))
