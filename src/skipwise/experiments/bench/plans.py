"""Plans for measuring: so many sites closed, balanced over the kinds, and spread over the layers."""

from __future__ import annotations

import random
from collections.abc import Sequence

from skipwise.gating import GatePlan, GateSite, Stack

_GOLDEN = 0.6180339887498949


def balanced_closures(sites: Sequence[GateSite], share: float) -> list[GateSite]:
    """Return round(share * sites) of them, kinds in turn and over all depths; a larger share holds the smaller ones."""
    order = _in_order(sites)
    return order[: int(share * len(order) + 0.5)]


def uniform_plan(all_sites: Sequence[GateSite], stacks: Sequence[Stack], share: float) -> GatePlan:
    """Return the one-row plan that closes a balanced share of each of `stacks`."""
    closed = [
        site
        for stack in stacks
        for site in balanced_closures([site for site in all_sites if site.stack == stack], share)
    ]
    return GatePlan.closing(all_sites, closed)


def mixed_plan(plan: GatePlan, num_rows: int, *, seed: int) -> GatePlan:
    """Return rows that each close as many sites of every kind as `plan` does, in other layers."""
    rng = random.Random(seed)
    gates = plan.gates.expand(num_rows, -1).clone()
    kinds = sorted({(site.stack, site.kind) for site in plan.sites})
    for row in range(num_rows):
        for kind in kinds:
            columns = [i for i, site in enumerate(plan.sites) if (site.stack, site.kind) == kind]
            shuffled = rng.sample(columns, len(columns))
            gates[row, columns] = plan.gates[0, shuffled]
    return GatePlan(plan.sites, gates)


def _in_order(sites: Sequence[GateSite]) -> list[GateSite]:
    """Kinds in turn; of each kind layers far from one another first."""
    by_kind: dict[str, list[GateSite]] = {}
    for site in sites:
        by_kind.setdefault(site.kind, []).append(site)
    spread = [
        sorted(group, key=lambda site, shift=shift: ((site.layer + shift) * _GOLDEN) % 1)
        for shift, group in enumerate(by_kind.values())
    ]
    longest = max((len(group) for group in spread), default=0)
    return [group[place] for place in range(longest) for group in spread if place < len(group)]
