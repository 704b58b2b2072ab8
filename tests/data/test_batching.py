import random

import pytest

from skipwise.data.batching import batches_by_duration
from skipwise.errors import SkipwiseError

RNG = random.Random(1)
DURATIONS_S = [RNG.uniform(1, 12) for _ in range(500)]


def _padded_s(batch):
    return max(DURATIONS_S[index] for index in batch) * len(batch)


def test_each_utterance_is_in_one_batch_and_no_batch_is_too_long():
    batches = batches_by_duration(DURATIONS_S, max_batch_s=60, seed=3)
    assert sorted(index for batch in batches for index in batch) == list(range(500))
    assert max(map(_padded_s, batches)) <= 60


def test_little_of_a_batch_is_padding():
    batches = batches_by_duration(DURATIONS_S, max_batch_s=60, seed=3)
    # Unsorted batches of these lengths are about 45 % padding.
    assert sum(map(_padded_s, batches)) < 1.15 * sum(DURATIONS_S)


def test_the_seed_decides_the_batches():
    same = [batches_by_duration(DURATIONS_S, max_batch_s=60, seed=3) for _ in range(2)]
    other = batches_by_duration(DURATIONS_S, max_batch_s=60, seed=4)
    assert same[0] == same[1]
    assert {frozenset(batch) for batch in same[0]} != {frozenset(batch) for batch in other}


def test_sorted_batches_go_from_short_to_long_and_others_do_not():
    def firsts(*, sort):
        batches = batches_by_duration(DURATIONS_S, max_batch_s=60, seed=3, sort=sort, jitter_s=0)
        return [min(DURATIONS_S[index] for index in batch) for batch in batches]

    assert firsts(sort=True) == sorted(firsts(sort=True))
    assert firsts(sort=False) != firsts(sort=True)


def test_a_long_utterance_is_a_batch_of_its_own():
    assert batches_by_duration([5.0, 100.0, 5.0], max_batch_s=20, seed=0, sort=True) in ([[0, 2], [1]], [[2, 0], [1]])


def test_nothing_makes_no_batches():
    assert batches_by_duration([], max_batch_s=20, seed=0) == []


def test_impossible_limits_are_refused():
    with pytest.raises(SkipwiseError, match="max_batch_s must be above 0, got 0"):
        batches_by_duration([1.0], max_batch_s=0, seed=0)
    with pytest.raises(SkipwiseError, match="jitter_s must be 0 or more, got -1"):
        batches_by_duration([1.0], max_batch_s=1, seed=0, jitter_s=-1)
