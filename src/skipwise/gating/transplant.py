"""Plans of one model on another of the same anatomy: which site of the one speaks for which site of the other.

Layers speak for layers of the same relative depth. This is for measuring time, not quality: what a plan leaves out was
learned on the model that it comes from.

Shapes: B rows, S sites of a plan, N layers of a stack that it comes from, M layers of the one that it goes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.plan import GatePlan
from skipwise.gating.sites import GateSite, Stack, columns_of

_Group = tuple[Stack, str]
"""The sites of one kind in one stack, from the input on."""


def transplanted(plan: GatePlan, sites: Iterable[GateSite]) -> GatePlan:
    """Return `plan` on a model with other `sites`, as many closed of every kind as the shares allow.

    Each kind of each stack by itself: layer m of M covers the depths from m / M to (m + 1) / M and is as open as what
    lies there in the N layers that the plan is over. As many of them are closed, the least open ones first, as come
    nearest to the plan's share; rounding is evened out over the kinds of a stack, so that each stack's sparsity is as
    near to the plan's as its number of sites allows. Twice or three times as many layers are the plan's, each repeated.
    Of two that are equally open the one whose middle lies in a closed layer is closed first, then the one nearer to the
    input. Sites of stacks or kinds that the plan does not name are open.

    Raises:
        SkipwiseError: if the plan decides a kind that is not among `sites`, or not all layers of a kind, or positions.
    """
    sites = tuple(sites)
    if plan.is_stepwise:
        raise SkipwiseError("a plan to transplant decides utterances, got one of every position. Use one of its steps.")
    sources, targets = _groups(plan.sites), _groups(sites)
    _check(sources, targets)
    gates = torch.ones(plan.num_rows, len(sites), dtype=torch.bool)
    columns = columns_of(sites)
    for stack in dict.fromkeys(stack for stack, _ in sources):
        own = {
            group: plan.gates[:, _columns(plan.sites, found)] for group, found in sources.items() if group[0] == stack
        }
        for row in range(plan.num_rows):
            shares = {group: 1 - open_BN[row].float().mean().item() for group, open_BN in own.items()}
            counts = _evened({group: share * len(targets[group]) for group, share in shares.items()})
            for group, open_BN in own.items():
                closed = _least_open(open_BN[row], len(targets[group]))[: counts[group]]
                gates[row, [columns[targets[group][layer]] for layer in closed]] = False
    return GatePlan(sites, gates)


def _groups(sites: Iterable[GateSite]) -> dict[_Group, list[GateSite]]:
    groups: dict[_Group, list[GateSite]] = {}
    for site in sorted(sites):
        groups.setdefault((site.stack, site.kind), []).append(site)
    return groups


def _check(sources: dict[_Group, list[GateSite]], targets: dict[_Group, list[GateSite]]) -> None:
    missing = [f"{stack}.*.{kind}" for stack, kind in sources if (stack, kind) not in targets]
    if missing:
        kinds = ", ".join(f"{stack}.*.{kind}" for stack, kind in targets)
        raise SkipwiseError(f"the model has no site {', '.join(missing)}; its sites are {kinds or 'none'}.")
    for (stack, kind), found in sources.items():
        layers = [site.layer for site in found]
        if layers != list(range(len(layers))):
            raise SkipwiseError(
                f"a plan to transplant must decide {kind} in every layer of the {stack}, got layers "
                f"{', '.join(map(str, layers))}. Name the other sites as open: GatePlan.closing(all sites, closed)."
            )


def _columns(sites: tuple[GateSite, ...], wanted: Sequence[GateSite]) -> list[int]:
    columns = columns_of(sites)
    return [columns[site] for site in wanted]


def _least_open(open_N: Bool[Tensor, " layers"], num_layers: int) -> list[int]:
    """The M layers in the order in which they are closed."""
    openness_M = _openness(open_N, num_layers)
    middles = [bool(open_N[int((layer + 0.5) * len(open_N) / num_layers)]) for layer in range(num_layers)]
    return sorted(range(num_layers), key=lambda layer: (round(openness_M[layer].item(), 6), middles[layer], layer))


def _openness(open_N: Bool[Tensor, " layers"], num_layers: int) -> Float[Tensor, " new_layers"]:
    """How much of what lies at the depths of each of M layers is open: in [0, 1]."""
    num_before = len(open_N)
    edges = torch.arange(num_before + 1, dtype=torch.float64) / num_before
    starts_M = torch.arange(num_layers, dtype=torch.float64) / num_layers
    ends_M = starts_M + 1 / num_layers
    shared_MN = torch.minimum(ends_M[:, None], edges[1:]) - torch.maximum(starts_M[:, None], edges[:-1])
    return shared_MN.clamp_min(0) @ open_N.double() * num_layers


def _evened(wanted: dict[_Group, float]) -> dict[_Group, int]:
    """Whole numbers that add up to the rounded sum (halves up): the largest remainders are rounded up."""
    counts = {group: int(number + 1e-6) for group, number in wanted.items()}
    left = int(sum(wanted.values()) + 0.5 + 1e-6) - sum(counts.values())
    by_remainder = sorted(wanted, key=lambda group: counts[group] - wanted[group])
    for group in by_remainder[:left]:
        counts[group] += 1
    return counts
