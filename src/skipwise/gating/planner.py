"""Planners: what answers "which sites run for this input?" on every path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.adapter import GateAdapter
from skipwise.gating.budget import Budget, stack_weights
from skipwise.gating.context import Context
from skipwise.gating.layerwise import LayerPlanner
from skipwise.gating.plan import GatePlan
from skipwise.gating.sites import Stack
from skipwise.gating.steps import StepPlanner


class Planner(ABC):
    """Decides the plans of both stacks, each from the context and the speech as that stack receives it."""

    @abstractmethod
    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan | LayerPlanner:
        """Return the encoder's plan, or what makes it while the encoder runs.

        `pooled_input` is the mean conv embedding over the frames of real samples.
        """

    @abstractmethod
    def decoder(
        self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]
    ) -> GatePlan | LayerPlanner | StepPlanner:
        """Return the decoder's plan, what makes it while the prompt runs, or what decides each of its positions.

        `pooled_encoded` is the mean encoder output over the frames of real samples.
        """


@final
class AdapterPlanner(Planner):
    """Follows a trained adapter: the arg-max of its predictors, or exactly a budget."""

    def __init__(self, adapter: GateAdapter, budget: Budget | None = None) -> None:
        """Ask for `budget` where a context has none of its own; None leaves it to the adapter.

        Raises:
            SkipwiseError: for a sparsity or a unit that the adapter was not trained for, without `exact`; for a unit
                whose costs are not known; for a scope without gates.
        """
        budget = budget or Budget()
        trained = adapter.config
        unit = budget.unit or trained.unit
        if not budget.exact and unit != trained.unit:
            raise SkipwiseError(
                f"these gates were trained for budgets in {trained.unit}, got {unit}. Ask for an exact one, which is "
                "met whatever the gates were trained for."
            )
        self.adapter = adapter
        """What is followed."""
        self.budget = replace(budget, unit=unit)
        """What is asked for."""
        self._pruned = adapter.pruned_stacks(budget.scope)
        if not self._pruned:
            raise SkipwiseError(
                f"these gates are on the {trained.scope} alone, and have nothing to prune in the {budget.scope}. Leave "
                "the scope out, or train gates for it."
            )
        self._costs = _costs(adapter, self.budget)
        if budget.sparsity is not None:
            self.check_sparsity(budget.sparsity)

    def check_sparsity(self, sparsity: float) -> None:
        """Raise a SkipwiseError if a request may not ask for a sparsity: the gates were trained for another alone."""
        asked = replace(self.budget, sparsity=sparsity)  # refuses what is no share
        trained = self.adapter.config.sparsity
        if not asked.exact and not self.adapter.is_elastic and sparsity != trained:
            raise SkipwiseError(
                f"these gates were trained for a sparsity of {trained}, got {sparsity}. Ask for exactly that much "
                "(exact), or train gates with the context part budget, which follow any."
            )

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan | LayerPlanner:
        decided = self._decided("encoder", contexts, pooled_input)
        assert not isinstance(decided, StepPlanner)  # gates of every step are the decoder's
        return decided

    def decoder(
        self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]
    ) -> GatePlan | LayerPlanner | StepPlanner:
        return self._decided("decoder", contexts, pooled_encoded)

    def site_weights(self, stack: Stack) -> Float[Tensor, " sites"]:
        """Return what each gated site of a stack counts for in the budget; they sum up to 1."""
        return stack_weights(self.adapter.sites(stack), self.adapter.base.sites, self._costs)

    def _decided(
        self, stack: Stack, contexts: Sequence[Context], pooled: Float[Tensor, "batch dim"]
    ) -> GatePlan | LayerPlanner | StepPlanner:
        if stack not in self._pruned:
            return GatePlan.all_open(self.adapter.sites(stack), len(contexts))
        asked = list(contexts)
        if self.budget.sparsity is not None:
            asked = [c if c.budget is not None else replace(c, budget=self.budget.sparsity) for c in contexts]
        return self.adapter.decide(stack, asked, pooled, exact=self.budget.exact, weights=self.site_weights(stack))


def _costs(adapter: GateAdapter, budget: Budget) -> tuple[float, ...]:
    """What sites cost in the unit that is asked for."""
    if budget.site_weights:
        return budget.site_weights
    if budget.unit == adapter.config.unit:
        return adapter.config.site_weights
    if budget.unit == "sites":
        return ()
    raise SkipwiseError(
        f"these gates count {adapter.config.unit}: what each site costs in {budget.unit} is not known. Give the "
        "budget's site_weights, one cost a site."
    )


@final
class FixedPlanner(Planner):
    """Follows one given plan, whatever the input."""

    def __init__(self, plan: GatePlan) -> None:
        self._plan = plan

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._plan.of_stack("encoder").expand(len(contexts))

    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._plan.of_stack("decoder").expand(len(contexts))


OPEN_PLANNER = FixedPlanner(GatePlan.all_open(()))
"""Runs the base model."""
