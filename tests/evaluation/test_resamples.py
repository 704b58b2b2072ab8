"""Intervals over speakers and seeds: with one seed those over speakers, with several wider where seeds differ."""

from __future__ import annotations

import numpy as np
import pytest

from skipwise.evaluation.intervals import paired_difference, score_interval
from skipwise.evaluation.resamples import Estimate, Quantity, Resamples, rate
from skipwise.evaluation.scores import WER

SPEAKERS = [f"s{i // 4}" for i in range(40)]


def errors(seed: int, share: float = 0.2) -> np.ndarray:
    counts = np.zeros((len(SPEAKERS), 4), dtype=np.int64)
    counts[:, 0] = np.random.default_rng(seed).binomial(12, share, len(SPEAKERS))
    counts[:, 3] = 12
    return counts


def width(estimate: Estimate) -> float:
    assert estimate.interval is not None
    return estimate.interval.high - estimate.interval.low


def test_one_seed_gives_the_intervals_of_speakers() -> None:
    first, second = errors(1), errors(2, 0.3)
    resamples = Resamples(SPEAKERS, 1, seed=5)
    alone = resamples.estimate(Quantity(first[None], WER.score))
    assert alone.value == WER.corpus_score(first)
    assert alone.interval == score_interval(WER, first, SPEAKERS, seed=5)
    both = resamples.estimate(
        Quantity(first[None], WER.score), Quantity(second[None], WER.score), combine=lambda a, b: b - a
    )
    assert both.interval == paired_difference(WER, first, second, SPEAKERS, seed=5).absolute_interval


def test_seeds_that_differ_widen_the_interval_and_seeds_that_agree_do_not() -> None:
    agreeing = np.stack([errors(1)] * 3)
    differing = np.stack([errors(1, share) for share in (0.1, 0.2, 0.3)])
    one = Resamples(SPEAKERS, 1).estimate(Quantity(agreeing[:1], WER.score))
    same = Resamples(SPEAKERS, 3).estimate(Quantity(agreeing, WER.score))
    other = Resamples(SPEAKERS, 3).estimate(Quantity(differing, WER.score))
    assert same == one
    assert width(other) > 2 * width(one)


def test_one_speaker_and_nothing_to_divide_by_have_no_interval() -> None:
    assert Resamples(["only"] * 40, 1).estimate(Quantity(errors(1)[None], WER.score)).interval is None
    nothing = Resamples(SPEAKERS, 1).estimate(Quantity(np.zeros((1, 40, 2), dtype=np.int64), rate))
    assert np.isnan(nothing.value) and nothing.interval is None


def test_a_rate_is_the_part_of_the_whole_in_percent() -> None:
    assert rate(np.array([[1, 4], [0, 3]])).tolist() == [25.0, 0.0]
    counts = np.stack([np.arange(40), np.full(40, 40)], axis=-1)[None]
    assert Resamples(SPEAKERS, 1).estimate(Quantity(counts, rate)).value == pytest.approx(100 * 780 / 1600)
