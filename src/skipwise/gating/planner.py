"""Planners: what answers "which sites run for this input?" on every path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor

from skipwise.gating.adapter import GateAdapter
from skipwise.gating.context import Context
from skipwise.gating.plan import GatePlan


class Planner(ABC):
    """Decides the plans of both stacks, each from the context and the speech as that stack receives it."""

    @abstractmethod
    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        """Return the encoder's plan; `pooled_input` is the mean conv embedding over the frames of real samples."""

    @abstractmethod
    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        """Return the decoder's plan; `pooled_encoded` is the mean encoder output over the frames of real samples."""


@final
class AdapterPlanner(Planner):
    """Follows a trained adapter: the arg-max of its predictors."""

    def __init__(self, adapter: GateAdapter) -> None:
        self._adapter = adapter

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._adapter.plan("encoder", contexts, pooled_input)

    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._adapter.plan("decoder", contexts, pooled_encoded)


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
