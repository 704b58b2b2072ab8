"""Intervals are honest: they cover, they widen with clustering, and pairing narrows them."""

import time

import numpy as np
import pytest

from skipwise.evaluation.intervals import Interval, median_interval, paired_difference, score_interval
from skipwise.evaluation.scores import BLEU, WER

WORDS = 12


def speech(
    num_speakers: int, per_speaker: int, *, seed: int, rate: float = 0.1, spread: float = 0.05
) -> tuple[np.ndarray, list[str]]:
    """Return WER counts of speakers who differ in difficulty."""
    rng = np.random.default_rng(seed)
    difficulty = np.clip(rng.normal(rate, spread, num_speakers), 0, 1).repeat(per_speaker)
    counts = np.zeros((len(difficulty), 4), dtype=np.int64)
    counts[:, 0] = rng.binomial(WORDS, difficulty)
    counts[:, 3] = WORDS
    return counts, [f"s{i}" for i in range(num_speakers) for _ in range(per_speaker)]


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval.high - interval.low


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(100):
        counts, speakers = speech(40, 5, seed=seed)
        interval = score_interval(WER, counts, speakers, seed=seed, num_resamples=400)
        assert interval is not None
        hits += not interval.excludes(10.0)
    # 95 % nominal; percentile intervals over 40 clusters run a little short: 93 % +- 5 % at 100 trials
    assert 87 <= hits <= 99


def test_speakers_are_drawn_and_not_utterances() -> None:
    counts, speakers = speech(20, 30, seed=1, spread=0.08)
    by_speaker = score_interval(WER, counts, speakers, seed=0)
    by_utterance = score_interval(WER, counts, [str(i) for i in range(len(speakers))], seed=0)
    assert width(by_speaker) > 2 * width(by_utterance)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    counts, speakers = speech(20, 5, seed=2)
    assert score_interval(WER, counts, speakers, seed=3) == score_interval(WER, counts, speakers, seed=3)
    assert score_interval(WER, counts, speakers, seed=3) != score_interval(WER, counts, speakers, seed=4)


def test_one_speaker_has_no_interval() -> None:
    counts, _ = speech(1, 5, seed=0)
    assert score_interval(WER, counts, ["only"] * 5, seed=0) is None
    difference = paired_difference(WER, counts, counts, ["only"] * 5, seed=0)
    assert difference.absolute == 0 and difference.absolute_interval is None and difference.relative_interval is None


def test_a_system_does_not_differ_from_itself() -> None:
    counts, speakers = speech(20, 5, seed=5)
    difference = paired_difference(WER, counts, counts, speakers, seed=0)
    assert difference.absolute == difference.relative == 0
    assert difference.absolute_interval == difference.relative_interval == Interval(0.0, 0.0)


def test_pairing_finds_a_small_difference_that_two_separate_intervals_hide() -> None:
    first, speakers = speech(60, 10, seed=6, spread=0.08)
    second = first.copy()
    second[::20, 0] += 1  # one more error in every 20th utterance, 0.4 points of WER
    difference = paired_difference(WER, first, second, speakers, seed=0)
    separate = [score_interval(WER, counts, speakers, seed=0) for counts in (first, second)]
    assert difference.absolute == pytest.approx(100 * 30 / (600 * WORDS))
    assert difference.relative == pytest.approx(100 * 30 / first[:, 0].sum())
    assert difference.absolute_interval is not None and difference.absolute_interval.excludes(0.0)
    assert difference.relative_interval is not None and difference.relative_interval.excludes(0.0)
    assert separate[0] is not None and separate[1] is not None and separate[1].low < separate[0].high


def test_a_faultless_first_system_has_no_relative_difference() -> None:
    counts, speakers = speech(5, 5, seed=7)
    perfect = counts * [0, 0, 0, 1]
    difference = paired_difference(WER, perfect, counts, speakers, seed=0)
    assert difference.absolute > 0 and difference.relative is None and difference.relative_interval is None


def test_two_thousand_resamples_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 20, size=(3000, 10))
    speakers = [f"s{i % 150}" for i in range(3000)]
    start = time.perf_counter()
    assert score_interval(BLEU, counts, speakers, seed=0, num_resamples=2000) is not None
    assert time.perf_counter() - start < 1


def test_the_interval_of_a_median_holds_the_median() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 50)
    interval = median_interval(values, seed=0)
    assert interval is not None and interval.low < np.median(values) < interval.high
    assert 0.01 < width(interval) < 0.1
    assert median_interval(values[:1], seed=0) is None
