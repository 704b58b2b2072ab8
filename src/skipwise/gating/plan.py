"""Plans: the decided gates of a call. `GatePlan` is hard and on the CPU, `GateSample` is differentiable.

Shapes: B rows (utterances, or utterance-task pairs in training), L positions of a step plan, S sites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.branch import OPEN, LayerGates, RowGate, ScaledGate, SiteGate
from skipwise.gating.budget import closed_share, num_closed
from skipwise.gating.sites import STACKS, GateSite, Stack, columns_of


@final
@dataclass(frozen=True, eq=False)
class GatePlan:
    """Which sites run, for each row. Immutable; sites that it does not name are open."""

    sites: tuple[GateSite, ...]
    """The S sites of the columns."""
    gates: Bool[Tensor, "batch *positions sites"]
    """True where a site is open; on the CPU. In a step plan each of a row's positions has its own."""

    def __post_init__(self) -> None:
        assert self.gates.dtype == torch.bool and self.gates.device.type == "cpu"
        assert self.gates.ndim in (2, 3) and self.gates.shape[-1] == len(self.sites)

    @classmethod
    def all_open(cls, sites: Iterable[GateSite], num_rows: int = 1) -> GatePlan:
        """Return the plan that runs everything: the base model."""
        sites = tuple(sites)
        return cls(sites, torch.ones(num_rows, len(sites), dtype=torch.bool))

    @classmethod
    def closing(cls, sites: Iterable[GateSite], closed: Iterable[GateSite | str], num_rows: int = 1) -> GatePlan:
        """Return the plan over `sites` in which `closed` (sites or their names) are skipped in every row.

        Raises:
            SkipwiseError: if one of `closed` is not among `sites`.
        """
        plan = cls.all_open(sites, num_rows)
        columns = columns_of(plan.sites)
        for item in closed:
            site = GateSite.parse(item) if isinstance(item, str) else item
            if site not in columns:
                raise SkipwiseError(f"the model has no site {site}. Its sites: {', '.join(map(str, plan.sites))}.")
            plan.gates[:, columns[site]] = False
        return plan

    @classmethod
    def stack_rows(cls, plans: Sequence[GatePlan]) -> GatePlan:
        """Return one plan with the rows of several over the same sites."""
        assert len({plan.sites for plan in plans}) == 1
        return cls(plans[0].sites, torch.cat([plan.gates for plan in plans]))

    @property
    def num_rows(self) -> int:
        return self.gates.shape[0]

    @property
    def is_stepwise(self) -> bool:
        """Whether each position has gates of its own."""
        return self.gates.ndim == 3

    def join(self, other: GatePlan) -> GatePlan:
        """Return the plan over this plan's sites and then those of `other`, row by row."""
        assert self.num_rows == other.num_rows and not set(self.sites) & set(other.sites)
        return GatePlan(self.sites + other.sites, torch.cat([self.gates, other.gates], dim=1))

    def of_stack(self, stack: Stack) -> GatePlan:
        """Return the part of the plan that concerns one stack."""
        keep = [column for column, site in enumerate(self.sites) if site.stack == stack]
        return GatePlan(tuple(self.sites[column] for column in keep), self.gates[..., keep])

    def row(self, index: int) -> GatePlan:
        """Return the plan of one row."""
        return GatePlan(self.sites, self.gates[index : index + 1])

    def select(self, rows: Sequence[int]) -> GatePlan:
        """Return the plans of some rows, in that order."""
        return GatePlan(self.sites, self.gates[list(rows)])

    def positions(self, start: int) -> GatePlan:
        """Return the part of a step plan from a position on."""
        assert self.is_stepwise
        return GatePlan(self.sites, self.gates[:, start:])

    def expand(self, num_rows: int) -> GatePlan:
        """Return a one-row plan repeated for `num_rows` rows; a plan that has them already is returned as it is.

        Raises:
            SkipwiseError: if the plan has several rows, but not that many.
        """
        if self.num_rows == num_rows:
            return self
        if self.num_rows != 1:
            raise SkipwiseError(f"a plan must have one row or one per utterance ({num_rows}); got {self.num_rows}.")
        return GatePlan(self.sites, self.gates.expand(num_rows, *self.gates.shape[1:]).contiguous())

    def key(self, row: int = 0) -> tuple[bool, ...]:
        """Return a row's gates as a hashable value: equal for equal decisions."""
        return tuple(self.gates[row].flatten().tolist())

    def closed(self, row: int = 0) -> tuple[GateSite, ...]:
        """Return the sites that are skipped in a row: those of a step plan that are at every position."""
        gates = self.gates[row]
        ever_open = (gates.any(dim=0) if self.is_stepwise else gates).tolist()
        return tuple(site for site, is_open in zip(self.sites, ever_open, strict=True) if not is_open)

    def open_shares(self) -> Float[Tensor, " sites"]:
        """Return the share of rows, and of positions in a step plan, at which each site is open."""
        return self.gates.flatten(0, -2).float().mean(dim=0)

    def sparsity(self, stack: Stack | None = None) -> float:
        """Return the share of sites that are skipped, of one stack or of all: in [0, 1]; 0 where there is no site."""
        gates = self.gates if stack is None else self.of_stack(stack).gates
        return 1.0 - gates.float().mean().item() if gates.numel() else 0.0

    def layer_gates(self, stack: Stack, num_layers: int, device: torch.device | str = "cpu") -> tuple[LayerGates, ...]:
        """Return the gates of each layer of a stack, ready for its layers: made once a plan, not once a step.

        Those of a step plan multiply: for whole prefixes.
        """
        return _by_layer(self.sites, stack, num_layers, lambda column: self._site_gate(column, device))

    def _site_gate(self, column: int, device: torch.device | str) -> SiteGate:
        gates = self.gates[..., column]
        if self.is_stepwise:
            return OPEN if bool(gates.all()) else ScaledGate(gates.float().to(device))
        return OPEN if bool(gates.all()) else RowGate(gates.nonzero()[:, 0].to(device), self.num_rows)


