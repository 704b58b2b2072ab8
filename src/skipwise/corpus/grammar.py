"""Meanings: what a sentence says, drawn at random and rendered in four languages."""

import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skipwise.corpus.entities import all_names
from skipwise.corpus.forms import Form, finish
from skipwise.corpus.lexicon import draw_word, keys, table
from skipwise.corpus.slots import DRAWS, POLISH, view
from skipwise.corpus.templates import drawn_templates, templates
from skipwise.errors import SkipwiseError

LANGUAGES = ("deu", "eng", "fra", "ita")

_NAME = re.compile(r'"name": \["([^"]+)"')
_ADDRESS_CHANCE = 0.2
_CONNECTIVE_CHANCE = 0.08


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What one sentence says, in no language."""

    template: str
    """Name of the sentence pattern."""
    slots: Mapping[str, Any]
    """Slot name -> value: lexicon keys and numbers."""
    opening: str | None = None
    """An address or connective before the sentence: not part of what decides the split."""

    @property
    def key(self) -> str:
        """The meaning without its opening, as canonical JSON."""
        return json.dumps([self.template, dict(self.slots)], ensure_ascii=False, sort_keys=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The family names in it."""
        return tuple(_NAME.findall(self.key))

    @property
    def bucket(self) -> float:
        """A stable hash of `key`, uniform in [0, 1)."""
        return int.from_bytes(hashlib.blake2b(self.key.encode(), digest_size=8).digest(), "big") / 2**64


def draw_meaning(rng: random.Random, split: str = "train") -> Meaning:
    """A random meaning with the names and templates of `split` (which its hash does not yet decide)."""
    names = all_names(split.startswith("test"))
    template = rng.choice(drawn_templates(split))
    slots: dict[str, Any] = {}
    for slot in template.slots:
        slots[slot.name] = DRAWS[slot.kind](rng, slot, slots, names)
    chance = rng.random()
    opening = None
    if chance < _ADDRESS_CHANCE:
        opening = draw_word(rng, keys("openings", "address"))
    elif chance < _ADDRESS_CHANCE + _CONNECTIVE_CHANCE:
        opening = draw_word(rng, keys("openings", "connective"))
    return Meaning(template=template.name, slots=slots, opening=opening)


def render(meaning: Meaning, language: str, *, with_opening: bool = True) -> str:
    """The sentence that says `meaning` in `language` (ISO 639-3: deu, eng, fra, ita), with capital and final mark."""
    if language not in LANGUAGES:
        raise SkipwiseError(f"the parliament grammar speaks {', '.join(LANGUAGES)}; got {language!r}.")
    template = templates()[meaning.template]
    views: dict[str, Form] = {}
    for slot in template.slots:
        views[slot.name] = view(slot, meaning.slots[slot.name], language, views)
    sentence = template.patterns[language].format(**views)
    if meaning.opening is not None and with_opening:
        row = table("openings")[meaning.opening]
        comma = "," if row.classes == "address" else ""
        sentence = f"{row.cell(language)}{comma} {sentence}"
    return finish(POLISH[language](sentence) if language in POLISH else sentence)
