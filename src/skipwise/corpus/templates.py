"""The sentence patterns, read from `patterns/*.txt`: the same meaning in four languages.

A pattern is five lines: `[name] slots`, then `en`, `de`, `fr`, `it` and the sentence. Slots are told in `slots.py`. In
a sentence `{d:acc}` asks slot d for its accusative, `{g:#hat|haben}` chooses by the number of g, `{a:{d.agr}}` agrees
with d, `{c:sub}` is clause c with its verb last. Sentences start in lower case; the mark at the end is added. A star
after the name, `[name*]`, holds a pattern out of all splits but `test_unseen`: 15 % of them, spread over all kinds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from skipwise.corpus.slots import DRAWS, Slot
from skipwise.errors import SkipwiseError

_CODES = {"en": "eng", "de": "deu", "fr": "fra", "it": "ita"}


@dataclass(frozen=True, kw_only=True)
class Template:
    """One sentence pattern in all languages."""

    name: str
    slots: tuple[Slot, ...]
    """In the order in which they are drawn."""
    patterns: Mapping[str, str]
    """ISO 639-3 -> sentence."""
    unseen: bool
    """Whether only the split `test_unseen` has it."""


def read_templates(text: str, *, where: str) -> Iterator[Template]:
    """The patterns of a file.

    Raises:
        SkipwiseError: a line that is no part of a pattern, an unknown kind of slot; names the line.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for first in range(0, len(lines), 5):
        number, head = lines[first]
        name, bracket, slots = head.removeprefix("[").partition("]")
        if not head.startswith("[") or not bracket:
            raise SkipwiseError(f"{where}, line {number}: a pattern starts with `[name] slots`, got {head!r}.")
        patterns = {}
        for code, (number, line) in zip(_CODES, lines[first + 1 : first + 5], strict=False):
            given, _, sentence = line.partition(" ")
            if given != code or not sentence:
                raise SkipwiseError(f"{where}, line {number}: must be `{code} sentence` of [{name}], got {line!r}.")
            patterns[_CODES[code]] = sentence
        if len(patterns) < len(_CODES):
            raise SkipwiseError(f"{where}: the pattern [{name}] must have the lines {', '.join(_CODES)}.")
        yield Template(
            name=name.removesuffix("*"),
            slots=_slots(slots, f"{where}, [{name}]"),
            patterns=MappingProxyType(patterns),
            unseen=name.endswith("*"),
        )


def _slots(text: str, where: str) -> tuple[Slot, ...]:
    slots = tuple(Slot.parse(word) for word in text.split())
    for slot in slots:
        if slot.kind not in DRAWS:
            raise SkipwiseError(f"{where}: unknown kind of slot {slot.kind!r}. Known are {', '.join(DRAWS)}.")
    return slots


@cache
def templates() -> Mapping[str, Template]:
    """All patterns by name."""
    found: dict[str, Template] = {}
    folder = files("skipwise.corpus") / "patterns"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        for template in read_templates(file.read_text(encoding="utf-8"), where=file.name):
            if template.name in found:
                raise SkipwiseError(f"{file.name}: the pattern [{template.name}] is there twice.")
            found[template.name] = template
    return MappingProxyType(found)


@cache
def unseen_templates() -> frozenset[str]:
    """The names of the held-out patterns."""
    return frozenset(name for name, one in templates().items() if one.unseen)


@cache
def drawn_templates(split: str) -> tuple[Template, ...]:
    """The patterns that a split draws from."""
    return tuple(one for one in templates().values() if one.unseen is (split == "test_unseen"))
