"""From `--sparsity`, `--exact`, `--unit`, `--cost-table` and `--speedup` to a transcriber that meets them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from skipwise.decoding.options import DecodeOptions
    from skipwise.gating import Budget, GateAdapter
    from skipwise.models.precision import Dtype
    from skipwise.pipeline import Transcriber

MACS_AUDIO_S, MACS_TOKENS = 10.0, 30
"""The utterance that MACs are counted for, where the gates were trained to count something else."""


@final
@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for on the command line."""

    budget: Budget
    cost_table: Path | None = None
    """What `skipwise bench cost` wrote of this model on this machine."""
    speedup: float | None = None
    """How many times as fast the whole is to be as our own dense engine."""


def make_transcriber(
    model: str | None,
    gates: str,
    wish: Wish,
    *,
    device: str,
    dtype: Dtype | Literal["auto"],
    options: DecodeOptions,
) -> Transcriber:
    """Return a transcriber that follows gates at a budget; MACs are counted for its model if the gates do not say.

    Raises:
        SkipwiseError: if the gates know no such budget, or a speedup is asked for without a cost table.
    """
    from skipwise.gating.shuffle import followed_adapter
    from skipwise.pipeline import Transcriber

    if wish.speedup is not None and wish.cost_table is None:
        raise SkipwiseError(
            "--speedup needs a --cost-table of this model on this machine. Measure one: skipwise bench cost."
        )
    budget = wish.budget
    if budget.unit != "macs" and wish.cost_table is None:
        return Transcriber(model, gates=gates, sparsity=budget, device=device, dtype=dtype, options=options)
    plain = Transcriber(model, gates=gates, device=device, dtype=dtype, options=options)
    adapter = followed_adapter(plain.planner)
    if adapter is not None:
        budget = _with_costs(wish, adapter, plain)
    return Transcriber(plain.model, gates=adapter, sparsity=budget, dtype=dtype, options=options)


def _with_costs(wish: Wish, adapter: GateAdapter, plain: Transcriber) -> Budget:
    """The budget with what each site counts for, where the gates do not say it themselves."""
    from skipwise.evaluation.cost import mac_weights
    from skipwise.gating.cost_table import CostTable

    if wish.cost_table is None:
        if adapter.config.unit == "macs":
            return wish.budget
        weights = mac_weights(plain.sizes, audio_s=MACS_AUDIO_S, num_tokens=MACS_TOKENS)
        return replace(wish.budget, site_weights=weights)
    table, sites = CostTable.load(wish.cost_table), plain.sites
    if wish.speedup is None:
        unit = wish.budget.unit or "ms"
        return replace(wish.budget, unit=unit, site_weights=tuple(table.site_weights(sites, unit).tolist()))
    share = table.sparsity_for(wish.speedup, adapter.pruned_stacks(wish.budget.scope))
    costs = tuple(table.site_weights(sites, "ms").tolist())
    return replace(wish.budget, sparsity=share, unit="ms", exact=True, site_weights=costs)
