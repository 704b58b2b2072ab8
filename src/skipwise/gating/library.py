"""Several adapters on one base, by name: each request says which one decides.

Shapes: B rows, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.context import Context
from skipwise.gating.layerwise import LayerPlanner
from skipwise.gating.plan import GatePlan
from skipwise.gating.planner import AdapterPlanner, Planner
from skipwise.gating.steps import StepPlanner


@final
class LibraryPlanner(Planner):
    """Decides each row by the planner that its context names; rows of one batch may name different ones."""

    def __init__(self, planners: Mapping[str, Planner]) -> None:
        """Take planners by name; a context without one follows the first.

        Raises:
            SkipwiseError: if there is none, or one cannot share a batch: it changes the base, or decides on the way.
        """
        if not planners:
            raise SkipwiseError("a library of gates needs one or more of them by name; got none.")
        for name, planner in planners.items():
            if isinstance(planner, AdapterPlanner) and (reason := _alone_because(planner)):
                raise SkipwiseError(
                    f"the gates {name!r} cannot be one of several: {reason}. Give them a Transcriber of their own; the "
                    "model in memory can be the same."
                )
        self.planners = dict(planners)
        """What decides, by name."""

    def named(self, name: str | None) -> Planner:
        """Return the planner of a name.

        Raises:
            SkipwiseError: if there is none.
        """
        if name is None:
            return next(iter(self.planners.values()))
        if name not in self.planners:
            raise SkipwiseError(f"there are no gates named {name!r}. Named are: {', '.join(self.planners)}.")
        return self.planners[name]

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._joined(contexts, pooled_input, lambda planner, own, pooled: planner.encoder(own, pooled))

    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._joined(contexts, pooled_encoded, lambda planner, own, pooled: planner.decoder(own, pooled))

    def _joined(
        self,
        contexts: Sequence[Context],
        pooled: Float[Tensor, "batch dim"],
        decide: Callable[[Planner, Sequence[Context], Tensor], GatePlan | LayerPlanner | StepPlanner],
    ) -> GatePlan:
        """One plan over the sites of all; a row leaves open what its own gates do not name."""
        rows_of: dict[str | None, list[int]] = {}
        for row, context in enumerate(contexts):
            rows_of.setdefault(context.gates, []).append(row)
        decided: list[tuple[list[int], GatePlan]] = []
        for name, rows in rows_of.items():
            plan = decide(self.named(name), [contexts[row] for row in rows], pooled[rows])
            assert isinstance(plan, GatePlan)
            decided.append((rows, plan))
        sites = tuple(dict.fromkeys(site for _, plan in decided for site in plan.sites))
        gates = torch.ones(len(contexts), len(sites), dtype=torch.bool)
        for rows, plan in decided:
            columns = [sites.index(site) for site in plan.sites]
            gates[torch.tensor(rows)[:, None], torch.tensor(columns, dtype=torch.long)] = plan.gates
        return GatePlan(sites, gates)


def _alone_because(planner: AdapterPlanner) -> str | None:
    adapter = planner.adapter
    if adapter.lora is not None:
        return "they change the base (LoRA)"
    if adapter.is_layerwise or adapter.config.granularity == "step":
        return "they decide while the model runs, each layer or each step for itself"
    return None
