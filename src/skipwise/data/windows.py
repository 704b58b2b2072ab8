"""Windows of several sentences with their times, as OWSM hears speech: from the sidecar of a synthetic corpus."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from skipwise.data.sidecar import SegmentFacts
from skipwise.errors import SkipwiseError

MARGIN_S = 0.08
"""What is left before the first and after the last sentence of a window, at most."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence that is said."""

    start_s: float
    end_s: float
    transcript: str
    translation: str


@dataclass(frozen=True, kw_only=True)
class SentenceWindow:
    """A stretch of one speech that holds whole sentences."""

    speech: str
    """The speech that it is cut from."""
    start_s: float
    """Where it starts in the audio file; the times of its sentences are those of the file too."""
    end_s: float
    sentences: tuple[Sentence, ...]
    previous: tuple[Sentence, ...]
    """What the speaker said before, the last one last: OWSM's previous text."""


def sentences_of(fact: SegmentFacts) -> list[Sentence]:
    """The sentences of a segment, in their order."""
    return [
        Sentence(start_s=start, end_s=end, transcript=transcript, translation=translation)
        for (start, end), transcript, translation in zip(
            fact.sentences_s, fact.transcripts, fact.translations, strict=True
        )
    ]


def sentence_windows(facts: Iterable[SegmentFacts], *, max_window_s: float = 30.0) -> list[SentenceWindow]:
    """Windows of at most `max_window_s` that cover each speech, each as full as whole sentences allow.

    `facts` are in the order of a sidecar: those of a speech follow each other. A sentence that is longer than a window
    is a window of its own.
    """
    if max_window_s <= 0:
        raise SkipwiseError(f"max_window_s must be above 0, got {max_window_s:g}. OWSM hears 30 s.")
    windows = []
    for speech, group in groupby(facts, key=lambda fact: fact.speech):
        sentences = [sentence for fact in group for sentence in sentences_of(fact)]
        first = 0
        while first < len(sentences):
            last = first + 1
            while last < len(sentences) and _length_s(sentences[first : last + 1]) <= max_window_s:
                last += 1
            windows.append(_window(speech, sentences, first, last))
            first = last
    return windows


def _length_s(sentences: Sequence[Sentence]) -> float:
    return sentences[-1].end_s - sentences[0].start_s + 2 * MARGIN_S


def _window(speech: str, sentences: Sequence[Sentence], first: int, last: int) -> SentenceWindow:
    return SentenceWindow(
        speech=speech,
        start_s=max(0.0, round(sentences[first].start_s - MARGIN_S, 2)),
        end_s=round(sentences[last - 1].end_s + MARGIN_S, 2),
        sentences=tuple(sentences[first:last]),
        previous=tuple(sentences[:first]),
    )
