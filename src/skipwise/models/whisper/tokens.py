"""The tokens of a Whisper as decoding reads them: prompts, timestamps and what may not be said.

Shapes: B rows, P prompt tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from transformers import WhisperConfig

from skipwise.errors import SkipwiseError
from skipwise.models.whisper.words import WhisperWords

_SAMPLES_A_FRAME = 320
_SAMPLE_RATE = 16_000
_LAST_TIME = 1500


@final
@dataclass(frozen=True, kw_only=True)
class WhisperTokens:
    """Words and sizes of one Whisper; `skipwise.models.speech_engine.SpeechConfig` says what each is."""

    words: WhisperWords
    vocab_size: int
    num_mel_bins: int
    bos_token_id: int
    """`<|startoftranscript|>`."""
    eos_token_id: int
    """`<|endoftext|>`."""
    previous_token_id: int | None
    """`<|startofprev|>`."""
    no_timestamps_token_id: int
    window_s: float
    max_positions: int
    suppressed: tuple[int, ...]
    """Tokens that never follow: `suppress_tokens`."""
    suppressed_first: tuple[int, ...]
    """Tokens that do not come first: `begin_suppress_tokens`."""
    generation_config: Any
    """Of transformers, for its rules about timestamps."""

    @classmethod
    def of(cls, config: WhisperConfig, generation_config: Any) -> WhisperTokens:
        """Return the tokens of a model.

        Raises:
            SkipwiseError: if its generation config does not name them.
        """
        known: dict[str, Any] = generation_config.to_dict()
        words = WhisperWords.of(generation_config)
        if known.get("no_timestamps_token_id") is None or not words.languages or not words.tasks:
            raise SkipwiseError(
                "this Whisper's generation_config.json names no languages, tasks and <|notimestamps|> (lang_to_id, "
                "task_to_id, no_timestamps_token_id), or is_multilingual: false. Take that of the published model that "
                "it descends from."
            )
        return cls(
            words=words,
            vocab_size=int(config.vocab_size),
            num_mel_bins=config.num_mel_bins,
            bos_token_id=int(known["decoder_start_token_id"] or config.decoder_start_token_id or 0),
            eos_token_id=_only(known["eos_token_id"]),
            previous_token_id=known.get("prev_sot_token_id"),
            no_timestamps_token_id=known["no_timestamps_token_id"],
            window_s=config.max_source_positions * _SAMPLES_A_FRAME / _SAMPLE_RATE,
            max_positions=config.max_target_positions,
            suppressed=tuple(known.get("suppress_tokens") or ()),
            suppressed_first=tuple(known.get("begin_suppress_tokens") or ()),
            generation_config=generation_config,
        )

    @property
    def first_timestamp_token_id(self) -> int:
        return self.no_timestamps_token_id + 1

    @property
    def last_timestamp_token_id(self) -> int:
        return self.first_timestamp_token_id + _LAST_TIME

    @property
    def max_window_s(self) -> float:
        return self.window_s

    @property
    def timestamps_share(self) -> float:
        return 0.5

    @property
    def previous_text_share(self) -> float:
        return 0.0 if self.previous_token_id is None else 0.5

    @property
    def languages(self) -> tuple[str, ...]:
        return self.words.languages

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.words.tasks

    @property
    def language_token_ids(self) -> Mapping[str, int]:
        return self.words.language_token_ids

    def prompt(
        self, language: str, task: str, *, timestamps: bool = False, previous: Sequence[int] | None = None
    ) -> list[int]:
        """Return `<|startoftranscript|> <|language|> <|task|> <|notimestamps|>`, after the end of a previous text.

        A model that knows English alone is not told a language or a task.

        Raises:
            SkipwiseError: for a language or task that the model has no token for.
        """
        for name, value, known in (("language", language, self.languages), ("task", task, self.tasks)):
            if value not in known:
                raise SkipwiseError(f"this model does not know the {name} {value!r}. It knows: {', '.join(known)}.")
        before: list[int] = []
        if previous is not None and self.previous_token_id is not None:
            before = [self.previous_token_id, *previous[-(self.max_positions // 2 - 1) :]]
        told = [
            ids[word] for word, ids in ((language, self.language_token_ids), (task, self.words.task_token_ids)) if ids
        ]
        return [*before, self.bos_token_id, *told, *([] if timestamps else [self.no_timestamps_token_id])]


def _only(token_id: int | Sequence[int]) -> int:
    return token_id if isinstance(token_id, int) else int(token_id[0])
