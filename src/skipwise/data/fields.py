"""Fields of one row of somebody else's format: typed, and with errors that name the field."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from skipwise.audio import audio_info
from skipwise.errors import SkipwiseError


@final
class Fields:
    """A row; what it does not hold, or holds as null, is None."""

    def __init__(self, row: Mapping[str, Any], *, within: str = "") -> None:
        self._row = row
        self._within = within

    def __contains__(self, name: str) -> bool:
        return self._row.get(name) is not None

    @property
    def names(self) -> list[str]:
        """The fields that there are."""
        return [name for name in self._row if name in self]

    def needed(self, name: str) -> Any:
        """Return a field that must be there."""
        if name not in self:
            there = ", ".join(sorted(map(str, self._row))) or "none"
            raise SkipwiseError(f"the field {self.named(name)} is missing; there are: {there}.")
        return self._row[name]

    def text(self, *names: str) -> str | None:
        """Return the first of these fields that is there, without the blanks around it."""
        for name in names:
            if name in self:
                return self.needed_text(name)
        return None

    def needed_text(self, name: str) -> str:
        """Return a text that must be there and must not be empty."""
        value = self.needed(name)
        if not isinstance(value, str):
            raise SkipwiseError(f"the field {self.named(name)} must be a text, got {value!r}.")
        if not value.strip():
            raise SkipwiseError(f"the field {self.named(name)} is empty. Fill it, or take the line out.")
        return value.strip()

    def label(self, *names: str) -> str | None:
        """Return the first of these fields that is there, a text or a whole number, as a text."""
        for name in names:
            value = self._row.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            if name in self:
                return self.needed_text(name)
        return None

    def seconds(self, name: str) -> float | None:
        """Return a finite number."""
        if name not in self:
            return None
        value = self._row[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SkipwiseError(f"the field {self.named(name)} must be a number of seconds, got {value!r}.")
        return float(value)

    def positive_seconds(self, name: str) -> float | None:
        """Return a finite number above 0."""
        value = self.seconds(name)
        if value is not None and value <= 0:
            raise SkipwiseError(f"the field {self.named(name)} must be above 0 seconds, got {value}.")
        return value

    def inner(self, name: str) -> "Fields":
        """Return the object that a field holds; an empty one if it is not there."""
        value = self._row.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise SkipwiseError(f"the field {self.named(name)} must be an object, got {value!r}.")
        return Fields(value or {}, within=f"{self._within}{name}.")

    def inners(self, name: str) -> list["Fields"]:
        """Return the objects that a field lists; none if it is not there."""
        value = self._row.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(item, Mapping) for item in value)):
            raise SkipwiseError(f"the field {self.named(name)} must be a list of objects, got {value!r}.")
        return [Fields(item, within=f"{self._within}{name}[{index}].") for index, item in enumerate(value or ())]

    def named(self, name: str) -> str:
        """Return the field's name as messages say it, with what it lies in."""
        return repr(f"{self._within}{name}")


def audio_file(name: str, folder: Path, field: str) -> str:
    """Return the path of an audio file; a relative name counts from `folder`, else from the working directory.

    Raises:
        SkipwiseError: if there is no such file in either; names the field.
    """
    for path in (folder / name, Path(name)):
        if path.is_file():
            return str(path)
    raise SkipwiseError(
        f"the field {field!r} must name an audio file, got {name!r}: there is none in {folder} nor in the working "
        "directory. Bring the audio, or correct the path."
    )


def end_of_file_s(audio: str, start_s: float, field: str) -> float | None:
    """Return where a file ends, by its header; None where the header does not tell.

    Raises:
        SkipwiseError: if the file is no audio, or ends before `start_s`; names the field.
    """
    try:
        end_s = audio_info(audio).duration_s
    except SkipwiseError as error:
        raise SkipwiseError(f"the field {field!r}: {error}") from None
    if end_s is not None and end_s <= start_s:
        raise SkipwiseError(f"the field {field!r}: {audio} ends at {end_s:.3f} s, got a start at {start_s} s.")
    return end_s
