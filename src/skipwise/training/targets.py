"""What a window's row is to say: language, task, with or without timestamps, and with or without previous text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from skipwise.errors import SkipwiseError
from skipwise.models.family import Vocabulary
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.speech_engine import TIMESTAMP_STEP_S, SpeechConfig
from skipwise.training.windows import Recording, Window, previous_sentences

MOST_PREVIOUS = 4
"""Sentences of previous text."""


@final
@dataclass(frozen=True, kw_only=True)
class TargetShares:
    """How often a row has what, as in OWSM's training."""

    timestamps: float = 0.5
    """Timestamps around each sentence."""
    previous_text: float = 0.5
    """The text of up to four sentences before it, if there are any."""


@final
@dataclass(frozen=True)
class Target:
    """One row of the decoder."""

    tokens: tuple[int, ...]
    """What the decoder reads: previous text, prompt and text."""
    labels: tuple[int, ...]
    """What it is to say after each of them; previous text is not scored."""

    @property
    def num_scored(self) -> int:
        return sum(label != IGNORED_LABEL for label in self.labels)


@final
class TargetMaker:
    """Makes rows of one vocabulary; texts are encoded once."""

    def __init__(
        self,
        config: SpeechConfig,
        vocabulary: Vocabulary,
        shares: TargetShares,
        *,
        lower_case: bool = False,
        max_positions: int | None = None,
    ) -> None:
        self._config, self._vocabulary, self._shares = config, vocabulary, shares
        self._lower_case, self._max_positions = lower_case, max_positions
        self._encoded: dict[str, list[int]] = {}

    def target(self, recording: Recording, window: Window, task: str, rng: random.Random) -> Target:
        """Return a window's row for a task; `rng` decides about timestamps and previous text.

        A previous text that the decoder has no room for beside the window's own is left out.

        Raises:
            SkipwiseError: if the decoder has no room for the window's own text.
        """
        with_times = rng.random() < self._shares.timestamps
        with_previous = rng.random() < self._shares.previous_text
        before = previous_sentences(recording, window.first, rng.randint(1, MOST_PREVIOUS))
        config = self._config
        previous = self.encode(" ".join(u.reference(task) for u in before)) if with_previous and before else None
        if with_times:
            text = self._timed(recording, window, task)
        else:
            sentences = recording.utterances[window.first : window.last + 1]
            text = self.encode(" ".join(sentence.reference(task) for sentence in sentences))
        prompt = config.prompt(recording.language, task, timestamps=with_times, previous=previous)
        if not self._fits(prompt, text):
            prompt = config.prompt(recording.language, task, timestamps=with_times)
        if not self._fits(prompt, text):
            raise SkipwiseError(
                f"the text of sentence {recording.utterances[window.first].id} has {len(text)} tokens; with its prompt "
                f"the decoder takes {self._max_positions}. Lower data.max_window_s or data.many_share."
            )
        start = prompt.index(config.bos_token_id)
        # as in ESPnet and Whisper everything after <sos> is scored, so that the language can be predicted
        labels = [*[IGNORED_LABEL] * start, *prompt[start + 1 :], *text, config.eos_token_id]
        return Target(tuple(prompt + text), tuple(labels))

    def ctc_target(self, recording: Recording, window: Window) -> list[int]:
        """Return what the CTC head is to hear: the words that are said, without timestamps."""
        sentences = recording.utterances[window.first : window.last + 1]
        return self.encode(" ".join(sentence.reference("asr") for sentence in sentences))

    def encode(self, text: str) -> list[int]:
        if text not in self._encoded:
            self._encoded[text] = self._vocabulary.encode(text.lower() if self._lower_case else text)
        return self._encoded[text]

    def _fits(self, prompt: Sequence[int], text: Sequence[int]) -> bool:
        return self._max_positions is None or len(prompt) + len(text) <= self._max_positions

    def _timed(self, recording: Recording, window: Window, task: str) -> list[int]:
        tokens = []
        for sentence in recording.utterances[window.first : window.last + 1]:
            end_s = sentence.start_s + sentence.duration_s
            tokens += [
                self._time(sentence.start_s - window.start_s),
                *self.encode(sentence.reference(task)),
                self._time(end_s - window.start_s),
            ]
        return tokens

    def _time(self, second: float) -> int:
        first, last = self._config.first_timestamp_token_id, self._config.last_timestamp_token_id
        return min(max(first + round(second / TIMESTAMP_STEP_S), first), last)
