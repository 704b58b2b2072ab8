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
from skipwise.gating.context import Context
from skipwise.gating.plan import GatePlan
from skipwise.gating.steps import StepPlanner


class Planner(ABC):
    """Decides the plans of both stacks, each from the context and the speech as that stack receives it."""

    @abstractmethod
    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        """Return the encoder's plan; `pooled_input` is the mean conv embedding over the frames of real samples."""

    @abstractmethod
    def decoder(
        self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]
    ) -> GatePlan | StepPlanner:
        """Return the decoder's plan, or what decides one for each of its positions.

        `pooled_encoded` is the mean encoder output over the frames of real samples.
        """


@final
class AdapterPlanner(Planner):
    """Follows a trained adapter: the arg-max of its predictors, or exactly a budget."""

    def __init__(self, adapter: GateAdapter, *, sparsity: float | None = None, exact: bool = False) -> None:
        """Ask for `sparsity` where a context has no budget of its own; None leaves it to the adapter.

        With `exact` the least likely sites are closed until as many are as the budget says.

        Raises:
            SkipwiseError: for a sparsity outside [0, 1), or one that the adapter was not trained for without `exact`.
        """
        if sparsity is not None and not 0 <= sparsity < 1:
            raise SkipwiseError(f"sparsity must be in [0, 1), got {sparsity}. For the base model use gates none.")
        if sparsity is not None and not exact and not adapter.is_elastic and sparsity != adapter.config.sparsity:
            raise SkipwiseError(
                f"these gates were trained for a sparsity of {adapter.config.sparsity}, got {sparsity}. Ask for "
                "exactly that many sites (exact), or train gates with the context part budget, which follow any."
            )
        self._adapter = adapter
        self.sparsity = sparsity
        """The budget that is asked for; None leaves it to the adapter."""
        self.exact = exact
        """Whether it is met exactly."""

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._adapter.plan("encoder", self._asked(contexts), pooled_input, exact=self.exact)

    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._adapter.plan("decoder", self._asked(contexts), pooled_encoded, exact=self.exact)

    def _asked(self, contexts: Sequence[Context]) -> list[Context]:
        if self.sparsity is None:
            return list(contexts)
        return [c if c.budget is not None else replace(c, budget=self.sparsity) for c in contexts]


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
