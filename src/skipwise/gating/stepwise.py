"""Gates that are decided at every position of the decoder, by a predictor: followed in decoding, drawn in training.

Shapes: B utterances, K beams of each, L positions, D width, S sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skipwise.gating.draws import RowDraws
from skipwise.gating.plan import GateSample, all_but_least_likely, open_where_likelier
from skipwise.gating.predictors import StepPredictor
from skipwise.gating.relaxation import Sampling
from skipwise.gating.sites import GateSite
from skipwise.gating.steps import StepPlanner


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class StepDecider:
    """What both kinds need: a predictor, and what it made of the utterances."""

    predictor: StepPredictor
    started: Float[Tensor, "batch hidden"]
    """What is the same at all positions of an utterance."""
    sites: tuple[GateSite, ...]
    """The S sites, all of the decoder."""
    weights: Float[Tensor, " sites"]
    """What each counts for in a budget."""

    def logits(
        self, tokens: Float[Tensor, "batch *positions dim"], prefix_means: Float[Tensor, "batch *positions dim"]
    ) -> Float[Tensor, "batch *positions sites 2"]:
        """Return the logits (closed, open) of every site at every position."""
        to_positions = (len(self.started), *[1] * (tokens.ndim - 2), -1)
        return self.predictor(self.started.reshape(to_positions), tokens, prefix_means)

    def select(self, utterances: Sequence[int]) -> StepDecider:
        """Return what decides for some of the utterances."""
        return replace(self, started=self.started[list(utterances)])


@final
class AdapterStepPlanner(StepPlanner):
    """The arg-max at every position, or exactly a budget there."""

    def __init__(self, decider: StepDecider, *, budgets: Sequence[float] | None = None) -> None:
        """Follow `decider`; with `budgets`, one an utterance, the least likely sites are closed at each position."""
        self._decider = decider
        self._budgets = None if budgets is None else tuple(budgets)

    @property
    def sites(self) -> tuple[GateSite, ...]:
        return self._decider.sites

    @torch.no_grad()
    def gates(
        self, tokens: Float[Tensor, "batch beams new dim"], prefix_means: Float[Tensor, "batch beams new dim"]
    ) -> Bool[Tensor, "batch beams new sites"]:
        logits = self.logits(tokens, prefix_means)
        if self._budgets is None:
            return open_where_likelier(logits)
        num_each = tokens.shape[1] * tokens.shape[2]
        budgets = [budget for budget in self._budgets for _ in range(num_each)]
        gates = all_but_least_likely(logits.flatten(0, 2), budgets, self._decider.weights)
        return gates.unflatten(0, tuple(tokens.shape[:3]))

    def logits(
        self, tokens: Float[Tensor, "batch *positions dim"], prefix_means: Float[Tensor, "batch *positions dim"]
    ) -> Float[Tensor, "batch *positions sites 2"]:
        """Return what the gates of new positions are decided from."""
        return self._decider.logits(tokens, prefix_means)

    def keep(self, utterances: Sequence[int]) -> AdapterStepPlanner:
        budgets = None if self._budgets is None else [self._budgets[utterance] for utterance in utterances]
        return AdapterStepPlanner(self._decider.select(utterances), budgets=budgets)


@final
class StepSampler:
    """Gates drawn for training at every position; one pass over one batch has one, and afterwards there is a sample."""

    def __init__(self, decider: StepDecider, sampling: Sampling, draws: RowDraws) -> None:
        self._decider, self._sampling, self._draws = decider, sampling, draws
        self._sample: GateSample | None = None

    def draw(
        self, tokens: Float[Tensor, "batch positions dim"], prefix_means: Float[Tensor, "batch positions dim"]
    ) -> GateSample:
        """Return the gates of whole prefixes."""
        logits = self._decider.logits(tokens, prefix_means)
        self._sample = GateSample(self._decider.sites, self._sampling.gates(logits, self._draws), logits)
        return self._sample

    def sample(self) -> GateSample:
        """Return what was drawn, once the decoder has run."""
        assert self._sample is not None
        return self._sample
