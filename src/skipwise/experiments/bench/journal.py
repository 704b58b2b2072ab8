"""What a benchmark has measured so far, a line at a time, so that a killed one loses at most what was running."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError

RoundSeconds = Mapping[str, Mapping[str, float]]
"""Seconds of every part of every work, of one round."""


@final
class Journal:
    """A file of JSON lines: first what it was measured with, then one line for each thing that is done."""

    def __init__(self, place: Path, header: Mapping[str, Any]) -> None:
        """Go on with the file at `place`, or begin it. What a kill left of a last line is dropped.

        Raises:
            SkipwiseError: if it was begun with another header.
        """
        self._place = place
        self._entries: dict[str, list[Any]] = {}
        wanted = json.loads(json.dumps(header))
        lines = read_lines(place)
        if lines and lines[0] != wanted:
            differs = sorted(key for key in {*wanted, *lines[0]} if wanted.get(key) != lines[0].get(key))
            raise SkipwiseError(
                f"{place} was begun with other {' and '.join(differs)}. Go on there as before, name another --output, "
                "or remove it."
            )
        for line in lines[1:]:
            self._entries.setdefault(line["key"], []).append(line["value"])
        with atomic_write(place) as file:
            file.writelines(json.dumps(line) + "\n" for line in lines or [wanted])

    def entries(self, key: str) -> list[Any]:
        """Return what was noted under a key, oldest first."""
        return list(self._entries.get(key, ()))

    def add(self, key: str, value: Any) -> None:
        """Note a value for JSON; it is on the disk when this returns."""
        with self._place.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._entries.setdefault(key, []).append(value)

    def rounds(self, key: str) -> KeptRounds:
        """Return what keeps the rounds of one measurement."""
        return KeptRounds(self, key)


@final
class KeptRounds:
    """The rounds of one measurement in a journal."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal, self._key = journal, key

    def load(self, works: Iterable[str]) -> list[RoundSeconds]:
        """Return the rounds that are done.

        Raises:
            SkipwiseError: if other works took turns in them.
        """
        rounds = self._journal.entries(self._key)
        names = set(works)
        if any(set(found) != names for found in rounds):
            raise SkipwiseError(
                f"the rounds of {self._key} were begun with other works: {', '.join(sorted(names ^ set(rounds[0])))}. "
                "Remove the unfinished file (.part.jsonl) to measure them anew."
            )
        return rounds

    def add(self, seconds: RoundSeconds) -> None:
        """Note a round."""
        self._journal.add(self._key, seconds)


def read_lines(place: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, header first; a last one that was cut off is left out. Empty without a file."""
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole, _, _ = text.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
