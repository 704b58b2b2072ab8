"""Splits of a data set: what theirs are called, and how to make them of data that have none."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val"),
    "test": ("test", "testing"),
}
"""What folders and files of a split may be called."""

ALL_SPLIT_NAMES = tuple(name for names in SPLIT_NAMES.values() for name in names)

_LEAST_GROUPS = 3


@final
@dataclass(frozen=True, kw_only=True)
class Split:
    """Utterances to train on, to make choices on, and to report."""

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    apart: Literal["speakers", "recordings"]
    """What no two of them share."""


def split_utterances(
    utterances: Sequence[Utterance], *, dev_share: float = 0.1, test_share: float = 0.1, seed: int = 1
) -> Split:
    """Return three parts that share no speaker; where fewer than three speakers are known, no recording.

    The shares are of the speech in seconds, met up to one speaker or recording, and at least one. The same utterances
    and seed give the same parts.

    Raises:
        SkipwiseError: for a share that leaves nothing to train on, an utterance of unknown length, or fewer than three
            recordings.
    """
    if min(dev_share, test_share) <= 0 or dev_share + test_share >= 1:
        raise SkipwiseError(
            f"the shares of dev and test must be above 0 and together below 1, got {dev_share:g} and {test_share:g}."
        )
    speakers = {utterance.speaker for utterance in utterances}
    by_speaker = None not in speakers and len(speakers) >= _LEAST_GROUPS
    groups: defaultdict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[str(utterance.speaker) if by_speaker else utterance.audio].append(utterance)
    if len(groups) < _LEAST_GROUPS:
        raise SkipwiseError(
            f"train, dev and test need at least {_LEAST_GROUPS} recordings, got {len(groups)}. Bring more audio."
        )
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    total_s = hours_of(utterances) * 3600
    test = _first_of(names, groups, test_share * total_s, leave=2)
    dev = _first_of(names[len(test) :], groups, dev_share * total_s, leave=1)
    chosen = dict.fromkeys(test, "test") | dict.fromkeys(dev, "dev")
    parts: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    for name, group in groups.items():
        parts[chosen.get(name, "train")] += group
    return Split(
        **{name: tuple(part) for name, part in parts.items()}, apart="speakers" if by_speaker else "recordings"
    )


def hours_of(utterances: Iterable[Utterance]) -> float:
    """Return how much speech utterances are; SkipwiseError if the length of one is not known."""
    return sum(utterance.duration_s for utterance in utterances) / 3600


def _first_of(
    names: Sequence[str], groups: dict[str, list[Utterance]], wanted_s: float, *, leave: int
) -> Sequence[str]:
    """The first names whose groups come nearest to so many seconds; at least one, and some are left."""
    taken_s, count = 0.0, 0
    for name in names[: len(names) - leave]:
        group_s = hours_of(groups[name]) * 3600
        if count and abs(taken_s + group_s - wanted_s) > abs(taken_s - wanted_s):
            break
        taken_s, count = taken_s + group_s, count + 1
    return names[:count]
