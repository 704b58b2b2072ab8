"""The word lists as tables: English key -> its columns."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from skipwise.corpus import lexicon_nouns, lexicon_words

COLUMNS: Mapping[str, int] = MappingProxyType({"eng": 0, "deu": 1, "fra": 2, "ita": 3})


@cache
def table(name: str) -> Mapping[str, tuple[str, ...]]:
    """The rows of the word list `name` (e.g. "TOPICS"), keyed by their first column without its marks."""
    source = getattr(lexicon_nouns, name, None) or getattr(lexicon_words, name)
    rows = [tuple(cell.strip() for cell in line.split("|")) for line in source.strip().splitlines()]
    keyed = {row[0].split()[0] if name == "VERBS" else _key(row[0]): row for row in rows}
    assert len(keyed) == len(rows), f"{name} has a key twice"
    assert len({len(row) for row in rows}) == 1, f"{name} has rows of different lengths"
    return MappingProxyType(keyed)


def _key(cell: str) -> str:
    return cell.removeprefix("p ").split("/")[0]


@cache
def surnames() -> tuple[str, ...]:
    """All family names, in the order of the list."""
    return tuple(lexicon_nouns.SURNAMES.split())
