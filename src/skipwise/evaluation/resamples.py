"""Intervals over speakers and seeds at once: of a score, and of anything made of several scores of the same utterances.

Speakers are drawn, not utterances, and where a system was trained with several seeds these are drawn too; everything
that is compared sees the same draws, so that differences are paired. A quantity is counts and what they sum up to, as
in evaluation/scores.py: WER and BLEU, and rates, which are (part, whole).

Shapes: S seeds, U utterances, C speakers (clusters), K counts, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from skipwise.evaluation.intervals import CONFIDENCE, NUM_RESAMPLES, Interval

Score = Callable[[Int[np.ndarray, "sums counts"]], Float[np.ndarray, " sums"]]
"""From sums of counts to scores."""

Combine = Callable[..., Float[np.ndarray, " sums"]]
"""From the scores of several quantities to one number each."""


@final
@dataclass(frozen=True, eq=False)
class Quantity:
    """Counts of each utterance under each seed, and what their sum is worth."""

    counts: Int[np.ndarray, "seeds utterances counts"]
    score: Score

    def total(self) -> Float[np.ndarray, " 1"]:
        """Return the score of all utterances and seeds together."""
        return self.score(self.counts.sum(axis=(0, 1))[None])

    def value(self) -> float:
        """Return that score as a number: an estimate without the draws that its interval takes."""
        return float(self.total().item())


@final
@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    interval: Interval | None
    """None with fewer than two speakers, or where some resample has no score."""


def rate(sums: Int[np.ndarray, "sums 2"]) -> Float[np.ndarray, " sums"]:
    """Return the percentage that (part, whole) are; NaN of nothing."""
    return np.where(sums[:, 1] > 0, 100 * sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)


@final
class Resamples:
    """Draws of speakers and seeds, the same for all quantities."""

    def __init__(
        self, speakers: Sequence[str], num_seeds: int, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
    ) -> None:
        """Prepare draws for utterances of these speakers; a single seed is always drawn."""
        names = {speaker: place for place, speaker in enumerate(dict.fromkeys(speakers))}
        self._speaker_of_U = np.array([names[speaker] for speaker in speakers])
        self._num_speakers = len(names)
        rng = np.random.default_rng(seed)
        self._speakers_RC = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
        self._seeds_RS = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)

    def estimate(self, *quantities: Quantity, combine: Combine | None = None) -> Estimate:
        """Return the score of one quantity, or what `combine` makes of the scores of several."""
        made = combine or _itself
        with np.errstate(divide="ignore", invalid="ignore"):  # of nothing: told as no interval
            value = made(*(q.total() for q in quantities)).item()
            if self._num_speakers < 2:
                return Estimate(value, None)
            drawn = made(*(q.score(self._sums(q.counts)) for q in quantities))
        if not np.isfinite(drawn).all():
            return Estimate(value, None)
        tail = 50 * (1 - CONFIDENCE)
        low, high = np.percentile(drawn, [tail, 100 - tail])
        return Estimate(value, Interval(float(low), float(high)))

    def _sums(self, counts_SUK: Int[np.ndarray, "seeds utterances counts"]) -> Int[np.ndarray, "resamples counts"]:
        num_seeds, _, num_counts = counts_SUK.shape
        clusters_SCK = np.zeros((num_seeds, self._num_speakers, num_counts), dtype=np.int64)
        for clusters_CK, counts_UK in zip(clusters_SCK, counts_SUK, strict=True):
            np.add.at(clusters_CK, self._speaker_of_U, counts_UK)
        by_seed_RSK = np.stack([self._speakers_RC @ clusters_CK for clusters_CK in clusters_SCK], axis=1)
        return np.einsum("rs,rsk->rk", self._seeds_RS, by_seed_RSK)


def _itself(score: Float[np.ndarray, " sums"]) -> Float[np.ndarray, " sums"]:
    return score
