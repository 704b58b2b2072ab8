"""What a step learns from: windows of one or several consecutive sentences of a recording.

A window begins and ends in the pauses around its sentences, as windows do when long audio is cut, so that the first
timestamp is not always 0.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from skipwise.data.manifest import Utterance

LONGEST_PAUSE_S = 2.0
"""Sentences further apart do not share a window: what was said between them is not known."""

MARGIN_S = 1.0
"""Most of a pause that a window takes along, at either end."""


@final
@dataclass(frozen=True, kw_only=True)
class Recording:
    """The sentences of one audio file, in order, and the stretch of it that they need."""

    utterances: tuple[Utterance, ...]
    start_s: float
    end_s: float

    @property
    def audio(self) -> str:
        return self.utterances[0].audio

    @property
    def language(self) -> str:
        return self.utterances[0].language

    def pause_before_s(self, index: int) -> float:
        """Return the seconds between a sentence and what comes before it in the stretch; 0 if they overlap."""
        before_s = self.utterances[index - 1].end_s if index else self.start_s
        assert before_s is not None
        return max(0.0, self.utterances[index].start_s - before_s)

    def pause_after_s(self, index: int) -> float:
        """Return the seconds between a sentence and what comes after it in the stretch; 0 if they overlap."""
        if index + 1 < len(self.utterances):
            return self.pause_before_s(index + 1)
        last_s = self.utterances[index].end_s
        assert last_s is not None
        return max(0.0, self.end_s - last_s)


@final
@dataclass(frozen=True)
class Window:
    """Sentences `first` to `last` of a recording, with some of the pauses around them."""

    recording: int
    first: int
    last: int
    start_s: float
    """In the file."""
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


def recordings_of(utterances: Sequence[Utterance]) -> list[Recording]:
    """Return utterances grouped by their files, in the order of time; every one must say where it ends.

    A little of the audio before the first and behind the last is part of a recording, if the file has it.
    """
    groups: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.audio, utterance.language].append(utterance)
    recordings = []
    for group in groups.values():
        ordered = sorted(group, key=lambda utterance: (utterance.start_s, utterance.duration_s))
        end_s = max(utterance.start_s + utterance.duration_s for utterance in ordered)
        start_s = max(0.0, ordered[0].start_s - MARGIN_S)
        recordings.append(Recording(utterances=tuple(ordered), start_s=start_s, end_s=end_s + MARGIN_S))
    return recordings


def draw_windows(
    recordings: Sequence[Recording], *, max_window_s: float, many_share: float, rng: random.Random
) -> list[Window]:
    """Return windows in which every sentence of at most `max_window_s` seconds stands once.

    With probability `many_share` a window takes as many sentences as fit into a length drawn up to `max_window_s`,
    otherwise one.
    """
    windows = []
    for number, recording in enumerate(recordings):
        index = 0
        while index < len(recording.utterances):
            room_s = rng.uniform(0, max_window_s) if rng.random() < many_share else 0.0
            last = _last_that_fits(recording, index, room_s)
            window = _with_margins(recording, number, index, last, max_window_s, rng)
            if window is not None:
                windows.append(window)
            index = last + 1
    return windows


def previous_sentences(recording: Recording, first: int, most: int) -> tuple[Utterance, ...]:
    """Return up to `most` sentences right before the sentence `first`, without a long pause between any of them."""
    start = first
    while start > 0 and first - start < most and recording.pause_before_s(start) <= LONGEST_PAUSE_S:
        start -= 1
    return recording.utterances[start:first]


def _last_that_fits(recording: Recording, first: int, room_s: float) -> int:
    last, begin_s = first, recording.utterances[first].start_s
    while last + 1 < len(recording.utterances) and recording.pause_before_s(last + 1) <= LONGEST_PAUSE_S:
        following = recording.utterances[last + 1]
        if following.start_s + following.duration_s - begin_s > room_s:
            break
        last += 1
    return last


def _with_margins(
    recording: Recording, number: int, first: int, last: int, max_window_s: float, rng: random.Random
) -> Window | None:
    """The window, or None if it is too long without any margin."""
    begin_s = recording.utterances[first].start_s
    end_s = recording.utterances[last].start_s + recording.utterances[last].duration_s
    room_s = max_window_s - (end_s - begin_s)
    if room_s < 0:
        return None
    before_s = rng.uniform(0, min(recording.pause_before_s(first), MARGIN_S, room_s))
    after_s = rng.uniform(0, min(recording.pause_after_s(last), MARGIN_S, room_s - before_s))
    return Window(number, first, last, begin_s - before_s, end_s + after_s)
