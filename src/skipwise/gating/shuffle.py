"""The shuffle test: does it matter whose input the gates are decided from?

A first run keeps every input; in a second one the predictor sees another utterance's, while the base model hears, and
its prompt names, what they did before.

Shapes: B rows, D width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.adapter import GateAdapter
from skipwise.gating.context import Context
from skipwise.gating.layerwise import LayerPlanner
from skipwise.gating.plan import GatePlan
from skipwise.gating.planner import AdapterPlanner, Planner
from skipwise.gating.sites import STACKS, Stack
from skipwise.gating.steps import StepPlanner

ShuffleLevel = Literal["speech", "language", "task"]
"""Whose input it is: another utterance's of the same language and task; of another language and the same task; of the
same language and another task."""

_SAME = 1e-3
"""Pooled speech whose values differ by less than this share of its size is the same utterance's."""


@final
@dataclass(frozen=True, eq=False)
class Donor:
    """What the gates of one utterance were decided from."""

    context: Context
    pooled: Float[Tensor, " dim"]

    def is_of(self, pooled: Float[Tensor, " dim"]) -> bool:
        """Return whether it is the utterance with this pooled speech."""
        return bool((self.pooled - pooled).norm() <= _SAME * pooled.norm())

    def may_give(self, context: Context, level: ShuffleLevel) -> bool:
        """Return whether it differs from a context in what is shuffled, and in nothing else."""
        same_language = self.context.language == context.language
        same_task = self.context.task == context.task
        return (same_language, same_task) == (level != "language", level != "task")


Donors = dict[Stack, list[Donor]]


def followed_adapter(planner: Planner) -> GateAdapter | None:
    """Return the adapter that decides, also behind a planner of the shuffle test; None if none does."""
    match planner:
        case AdapterPlanner():
            return planner.adapter
        case RecordingPlanner() | ShuffledPlanner():
            return followed_adapter(planner.planner)
        case _:
            return None


@final
class RecordingPlanner(Planner):
    """Decides as another planner does, and keeps what it decided from: not for concurrent calls."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        """What decides."""
        self.donors: Donors = {stack: [] for stack in STACKS}

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan | LayerPlanner:
        self._keep("encoder", contexts, pooled_input)
        return self.planner.encoder(contexts, pooled_input)

    def decoder(
        self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]
    ) -> GatePlan | LayerPlanner | StepPlanner:
        self._keep("decoder", contexts, pooled_encoded)
        return self.planner.decoder(contexts, pooled_encoded)

    def _keep(self, stack: Stack, contexts: Sequence[Context], pooled: Float[Tensor, "batch dim"]) -> None:
        rows = pooled.detach().float().cpu()
        self.donors[stack] += [Donor(context, row.clone()) for context, row in zip(contexts, rows, strict=True)]


@final
class ShuffledPlanner(Planner):
    """Decides each row from the input of another utterance: its speech, and the language or the task that differs."""

    def __init__(self, planner: Planner, donors: Donors, level: ShuffleLevel, *, seed: int = 0) -> None:
        """Take inputs from `donors`, which a `RecordingPlanner` kept of the same data."""
        self.planner = planner
        """What decides."""
        self._donors = donors
        self.level: ShuffleLevel = level
        """What is shuffled."""
        self._seed = seed

    def encoder(self, contexts: Sequence[Context], pooled_input: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._decided_before(self.planner.encoder(*self._shuffled("encoder", contexts, pooled_input)))

    def decoder(self, contexts: Sequence[Context], pooled_encoded: Float[Tensor, "batch dim"]) -> GatePlan:
        return self._decided_before(self.planner.decoder(*self._shuffled("decoder", contexts, pooled_encoded)))

    def _decided_before(self, plan: GatePlan | LayerPlanner | StepPlanner) -> GatePlan:
        if not isinstance(plan, GatePlan):
            raise SkipwiseError(
                "the shuffle test is for gates that are decided before a stack runs; those of a local predictor see "
                "each layer's own input, and those of every step its tokens, which cannot be another utterance's. Use "
                "an adapter of another kind."
            )
        return plan

    def _shuffled(
        self, stack: Stack, contexts: Sequence[Context], pooled: Float[Tensor, "batch dim"]
    ) -> tuple[list[Context], Float[Tensor, "batch dim"]]:
        shuffled, rows = [], pooled.clone()
        for row, (context, own) in enumerate(zip(contexts, pooled.detach().float().cpu(), strict=True)):
            donor = self._donor(stack, context, own)
            shuffled.append(donor.context)
            rows[row] = donor.pooled.to(pooled)
        return shuffled, rows

    def _donor(self, stack: Stack, context: Context, pooled: Float[Tensor, " dim"]) -> Donor:
        # by its speech: the same whatever the batch
        rng = random.Random(f"{self._seed} {self.level} {stack} {round(float(pooled.sum()), 3)}")
        candidates = [donor for donor in self._donors[stack] if donor.may_give(context, self.level)]
        for donor in rng.sample(candidates, len(candidates)):
            if not donor.is_of(pooled):
                return donor
        wanted = {"speech": "this language and task", "language": "another language", "task": "another task"}
        raise SkipwiseError(
            f"the shuffle test by {self.level} needs another utterance of {wanted[self.level]} for each; there is none "
            f"for {context.language} {context.task}. Evaluate more utterances, languages or tasks."
        )
