"""Meanings: what a sentence says, drawn at random and rendered in four languages."""

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from skipwise.corpus.forms import finish
from skipwise.corpus.italian import Adjective as _Italian
from skipwise.corpus.lexicon import COLUMNS, table
from skipwise.corpus.slots import DRAWS, VIEWS
from skipwise.corpus.templates import TEMPLATES, Template
from skipwise.errors import SkipwiseError

LANGUAGES = ("deu", "eng", "fra", "ita")

# "è stato / stata / stati / state adottato": agrees as an adjective does.
_STATO = _Italian(("", "", "", "stato"))
_OPENINGS = {"address": "ADDRESSES", "connective": "CONNECTIVES"}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What one sentence says, in no language."""

    template: str
    """Name of the sentence pattern."""
    slots: Mapping[str, Any]
    """Slot name -> value: lexicon keys and numbers."""
    opening: tuple[str, str] | None = None
    """("address", key) or ("connective", key) before the sentence: not part of what decides the split."""

    @property
    def key(self) -> str:
        """The meaning without its opening, as canonical JSON."""
        return json.dumps([self.template, dict(self.slots)], ensure_ascii=False, sort_keys=True)

    @property
    def bucket(self) -> float:
        """A stable hash of `key`, uniform in [0, 1)."""
        return int.from_bytes(hashlib.blake2b(self.key.encode(), digest_size=8).digest(), "big") / 2**64


def draw_meaning(rng: random.Random) -> Meaning:
    """A random meaning; slot values are independent and uniform in their lists, or as `slots.py` says."""
    template = rng.choices(_ORDER, cum_weights=_CUMULATIVE)[0]
    slots = {slot: DRAWS[kind](rng) for slot, kind in template.kinds.items()}
    chance = rng.random()
    if chance < 0.25:
        opening = ("address", rng.choice(tuple(table("ADDRESSES"))))
    elif chance < 0.4 and template.name != "task":
        opening = ("connective", rng.choice(tuple(table("CONNECTIVES"))))
    else:
        opening = None
    return Meaning(template=template.name, slots=slots, opening=opening)


_ORDER: tuple[Template, ...] = tuple(TEMPLATES.values())
_CUMULATIVE = tuple(accumulate(template.weight for template in _ORDER))


def render(meaning: Meaning, language: str, *, with_opening: bool = True) -> str:
    """The sentence that says `meaning` in `language` (ISO 639-3: deu, eng, fra, ita), with capital and final mark."""
    if language not in LANGUAGES:
        raise SkipwiseError(f"the parliament grammar speaks {', '.join(LANGUAGES)}; got {language!r}.")
    template = TEMPLATES[meaning.template]
    views: dict[str, Any] = {slot: VIEWS[kind](meaning.slots[slot], language) for slot, kind in template.kinds.items()}
    sentence = template.pattern(language).format(**views, stato=_STATO)
    if meaning.opening is None or not with_opening:
        return finish(sentence)
    kind, key = meaning.opening
    opening = table(_OPENINGS[kind])[key][COLUMNS[language]]
    return finish(f"{opening}{', ' if kind == 'address' else ' '}{sentence}")
