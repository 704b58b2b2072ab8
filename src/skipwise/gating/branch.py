"""How a branch runs under its gate: the one place where a closed branch is skipped.

Shapes: B rows, R open rows among them, T frames or tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Int[Tensor, " open_rows"] | None
"""The rows of the batch that a branch runs on; None means all of them."""

Branch = Callable[[Tensor, Rows], Tensor]
"""(hidden [R, T, D], rows) -> update [R, T, D]; `rows` is there to select side inputs such as masks and caches."""


@final
@dataclass(frozen=True)
class OpenGate:
    """The branch runs on every row."""


@final
@dataclass(frozen=True)
class RowGate:
    """The branch runs on some rows, or on none."""

    rows: Int[Tensor, " open_rows"]
    """The open rows, ascending, on the model's device."""
    num_rows: int
    """All rows of the batch."""


@final
@dataclass(frozen=True)
class ScaledGate:
    """The branch runs on every row and is multiplied: training."""

    values: Float[Tensor, "batch *time"]
    """One differentiable gate a row, or one a position of it."""


SiteGate = OpenGate | RowGate | ScaledGate
LayerGates = Mapping[str, SiteGate]
"""The gates of one layer by kind of site; a kind that is missing is open."""

OPEN = OpenGate()
ALL_OPEN: LayerGates = {}


def gate_of(gates: LayerGates, kind: str) -> SiteGate:
    """Return the gate of the site `kind` of a layer."""
    return gates.get(kind, OPEN)


def all_open(gates: LayerGates) -> bool:
    """Return whether every branch of a layer runs on every row, unscaled."""
    return all(isinstance(gate, OpenGate) for gate in gates.values())


def is_closed(gate: SiteGate) -> bool:
    """Return whether the branch runs on no row at all."""
    return isinstance(gate, RowGate) and gate.rows.numel() == 0


def either(first: SiteGate, second: SiteGate) -> SiteGate:
    """Return the gate that is open where at least one of the two is: 1 - (1 - a)(1 - b)."""
    if isinstance(first, ScaledGate) and isinstance(second, ScaledGate):
        return ScaledGate(1 - (1 - first.values) * (1 - second.values))
    if isinstance(first, RowGate) and isinstance(second, RowGate):
        rows = torch.cat([first.rows, second.rows]).unique(sorted=True)
        return OPEN if rows.numel() == first.num_rows else RowGate(rows, first.num_rows)
    return OPEN  # an open gate beside any other


def select_rows(tensor: Tensor, rows: Rows) -> Tensor:
    """Return the given rows of `tensor` [B, ...]; all of them where `rows` is None."""
    return tensor if rows is None else tensor[rows]


def branch_output(
    branch: Branch, hidden: Float[Tensor, "batch time dim"], gate: SiteGate
) -> Float[Tensor, "batch time dim"] | None:
    """Return the gated output of `branch`, zeros in closed rows; None, with nothing executed, if all are closed."""
    match gate:
        case OpenGate():
            return branch(hidden, None)
        case ScaledGate(values):
            return branch(hidden, None) * _to_positions(values)
        case RowGate(rows) if rows.numel() == 0:
            return None
        case RowGate(rows):
            update = branch(hidden[rows], rows)
            return update.new_zeros(hidden.shape).index_copy(0, rows, update)


def add_branch(
    hidden: Float[Tensor, "batch time dim"], branch: Branch, gate: SiteGate
) -> Float[Tensor, "batch time dim"]:
    """Return `hidden` plus the gated output of `branch`; closed rows pass unchanged and are not computed."""
    match gate:
        case OpenGate():
            return hidden + branch(hidden, None)
        case ScaledGate(values):
            return hidden + branch(hidden, None) * _to_positions(values)
        case RowGate(rows) if rows.numel() == 0:
            return hidden
        case RowGate(rows):
            return hidden.index_add(0, rows, branch(hidden[rows], rows).to(hidden.dtype))


def add_merged(
    hidden: Float[Tensor, "batch time dim"],
    first: tuple[Branch, SiteGate],
    second: tuple[Branch, SiteGate],
    merge: Branch,
) -> Float[Tensor, "batch time dim"]:
    """Return `hidden` plus what `merge` makes of two gated branches of it, side by side [R, T, 2 * D].

    A closed branch leaves zeros in its half; where both are closed, `merge` does not run: E-Branchformer's rule.
    """
    any_gate = either(first[1], second[1])
    if is_closed(any_gate):
        return hidden
    halves = (branch_output(branch, hidden, gate) for branch, gate in (first, second))
    both = torch.cat([torch.zeros_like(hidden) if half is None else half for half in halves], dim=-1)
    return add_branch(hidden, lambda _, rows: merge(select_rows(both, rows), rows), any_gate)


def _to_positions(values: Float[Tensor, "batch *time"]) -> Float[Tensor, "batch #time 1"]:
    return values[:, None, None] if values.ndim == 1 else values[..., None]
