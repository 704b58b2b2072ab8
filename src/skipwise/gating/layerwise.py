"""Gates that are decided while a stack runs: those of a layer from what comes into it.

Shapes: B rows, D width, S sites of a layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.branch import ALL_OPEN, LayerGates
from skipwise.gating.context import ContextIds
from skipwise.gating.draws import RowDraws
from skipwise.gating.plan import GatePlan, GateSample, all_but_least_likely, open_where_likelier
from skipwise.gating.predictors import LayerPredictor
from skipwise.gating.relaxation import Sampling
from skipwise.gating.sites import GateSite, Stack
from skipwise.gating.steps import StepPlanner
from skipwise.gating.stepwise import StepSampler


class LayerwiseGates(ABC):
    """Decides the gates of a stack's layers one after the other; one pass over one batch has one."""

    @abstractmethod
    def layer(self, index: int, pooled: Float[Tensor, "batch dim"]) -> LayerGates:
        """Return the gates of a layer from the mean of its input; layers come in ascending order, each once."""


StackGates = Sequence[LayerGates] | LayerwiseGates | None
"""What the layers of a stack follow: gates decided before, gates decided on the way, or none: all open."""


def stack_gates(
    gates: GatePlan | GateSample | LayerwiseGates | StepPlanner | StepSampler | None,
    stack: Stack,
    hidden: Float[Tensor, "batch time dim"],
    num_layers: int,
) -> StackGates:
    """Return what the layers of a stack follow when `hidden` enters the first of them.

    Raises:
        SkipwiseError: if a plan has several rows, but not one for each of the batch; for gates of every step, which
            whole prefixes follow as the plan or the sample that is made of them.
    """
    match gates:
        case StepPlanner() | StepSampler():
            raise SkipwiseError(
                "this stack does not follow gates of every step. Take gates that are decided once an utterance "
                '(granularity="utterance").'
            )
        case None | LayerwiseGates():
            return gates
        case GatePlan():  # rows that a plan lacks would silently be closed
            return gates.expand(hidden.shape[0]).layer_gates(stack, num_layers, hidden.device)
        case GateSample():
            return gates.layer_gates(stack, num_layers, hidden.device)


def gates_of_layer(gates: StackGates, index: int, pool: Callable[[], Float[Tensor, "batch dim"]]) -> LayerGates:
    """Return the gates of a layer; `pool`, the mean of what comes into it, is asked only where they depend on it."""
    match gates:
        case None:
            return ALL_OPEN
        case LayerwiseGates():
            return gates.layer(index, pool())
        case _:
            return gates[index]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerDecider:
    """What both kinds need: a predictor, and what is known of the rows."""

    predictor: LayerPredictor
    context: ContextIds
    sites: tuple[GateSite, ...]
    """All sites of the stack."""
    weights: Float[Tensor, " sites"]
    """What each counts for in a budget."""

    def of_layer(self, index: int) -> list[int]:
        """Return the columns of a layer's sites."""
        return [column for column, site in enumerate(self.sites) if site.layer == index]

    def logits(self, index: int, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch layer_sites 2"]:
        """Return the logits (closed, open) of a layer's sites."""
        return self.predictor(self.context, pooled, index)


@final
class LayerPlanner(LayerwiseGates):
    """The arg-max of each layer, or exactly a budget; afterwards there is a plan."""

    def __init__(self, decider: LayerDecider, *, budgets: Sequence[float] | None = None) -> None:
        """Follow `decider`; with `budgets`, one a row, each layer closes its share of them.

        A layer decides before those above it are known, so a budget is spread over the layers: after each of them as
        many of the sites so far are closed as the budget says of those.
        """
        self._decider = decider
        self._budgets = None if budgets is None else list(budgets)
        self._decided: list[Bool[Tensor, "batch layer_sites"]] = []
        self._logits: list[Float[Tensor, "batch layer_sites 2"]] = []

    def layer(self, index: int, pooled: Float[Tensor, "batch dim"]) -> LayerGates:
        columns = self._decider.of_layer(index)
        if not columns:
            return ALL_OPEN
        logits = self._decider.logits(index, pooled)
        gates = open_where_likelier(logits) if self._budgets is None else self._exactly(columns, logits)
        self._decided.append(gates)
        self._logits.append(logits)
        plan = GatePlan(tuple(self._decider.sites[column] for column in columns), gates)
        return plan.layer_gates(plan.sites[0].stack, index + 1, pooled.device)[index]

    def plan(self) -> GatePlan:
        """Return what was decided, once all layers have run."""
        gates = torch.cat(self._decided, dim=1)
        assert gates.shape[1] == len(self._decider.sites)
        return GatePlan(self._decider.sites, gates)

    def logits(self) -> Float[Tensor, "batch sites 2"]:
        """Return what it was decided from, once all layers have run."""
        return torch.cat(self._logits, dim=1)

    def _exactly(
        self, columns: Sequence[int], logits: Float[Tensor, "batch layer_sites 2"]
    ) -> Bool[Tensor, "batch layer_sites"]:
        assert self._budgets is not None
        weights, before = self._decider.weights, min(columns)
        own, so_far = weights[list(columns)], float(weights[: max(columns) + 1].sum())
        closed = torch.zeros(len(self._budgets))
        if self._decided:
            closed = (~torch.cat(self._decided, dim=1)).float() @ weights[:before]
        left = (torch.tensor(self._budgets) * so_far - closed) / float(own.sum())
        return all_but_least_likely(logits, left.clamp(0, 1).tolist(), own / own.sum())


def followed(
    decided: GatePlan | GateSample | LayerPlanner | LayerSampler | None,
) -> GatePlan | GateSample | None:
    """Return what a stack followed, once it has run; None if it has no gates."""
    match decided:
        case LayerPlanner() as planner:
            return planner.plan()
        case LayerSampler() as sampler:
            return sampler.sample()
        case known:
            return known


@final
class LayerSampler(LayerwiseGates):
    """Gates drawn for training, layer by layer; afterwards there is a sample."""

    def __init__(self, decider: LayerDecider, sampling: Sampling, draws: RowDraws) -> None:
        self._decider, self._sampling, self._draws = decider, sampling, draws
        self._samples: list[GateSample] = []

    def layer(self, index: int, pooled: Float[Tensor, "batch dim"]) -> LayerGates:
        columns = self._decider.of_layer(index)
        if not columns:
            return ALL_OPEN
        logits = self._decider.logits(index, pooled)
        sites = tuple(self._decider.sites[column] for column in columns)
        sample = GateSample(sites, self._sampling.gates(logits, self._draws), logits)
        self._samples.append(sample)
        return sample.layer_gates(sites[0].stack, index + 1, pooled.device)[index]

    def sample(self) -> GateSample:
        """Return what was drawn, once all layers have run."""
        gates = torch.cat([sample.gates for sample in self._samples], dim=1)
        assert gates.shape[1] == len(self._decider.sites)
        return GateSample(self._decider.sites, gates, torch.cat([sample.logits for sample in self._samples], dim=1))
