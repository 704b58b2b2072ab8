"""Utterances as a reader finds them, line by line, in formats that are not ours."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import final

from skipwise.data.languages import named_language, to_iso639_3
from skipwise.data.lines import named_or_left_out
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError


@final
class Gathering:
    """What a reader has found, what it knows beforehand, and what becomes of bad lines."""

    def __init__(self, *, languages: Collection[str] | None = None, bad_lines: list[str] | None = None) -> None:
        """`languages` keeps only these, and a single one is that of data which do not name theirs.

        Given `bad_lines`, what is wrong with a line goes there, and reading goes on.
        """
        self._languages = None if languages is None else {to_iso639_3(code) for code in languages}
        self.bad_lines = bad_lines
        self._found: dict[str, Utterance] = {}
        self._ids: dict[tuple[str, float, float | None], str] = {}

    @property
    def utterances(self) -> list[Utterance]:
        """What has been found, in its order."""
        return list(self._found.values())

    @property
    def only_language(self) -> str | None:
        """The language asked for, if it is one: that of data which do not name theirs."""
        return next(iter(self._languages)) if self._languages is not None and len(self._languages) == 1 else None

    def wants(self, language: str) -> bool:
        """Whether an ISO 639-3 code is among the languages asked for."""
        return self._languages is None or language in self._languages

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._found

    def line(self, path: Path, number: int, what: str = "line") -> AbstractContextManager[None]:
        """Within it, an error is that of a line: it is named, or the line is left out."""
        return named_or_left_out(f"{path}, {what} {number}", self.bad_lines)

    def language(self, code: str | None, field: str) -> str:
        """Return the ISO 639-3 code of what a line names ("de", "de-DE", "German"), or of the only language asked for.

        Raises:
            SkipwiseError: if it is unknown, or not named while several languages, or none, are asked for.
        """
        if code is not None:
            try:
                return named_language(code)
            except SkipwiseError as error:
                raise SkipwiseError(f"the field {field!r}: {error}") from None
        if self.only_language is None:
            raise SkipwiseError(
                f"the language of the speech is not named. Add the field {field!r}, or ask for one language: "
                "--language de, or data.languages in a training recipe."
            )
        return self.only_language

    def add(self, utterance: Utterance) -> None:
        """Keep an utterance, if its language is wanted; SkipwiseError if its id is not new."""
        if not self.wants(utterance.language):
            return
        if utterance.id in self._found:
            raise SkipwiseError(f"the id {utterance.id!r} is there twice. Ids must be unique.")
        self._found[utterance.id] = utterance
        self._ids.setdefault(_stretch(utterance), utterance.id)

    def merge(self, utterance: Utterance) -> None:
        """Add an utterance, or what is new about its stretch of audio to what is known: formats with a line a task.

        Raises:
            SkipwiseError: if the lines say different things, or give two stretches one id.
        """
        known_id = self._ids.get(_stretch(utterance))
        if known_id is None:
            self.add(utterance)
        else:
            self._found[known_id] = _merged(self._found[known_id], utterance)


def _stretch(utterance: Utterance) -> tuple[str, float, float | None]:
    return utterance.audio, utterance.start_s, utterance.end_s


def _merged(known: Utterance, again: Utterance) -> Utterance:
    """Return what two lines say of one stretch of audio; SkipwiseError if they say different things."""
    pairs = [("language", known.language, again.language), ("transcript", known.transcript, again.transcript)]
    pairs += [(f"{code} translation", known.translations.get(code), text) for code, text in again.translations.items()]
    for what, before, now in pairs:
        if before is not None and now is not None and before != now:
            raise SkipwiseError(
                f"the same stretch of {known.audio} has another {what} here, {now!r}, than before ({known.id!r}), "
                f"{before!r}. Correct one of them."
            )
    return replace(
        known,
        speaker=known.speaker or again.speaker,
        transcript=known.transcript or again.transcript,
        translations={**known.translations, **again.translations},
    )


def stretch_id(name: str, start_s: float, end_s: float | None) -> str:
    """Return an id for a stretch of a recording: its name and the times in milliseconds, as in ESPnet's OWSM data."""
    end = "end" if end_s is None else f"{round(1000 * end_s):09d}"
    return f"{name}_{round(1000 * start_s):09d}_{end}"
