"""The word lists: small text files in `words/`, one lexeme a line, English | German | French | Italian [| classes].

How a cell spells its inflection is told by the class that reads it (`german.nouns.Noun`, `french.verbs.Verb`, ...).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from types import MappingProxyType

from skipwise.errors import SkipwiseError

COLUMNS: Mapping[str, int] = MappingProxyType({"eng": 0, "deu": 1, "fra": 2, "ita": 3})
_LANGUAGE_NAMES = ("English", "German", "French", "Italian")

NOUN_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "D": "documents",
        "M": "measures",
        "E": "events",
        "B": "bodies",
        "R": "roles",
        "P": "people",
        "T": "topics",
        "X": "problems",
        "V": "values",
        "N": "nature",
        "G": "goods",
        "A": "produce",
        "F": "facilities",
        "C": "countries",
    }
)
"""The letters by which verbs and adjectives name the lists of nouns that they go with."""

_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "verbs": "".join(NOUN_CLASSES),
        # I: after "it is"
        "adjectives": "".join(NOUN_CLASSES) + "I",
        "adverbs": "m e s",
        "times": "past future perfect present",
        "openings": "address connective",
    }
)
LISTS = (*NOUN_CLASSES.values(), *_CLASSES, "idioms", "attitudes", "cities", "days", "months")
"""All word lists but the names."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One lexeme."""

    cells: tuple[str, ...]
    """In the order of COLUMNS."""
    classes: str = ""
    """What the fifth field says, if the list has one."""

    def cell(self, language: str) -> str:
        """The cell of an ISO 639-3 language."""
        return self.cells[COLUMNS[language]]


def read_rows(text: str, *, where: str, classes: str = "") -> Mapping[str, Row]:
    """The rows of a word list, keyed by their English cell; `classes` are the allowed classes (none: no fifth field).

    Raises:
        SkipwiseError: a row with too few or empty fields, an unknown class, or a key twice; names line and field.
    """
    rows: dict[str, Row] = {}
    width = len(COLUMNS) + bool(classes)
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split("|")
        place = f"{where}, line {number}"
        if len(fields) != width:
            raise SkipwiseError(f"{place}: must have {width} fields with | between, got {len(fields)}: {line!r}.")
        for name, value in zip((*_LANGUAGE_NAMES, "classes"), fields, strict=False):
            if value != value.strip() or not value:
                raise SkipwiseError(f"{place}: the field {name} must be a word without blanks around, got {value!r}.")
        if classes:
            _check_classes(fields[-1], classes, place)
        if fields[0] in rows:
            raise SkipwiseError(f"{place}: {fields[0]!r} is there twice. Distinguish the English cells.")
        rows[fields[0]] = Row(cells=tuple(fields[: len(COLUMNS)]), classes=fields[-1] if classes else "")
    return MappingProxyType(rows)


def _check_classes(value: str, allowed: str, place: str) -> None:
    known = allowed.split() if " " in allowed else list(allowed)
    for one in [value] if " " in allowed else value:
        if one not in known:
            raise SkipwiseError(f"{place}: the field classes must be of {', '.join(known)}, got {one!r}.")


@cache
def table(name: str) -> Mapping[str, Row]:
    """The rows of the word list `name`, e.g. "topics"."""
    return read_rows(_text(f"{name}.txt"), where=f"{name}.txt", classes=_CLASSES.get(name, ""))


@cache
def keys(name: str, wanted: str = "") -> Sequence[str]:
    """The keys of a word list, in its order; `wanted` keeps those that have this class."""
    rows = table(name)
    if not wanted:
        return tuple(rows)
    whole = " " in _CLASSES[name]
    return tuple(key for key, row in rows.items() if (row.classes == wanted if whole else wanted in row.classes))


def draw_word(rng: random.Random, words: Sequence[str]) -> str:
    """One of `words`, which stand from common to rare: the r-th with a chance proportional to 1 / r (Zipf's law).

    Source: G. K. Zipf, "Human Behavior and the Principle of Least Effort", 1949.
    """
    return rng.choices(words, cum_weights=_zipf(len(words)))[0]


@cache
def _zipf(count: int) -> Sequence[float]:
    return tuple(accumulate(1 / rank for rank in range(1, count + 1)))


def _text(name: str) -> str:
    return (files("skipwise.corpus") / "words" / name).read_text(encoding="utf-8")


@cache
def surnames(held_out: bool) -> tuple[str, ...]:
    """Every fifth family name is held out: only test speech has it."""
    names = _text("names.txt").split()
    return tuple(name for index, name in enumerate(names) if (index % 5 == 4) is held_out)


def lemma_counts() -> dict[str, int]:
    """How many different lexemes each language has, family names not counted."""
    return {
        language: len({row.cell(language) for name in LISTS for row in table(name).values()}) for language in COLUMNS
    }
