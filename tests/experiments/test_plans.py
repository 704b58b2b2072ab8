"""Plans for measuring."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from skipwise.experiments.bench.plans import balanced_closures, mixed_plan, uniform_plan
from skipwise.gating import GateSite

SITES = tuple(
    [GateSite("encoder", layer, kind) for layer in range(6) for kind in ("ffn1", "self_attn", "cgmlp", "ffn2")]
    + [GateSite("decoder", layer, kind) for layer in range(6) for kind in ("self_attn", "src_attn", "ffn")]
)
DECODER = [site for site in SITES if site.stack == "decoder"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_closures_are_as_many_as_asked_and_balanced_over_kinds(share: float) -> None:
    closed = balanced_closures(DECODER, share)
    assert len(set(closed)) == len(closed) == int(share * 18 + 0.5)
    counts = Counter(site.kind for site in closed)
    assert not closed or max(counts.values()) - min(counts[kind] for kind in ("self_attn", "src_attn", "ffn")) <= 1


def test_a_larger_share_holds_the_smaller_ones_and_layers_are_spread() -> None:
    shares = [balanced_closures(DECODER, share / 10) for share in range(11)]
    assert all(small == large[: len(small)] for small, large in pairwise(shares))
    layers = [site.layer for site in shares[5] if site.kind == "ffn"]
    assert min(abs(a - b) for a in layers for b in layers if a != b) >= 1 and max(layers) - min(layers) >= 3


def test_a_uniform_plan_closes_its_stacks_alone() -> None:
    plan = uniform_plan(SITES, ("encoder",), 0.5)
    assert (plan.sparsity("encoder"), plan.sparsity("decoder")) == (0.5, 0.0)
    both = uniform_plan(SITES, ("encoder", "decoder"), 0.5)
    assert (both.sparsity("encoder"), both.sparsity("decoder")) == (0.5, 0.5)


def test_a_mixed_plan_costs_every_row_the_same_in_other_layers() -> None:
    uniform = uniform_plan(SITES, ("decoder",), 0.5)
    mixed = mixed_plan(uniform, 16, seed=0)
    for row in range(16):
        assert Counter(site.kind for site in mixed.closed(row)) == Counter(site.kind for site in uniform.closed())
    assert len({mixed.key(row) for row in range(16)}) > 10
    assert mixed_plan(uniform, 16, seed=0).key(3) == mixed.key(3)
