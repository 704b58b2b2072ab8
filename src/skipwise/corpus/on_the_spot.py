"""Training speech made when it is needed: item `index` of an endless corpus, the same in any process.

Workers of a training call it instead of reading files; it needs numpy, soxr and espeak-ng, neither av nor soundfile.
"""

import random
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from skipwise.corpus.listing import facts_of
from skipwise.corpus.recording import Mixed, mix
from skipwise.corpus.script import Speech, draw_speech, estimated_s, write_held_out
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.speech import SAMPLE_RATE
from skipwise.corpus.voices import draw_speakers
from skipwise.data.languages import to_iso639_1
from skipwise.data.sidecar import SegmentFacts, Sentence
from skipwise.errors import SkipwiseError

MODEL_RATE = 16000
"""What speech models hear, in Hz."""


@dataclass(frozen=True, kw_only=True)
class SpokenWindow:
    """Up to 30 s of one speaker: what a model hears at once, and what of it is known."""

    samples: NDArray[np.float32]
    """At MODEL_RATE, in [-1, 1]."""
    language: str
    """ISO 639-3 of the speech; translations are English."""
    sentences: tuple[Sentence, ...]
    """In their order: their times are those of OWSM's timestamps, the text before a sentence its previous text."""
    facts: tuple[SegmentFacts, ...]
    """What the sidecar of a corpus on disk would say."""


@final
class Synthesiser:
    """`synthesiser(index)` is window `index`; the settings' seed and the index decide everything in it.

    Nothing that is said is in the dev or test splits of `build_corpus` with the same settings: those are planned
    first, which takes a second per hour of test speech. Keep one per worker.
    """

    def __init__(self, settings: CorpusSettings, *, max_window_s: float = 29.0) -> None:
        if not 5 <= max_window_s <= 30:
            raise SkipwiseError(f"max_window_s must be between 5 and 30, got {max_window_s:g}.")
        self._settings = settings.resolved()
        self._max_window_s = max_window_s
        self._taken: dict[str, str] = {}
        write_held_out(self._settings, self._taken)

    def speech(self, index: int) -> Speech:
        """What is said in window `index`, before anybody says it; languages take turns."""
        if index < 0:
            raise SkipwiseError(f"index must be 0 or more, got {index}.")
        language = self._settings.languages[index % len(self._settings.languages)]
        rng = random.Random(f"skipwise parliament/{self._settings.seed}/spot/{index}")
        (speaker,) = draw_speakers(language, "train", 1, rng)
        name = f"{to_iso639_1(language)}.spot.{index:09d}"
        return draw_speech(
            self._settings,
            replace(speaker, name=name),
            rng,
            name=name,
            split="train",
            language=language,
            taken=self._taken,
        )

    def __call__(self, index: int) -> SpokenWindow:
        """Window `index`: the same in any process and after any other call."""
        import soxr

        speech, mixed = self._fitting(self.speech(index))
        samples = soxr.resample(mixed.samples, SAMPLE_RATE, MODEL_RATE).astype(np.float32)
        facts = facts_of(speech, mixed.segments_s, mixed.sentences_s)
        return SpokenWindow(
            samples=samples,
            language=speech.language,
            sentences=tuple(sentence for fact in facts for sentence in fact.sentences),
            facts=tuple(facts),
        )

    def _fitting(self, speech: Speech) -> tuple[Speech, Mixed]:
        """The speech with as many of its segments as fit into a window."""
        # by the estimate first, which saves most speeches from being said twice
        while len(speech.segments) > 1 and estimated_s(speech) > self._max_window_s - 1:
            speech = replace(speech, segments=speech.segments[:-1])
        mixed = mix(speech)
        while mixed.duration_s > self._max_window_s and len(speech.segments) > 1:
            fitting = sum(end < self._max_window_s - 0.5 for _, end in mixed.segments_s)
            kept = min(max(fitting, 1), len(speech.segments) - 1)
            speech = replace(speech, segments=speech.segments[:kept])
            mixed = mix(speech)
        return speech, mixed
