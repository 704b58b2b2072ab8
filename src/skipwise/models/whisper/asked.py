"""What a call of `generate()` asks for, as far as gates want to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GatePlan, GateSite
from skipwise.models.whisper.words import WhisperWords, iso639_3, task_name


@final
@dataclass(frozen=True)
class Asked:
    """Language and task before a prompt says them, and whether words get times."""

    languages: tuple[str, ...] = ()
    """ISO 639-3: none if unknown, one for all rows, or one a row."""
    task: str | None = None
    word_layers: tuple[int, ...] = ()
    """Decoder layers whose source attention times the words; none where nothing is timed."""

    def contexts(self, num_rows: int) -> list[Context]:
        """Return what is known of each row.

        Raises:
            SkipwiseError: if languages are told for another number of rows: transformers drops rows of a long
                recording when they end, and does not say which.
        """
        languages: Sequence[str | None] = self.languages or (None,)
        repeats, rest = divmod(num_rows, len(languages))
        if rest or not repeats:
            raise SkipwiseError(
                f"{len(languages)} languages were given for {num_rows} rows, and gates of the encoder must know which "
                "is whose. Give rows of one language to a call."
            )
        return [Context(language=language, task=self.task) for language in languages for _ in range(repeats)]

    def complete(self, read: Sequence[Context]) -> list[Context]:
        """Return what prompts say, completed by what the call says to all rows alike."""
        language = self.languages[0] if len(set(self.languages)) == 1 else None
        return [replace(c, language=c.language or language, task=c.task or self.task) for c in read]

    def check_words(self, plan: GatePlan) -> None:
        """Raise a SkipwiseError if words are to be timed by a source attention that a plan closes."""
        timing = {GateSite("decoder", layer, "src_attn") for layer in self.word_layers}
        for row in range(plan.num_rows):
            closed = sorted(timing.intersection(plan.closed(row)))
            if closed:
                names, needed = (", ".join(map(str, sites)) for sites in (closed, sorted(timing)))
                raise SkipwiseError(
                    f"word timestamps are read off source attention that these gates close: {names}. Keep open: "
                    f"{needed}; or ask for the times of segments (return_timestamps=True)."
                )


def asked_of(model: Any, kwargs: Mapping[str, Any]) -> Asked:
    """Return what the arguments of a call of a model's `generate()` ask for."""
    config = kwargs.get("generation_config") or model.generation_config
    words = WhisperWords.of(model.generation_config)
    told = kwargs.get("language", None) or getattr(config, "language", None) or ()
    task = kwargs.get("task", None) or getattr(config, "task", None) or "transcribe"
    heads = getattr(config, "alignment_heads", None) or getattr(model.generation_config, "alignment_heads", None) or ()
    timed = bool(kwargs.get("return_token_timestamps", None) or getattr(config, "return_token_timestamps", False))
    languages = [told] if isinstance(told, str) else told
    return Asked(
        languages=tuple(map(iso639_3, languages)) or (words.languages if len(words.languages) == 1 else ()),
        task=task_name(task),
        word_layers=tuple(sorted({int(layer) for layer, _ in heads})) if timed else (),
    )
