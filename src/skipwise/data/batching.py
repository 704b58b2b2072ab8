"""Batches of utterances of about the same length."""

import random
from collections.abc import Sequence

from skipwise.errors import SkipwiseError


def batches_by_duration(
    durations_s: Sequence[float], *, max_batch_s: float, seed: int, sort: bool = False, jitter_s: float = 0.5
) -> list[list[int]]:
    """Indices in batches whose padded length (longest x rows) is at most `max_batch_s`; each index is in one batch.

    Utterances are put in order of their length plus a random jitter of up to `jitter_s` seconds, so that a new seed
    makes new batches. The batches are shuffled, or with `sort` left from short to long (for a first epoch). An
    utterance longer than `max_batch_s` is a batch of its own. The same arguments give the same batches.
    """
    if max_batch_s <= 0:
        raise SkipwiseError(f"max_batch_s must be above 0, got {max_batch_s}.")
    if jitter_s < 0:
        raise SkipwiseError(f"jitter_s must be 0 or more, got {jitter_s}. For no jitter give 0.")
    rng = random.Random(seed)
    keys = [duration + rng.uniform(0, jitter_s) for duration in durations_s]
    batches: list[list[int]] = []
    longest_s = 0.0
    for index in sorted(range(len(keys)), key=keys.__getitem__):
        extended_s = max(longest_s, durations_s[index])
        if not batches or extended_s * (len(batches[-1]) + 1) > max_batch_s:
            batches.append([])
            extended_s = durations_s[index]
        batches[-1].append(index)
        longest_s = extended_s
    if not sort:
        rng.shuffle(batches)
    return batches