@final
@dataclass(frozen=True, eq=False)
class GateSample:
    """Gates drawn for training: hard values forward, the gradient of soft ones backward."""

    sites: tuple[GateSite, ...]
    """The S sites of the columns."""
    gates: Float[Tensor, "batch *positions sites"]
    """0 or 1 forward (straight-through), differentiable with respect to `logits`."""
    logits: Float[Tensor, "batch *positions sites 2"]
    """What they were drawn from; the last axis is (closed, open)."""
    counted: Bool[Tensor, "batch positions"] | None = None
    """Where every position has gates of its own: those that count for the sparsity. None: all."""
    held: Bool[Tensor, " batch"] | None = None
    """Rows whose gates are open whatever was drawn, where there may be some: their sparsity is to be 0."""

    def held_open(self, rows: Bool[Tensor, " batch"]) -> GateSample:
        """Return the same with every gate of some rows open, whatever was drawn: nothing is learned from those."""
        held = rows.to(self.gates.device).view(-1, *[1] * (self.gates.ndim - 1))
        return replace(self, gates=torch.where(held, torch.ones_like(self.gates), self.gates), held=rows)

    def closed_share(self, weights: Float[Tensor, " sites"]) -> Float[Tensor, " batch"]:
        """Return the weight that is closed in each row, the mean over its positions that count: differentiable."""
        return self._of_rows(closed_share(self.gates, weights))

    def sparsity(self) -> Float[Tensor, ""]:
        """Return 1 - mean(gates) over sites and positions, then over rows: differentiable."""
        return self.row_sparsity().mean()

    def row_sparsity(self) -> Float[Tensor, " batch"]:
        """Return 1 - mean(gates) over the sites of each row, and over its positions that count: differentiable."""
        return self._of_rows(1 - self.gates.float().mean(dim=-1))

    def arg_max(self) -> GatePlan:
        """Return the plan that inference would follow: the arg-max, without noise."""
        return GatePlan(self.sites, open_where_likelier(self.logits))

    def layer_gates(self, stack: Stack, num_layers: int, device: torch.device | str = "cpu") -> tuple[LayerGates, ...]:
        """Return the multiplying gates of each layer of a stack, on `device`."""
        return _by_layer(self.sites, stack, num_layers, lambda column: ScaledGate(self.gates[..., column].to(device)))

    def _of_rows(self, values: Float[Tensor, "batch *positions"]) -> Float[Tensor, " batch"]:
        if values.ndim == 1:
            return values
        if self.counted is None:
            return values.mean(dim=1)
        return (values * self.counted).sum(dim=1) / self.counted.sum(dim=1).clamp_min(1)


def open_where_likelier(logits: Float[Tensor, "*rows sites 2"]) -> Bool[Tensor, "*rows sites"]:
    """Return the arg-max decision on the CPU; a tie stays open, so that nothing is skipped without a reason."""
    return (logits[..., 1] >= logits[..., 0]).detach().cpu()


def all_but_least_likely(
    logits: Float[Tensor, "batch sites 2"], budgets: Sequence[float], weights: Float[Tensor, " sites"]
) -> Bool[Tensor, "batch sites"]:
    """Return the decision that closes the sites least likely to be open, until their weight is nearest to each budget.

    With equal weights that is round(budget * sites) of them: see `num_closed`.
    """
    margins = (logits[..., 1] - logits[..., 0]).detach().cpu()
    closed = num_closed(margins, torch.tensor(list(budgets)), weights)
    ranks = margins.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return ranks >= closed[:, None]


def sparsity_by_stack(plan: GatePlan) -> dict[Stack, float]:
    """Return the share of skipped sites of every stack that the plan has sites in."""
    return {stack: plan.sparsity(stack) for stack in STACKS if any(site.stack == stack for site in plan.sites)}


def _by_layer(
    sites: Sequence[GateSite], stack: Stack, num_layers: int, gate_of_column: Callable[[int], SiteGate]
) -> tuple[LayerGates, ...]:
    layers: list[dict[str, SiteGate]] = [{} for _ in range(num_layers)]
    for column, site in enumerate(sites):
        if site.stack == stack:
            layers[site.layer][site.kind] = gate_of_column(column)
    return tuple(layers)
