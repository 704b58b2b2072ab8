"""95 % intervals by a bootstrap over speakers: of a score, and of the paired difference between two systems.

Utterances of one speaker share that speaker's difficulty, so speakers are drawn, not utterances. A resample sums the
speakers' counts and scores the sum: corpus-level, like the score itself.

Shapes: U utterances, C speakers (clusters), K counts, R resamples.
Source: Bisani and Ney 2004 (bootstrap for WER), Koehn 2004 (paired, for BLEU), Liu et al. 2020 (in blocks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from skipwise.evaluation.scores import Metric

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95


@final
@dataclass(frozen=True)
class Interval:
    """A percentile interval; both ends lie within it."""

    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Return whether `value` lies outside."""
        return not self.low <= value <= self.high


@final
@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a second system's score differs from the first one's on the same utterances."""

    absolute: float
    """Second minus first, in the metric's unit."""
    absolute_interval: Interval | None
    """None with fewer than two speakers."""
    relative: float | None
    """The same in percent of the first; None where the first is 0."""
    relative_interval: Interval | None
    """None with fewer than two speakers, or where some resample's first score is 0."""


def score_interval(
    metric: Metric,
    counts: Int[np.ndarray, "utterances counts"],
    speakers: Sequence[str],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval | None:
    """Return the interval of the score of `counts`; None with fewer than two speakers: one tells nothing of others."""
    clusters = _sum_by(counts, speakers)
    if clusters.shape[0] < 2:
        return None
    return _percentiles(metric.score(_draws(clusters.shape[0], num_resamples, seed) @ clusters))


def paired_difference(
    metric: Metric,
    first: Int[np.ndarray, "utterances counts"],
    second: Int[np.ndarray, "utterances counts"],
    speakers: Sequence[str],
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Difference:
    """Return how `second` differs from `first`: the same utterances in the same order, resampled together."""
    before, after = metric.corpus_score(first), metric.corpus_score(second)
    clusters_first, clusters_second = _sum_by(first, speakers), _sum_by(second, speakers)
    absolute_interval = relative_interval = None
    if clusters_first.shape[0] >= 2:
        draws = _draws(clusters_first.shape[0], num_resamples, seed)
        drawn_first, drawn_second = metric.score(draws @ clusters_first), metric.score(draws @ clusters_second)
        absolute_interval = _percentiles(drawn_second - drawn_first)
        if (drawn_first > 0).all():
            relative_interval = _percentiles(100 * (drawn_second / drawn_first - 1))
    return Difference(
        absolute=after - before,
        absolute_interval=absolute_interval,
        relative=100 * (after / before - 1) if before > 0 else None,
        relative_interval=relative_interval,
    )


def median_interval(
    values: Float[np.ndarray, " values"], *, seed: int, num_resamples: int = NUM_RESAMPLES
) -> Interval | None:
    """Return the interval of the median of `values`; None with fewer than two."""
    if values.size < 2:
        return None
    drawn = np.random.default_rng(seed).integers(values.size, size=(num_resamples, values.size))
    return _percentiles(np.median(values[drawn], axis=1))


def _sum_by(
    counts: Int[np.ndarray, "utterances counts"], speakers: Sequence[str]
) -> Int[np.ndarray, "speakers counts"]:
    assert counts.shape[0] == len(speakers)
    index = {speaker: row for row, speaker in enumerate(dict.fromkeys(speakers))}
    sums = np.zeros((len(index), counts.shape[1]), dtype=np.int64)
    np.add.at(sums, [index[speaker] for speaker in speakers], counts)
    return sums


def _draws(num_speakers: int, num_resamples: int, seed: int) -> Int[np.ndarray, "resamples speakers"]:
    """How often each speaker is drawn in each resample of as many speakers as there are."""
    shares = np.full(num_speakers, 1 / num_speakers)
    return np.random.default_rng(seed).multinomial(num_speakers, shares, size=num_resamples)


def _percentiles(values: Float[np.ndarray, " resamples"]) -> Interval:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
