"""Sentences with their times, out of tokens that hold timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from skipwise.models.family import Vocabulary
from skipwise.models.speech_engine import TIMESTAMP_STEP_S, SpeechConfig


@final
@dataclass(frozen=True, kw_only=True)
class Sentence:
    """What was said from one timestamp to the next."""

    start_s: float
    """Where it begins in the file."""
    end_s: float
    """Where it ends in the file."""
    text: str


def sentences_of(
    tokens: Sequence[int], config: SpeechConfig, vocabulary: Vocabulary, *, start_s: float, end_s: float
) -> tuple[Sentence, ...]:
    """Return the sentences of a window that lies from `start_s` to `end_s`: `<start> words <end> <start> ...`.

    Times are cut at the window's end, which is also where a sentence ends whose end was not said.
    """
    first, last = config.first_timestamp_token_id, config.last_timestamp_token_id
    found: list[Sentence] = []
    begins_s, words = None, list[int]()
    for token in [*tokens, last]:
        if not first <= token <= last:
            words.append(token)
            continue
        at_s = min(start_s + (token - first) * TIMESTAMP_STEP_S, end_s)
        if begins_s is None:
            begins_s, words = at_s, []
            continue
        text = vocabulary.decode(words).strip()
        if text:
            found.append(Sentence(start_s=begins_s, end_s=at_s, text=text))
        begins_s = None
    return tuple(found)
