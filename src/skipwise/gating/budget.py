"""Budgets: how much is skipped, in which unit, and what each site counts for.

A site's weight is its share of what can be skipped of its stack: 1 / n by sites, its share of the multiply-accumulates
or of the milliseconds otherwise. Sparsity is the weight that is closed.

Shapes: B rows, S sites of a stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.sites import GateSite, Scope, check_scope

Unit = Literal["sites", "macs", "ms"]

_SAME = 1e-6
"""Costs that differ by less are equal: rounding of sums."""


@final
@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a request wants skipped."""

    sparsity: float | None = None
    """Share to skip of each gated stack, in [0, 1); None leaves it to the adapter."""
    unit: Unit | None = None
    """What is counted; None: what the adapter was trained to count."""
    exact: bool = False
    """Close the least likely sites until the closed share is as near to `sparsity` as it gets, whatever the gates say;
    of two that are equally near the larger one."""
    site_weights: tuple[float, ...] = ()
    """What each site of the base costs in `unit`, in the base's order, in any scale; empty: as the adapter has it."""
    scope: Scope | None = None
    """Stacks to prune; a stack beside it runs whole, whatever gates it has. None: what its gates prune by default."""

    def __post_init__(self) -> None:
        if self.scope is not None:
            check_scope(self.scope)
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise SkipwiseError(f"sparsity must be in [0, 1), got {self.sparsity}. For the base model use gates none.")
        check_unit(self.unit or "sites")


@final
@dataclass(frozen=True, kw_only=True)
class SparsityWarmup:
    """How the target rises from 0 at the start of a run."""

    share: float = 0.0
    """Share of the run that it takes; 0: the target holds from the first step on."""
    shape: Literal["linear", "cubic"] = "linear"
    """`cubic`, 1 - (1 - t)^3, closes most at first (Zhu and Gupta 2017)."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.shape not in ("linear", "cubic"):
            raise SkipwiseError(
                f"a sparsity warm-up takes a share of the run in [0, 1] and is linear or cubic; got {self.share} and "
                f"{self.shape!r}."
            )

    def at(self, progress: float) -> float:
        """Return the factor of the target at `progress`, the share of the run that is done: in [0, 1]."""
        done = 1.0 if progress >= self.share else max(progress, 0.0) / self.share
        return done if self.shape == "linear" else 1 - (1 - done) ** 3


def check_unit(unit: str) -> None:
    """Raise a SkipwiseError if there is no such unit."""
    if unit not in get_args(Unit):
        raise SkipwiseError(f"a budget's unit must be one of {', '.join(get_args(Unit))}; got {unit!r}.")


def stack_weights(
    sites: tuple[GateSite, ...], all_sites: tuple[GateSite, ...], costs: Sequence[float]
) -> Float[Tensor, " sites"]:
    """Return the weights, summing up to 1, of a stack's `sites`, from the `costs` of `all_sites`; equal without costs.

    Raises:
        SkipwiseError: if there is not one cost for each site, one is negative, or all of a stack are 0.
    """
    if not costs or not sites:
        return torch.full((len(sites),), 1 / max(1, len(sites)))
    if len(costs) != len(all_sites):
        raise SkipwiseError(f"site weights must be one for each of the {len(all_sites)} sites, got {len(costs)}.")
    of_site = dict(zip(all_sites, costs, strict=True))
    weights = torch.tensor([of_site[site] for site in sites], dtype=torch.float64)
    if bool((weights < 0).any()) or not float(weights.sum()) > 0:
        raise SkipwiseError(
            f"site weights must be 0 or more, and some above 0, in each gated stack; got {weights.tolist()}."
        )
    return (weights / weights.sum()).float()


def costs_in_order(costs: Mapping[str, float], sites: Sequence[GateSite]) -> tuple[float, ...]:
    """Return costs by the sites' names as one tuple in the order of `sites`.

    Raises:
        SkipwiseError: if a site is missing, or a name is none of the sites.
    """
    names = [str(site) for site in sites]
    wrong = sorted(set(names) ^ set(costs))
    if wrong:
        raise SkipwiseError(f"costs must name every site of the model once; missing or unknown: {', '.join(wrong)}.")
    return tuple(float(costs[name]) for name in names)


def closed_share(gates: Float[Tensor, "*rows sites"], weights: Float[Tensor, " sites"]) -> Float[Tensor, "*rows"]:
    """Return the weight that is closed in each row: its sparsity, differentiable."""
    return 1 - gates.float() @ weights.to(gates.device)


def num_closed(
    scores: Float[Tensor, "batch sites"], budgets: Float[Tensor, " batch"], weights: Float[Tensor, " sites"]
) -> Int[Tensor, " batch"]:
    """Return how many sites, those of the lowest scores first, to close for a closed weight nearest to each budget.

    Of two that are equally near the larger one: with equal weights round(budget * sites), halves up.
    """
    order = scores.argsort(dim=1, stable=True)
    costs = torch.nn.functional.pad(weights.double().cpu()[order.cpu()].cumsum(dim=1), (1, 0))
    distance = (costs - budgets.double().cpu()[:, None]).abs()
    nearest = distance <= distance.amin(dim=1, keepdim=True) + _SAME
    return (nearest * torch.arange(nearest.shape[1])).amax(dim=1)
