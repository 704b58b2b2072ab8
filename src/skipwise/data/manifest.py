"""Utterances, and JSON-lines files of them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.data.languages import to_iso639_3
from skipwise.data.lines import json_object, named_or_left_out, numbered_lines
from skipwise.errors import SkipwiseError

_TRANSLATION_TASK = "st_"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A stretch of an audio file with what is known of it."""

    id: str
    """Unique within its data set."""
    audio: str
    """Path of the audio file."""
    start_s: float = 0.0
    """Where it starts in the file, in seconds."""
    end_s: float | None = None
    """Where it ends in the file, in seconds; None: at the end of the file."""
    language: str
    """Language of the speech; stored as ISO 639-3."""
    speaker: str | None = None
    """Name of the speaker, if known."""
    transcript: str | None = None
    """What is said, if known."""
    translations: Mapping[str, str] = field(default_factory=dict)
    """Target language (stored as ISO 639-3) -> translation."""
    speaker_vector: tuple[float, ...] | None = None
    """Speaker embedding, if one was computed."""
    event_vector: tuple[float, ...] | None = None
    """Embedding of the acoustic events around the speech, if one was computed."""

    def __post_init__(self) -> None:
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            raise SkipwiseError(
                f"utterance {self.id!r} must have 0 <= start_s < end_s, got {self.start_s} and {self.end_s}."
            )
        object.__setattr__(self, "language", to_iso639_3(self.language))
        translations = {to_iso639_3(code): text for code, text in self.translations.items()}
        object.__setattr__(self, "translations", translations)

    @property
    def duration_s(self) -> float:
        """Length in seconds; SkipwiseError if `end_s` is None (only the file knows)."""
        if self.end_s is None:
            raise SkipwiseError(
                f"utterance {self.id!r} has no end_s, so its length is only known from {self.audio}. "
                "Give end_s in the manifest."
            )
        return self.end_s - self.start_s

    def reference(self, task: str) -> str:
        """The right answer for `task`: `asr`, or `st_` and a target language (`st_eng`)."""
        if task == "asr":
            if self.transcript is None:
                raise SkipwiseError(
                    f"utterance {self.id!r} has no transcript, which the task 'asr' needs. Add it to the data."
                )
            return self.transcript
        if not task.startswith(_TRANSLATION_TASK):
            raise SkipwiseError(f"task must be 'asr' or 'st_' and a language (st_eng), got {task!r}.")
        target = to_iso639_3(task.removeprefix(_TRANSLATION_TASK))
        if target not in self.translations:
            there = ", ".join(sorted(self.translations)) or "none"
            raise SkipwiseError(
                f"utterance {self.id!r} has no translation into {target!r} for the task {task!r}; it has: {there}."
            )
        return self.translations[target]


def read_manifest(path: str | Path, *, bad_lines: list[str] | None = None) -> list[Utterance]:
    """The utterances of a JSON-lines file (.gz too); relative audio paths are taken from its folder.

    Given `bad_lines`, what is wrong with a line goes there, and the line is left out.

    Raises:
        SkipwiseError: no such file, or a line that is no utterance; names file, line and field.
    """
    path = Path(path)
    if not path.is_file():
        raise SkipwiseError(f"there is no manifest {path}. Give a .jsonl file with one utterance a line.")
    found: dict[str, Utterance] = {}
    for number, line in numbered_lines(path):
        with named_or_left_out(f"{path}, line {number}", bad_lines):
            utterance = _from_row(json_object(line), path.parent)
            if utterance.id in found:
                raise SkipwiseError(f"the id {utterance.id!r} is there twice. Ids must be unique.")
            found[utterance.id] = utterance
    return list(found.values())


_TYPES: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "audio": (str,),
    "start_s": (float, int),
    "end_s": (float, int, type(None)),
    "language": (str,),
    "speaker": (str, type(None)),
    "transcript": (str, type(None)),
    "translations": (dict,),
    "speaker_vector": (list, type(None)),
    "event_vector": (list, type(None)),
}
_VECTORS = ("speaker_vector", "event_vector")
_MANDATORY = ("id", "audio", "language")


def _from_row(row: dict[str, Any], folder: Path) -> Utterance:
    _check_fields(row)
    vectors = {name: tuple(map(float, row[name])) for name in _VECTORS if row.get(name) is not None}
    fields: dict[str, Any] = {**row, **vectors, "audio": str(folder / row["audio"])}
    return Utterance(**fields)


def _check_fields(row: dict[str, Any]) -> None:
    unknown = sorted(set(row) - set(_TYPES))
    if unknown:
        raise SkipwiseError(f"unknown field {unknown[0]!r}. Allowed are {', '.join(_TYPES)}.")
    for name in _MANDATORY:
        if name not in row:
            raise SkipwiseError(f"the field {name!r} is missing. Mandatory are {', '.join(_MANDATORY)}.")
    for name, value in row.items():
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            allowed = " or ".join("null" if kind is type(None) else kind.__name__ for kind in _TYPES[name])
            raise SkipwiseError(f"the field {name!r} must be {allowed}, got {value!r}.")
    for name in _VECTORS:
        values = row.get(name)
        if values is not None and (not values or not all(_is_finite(value) for value in values)):
            raise SkipwiseError(f"the field {name!r} must be a list of numbers, or left out; got {values!r}.")
    for target, text in row.get("translations", {}).items():
        if not isinstance(text, str):
            raise SkipwiseError(f"the field 'translations' must map languages to texts, got {text!r} for {target!r}.")


def _is_finite(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a JSON-lines file that `read_manifest` reads; audio below its folder is named relative to it."""
    folder = Path(path).parent
    with atomic_write(path) as file:
        for utterance in utterances:
            file.write(json.dumps(_to_row(utterance, folder), ensure_ascii=False) + "\n")


def _to_row(utterance: Utterance, folder: Path) -> dict[str, Any]:
    audio, base = Path(utterance.audio).absolute(), folder.absolute()
    row = {
        "id": utterance.id,
        "audio": str(audio.relative_to(base)) if audio.is_relative_to(base) else str(audio),
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        "language": utterance.language,
        "speaker": utterance.speaker,
        "transcript": utterance.transcript,
        "translations": dict(utterance.translations),
        "speaker_vector": None if utterance.speaker_vector is None else list(utterance.speaker_vector),
        "event_vector": None if utterance.event_vector is None else list(utterance.event_vector),
    }
    return {name: value for name, value in row.items() if value is not None and value != {}}
