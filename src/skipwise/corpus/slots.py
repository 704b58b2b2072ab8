"""The kinds of slots of a sentence pattern: how a value is drawn, and what it is in a language.

A slot is written `name:kind:option:option`; a value is plain data (see `entities.py`, `predicates.py`).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skipwise.corpus.english import nouns as english
from skipwise.corpus.entities import (
    NOUNS,
    draw_actor,
    draw_noun,
    draw_person,
    is_countable,
    is_plural_only,
    place,
    view_entity,
)
from skipwise.corpus.forms import Fixed, Form
from skipwise.corpus.french import nouns as french
from skipwise.corpus.german import nouns as german
from skipwise.corpus.lexicon import draw_word, keys, table
from skipwise.corpus.moments import draw_moment, view_moment
from skipwise.corpus.numbers import cardinal, clock, decimal, italian_article, thousands, times, year
from skipwise.corpus.predicates import draw_clause, view_clause


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One slot of a pattern."""

    name: str
    kind: str
    first: str
    """The first option, which most kinds have."""
    options: Mapping[str, str]
    """The options `key=value`; an option without "=" has the value "1"."""

    @staticmethod
    def parse(text: str) -> "Slot":
        """The slot written as `name:kind:option:...`."""
        name, kind, *rest = text.split(":")
        first = rest.pop(0) if rest and "=" not in rest[0] else ""
        pairs = [option.partition("=") for option in rest]
        return Slot(name=name, kind=kind, first=first, options={key: value or "1" for key, _, value in pairs})


class Number(Fixed):
    """A cardinal; `il` and `dell` are the Italian article and preposition before it."""

    def __init__(self, value: int, language: str):
        super().__init__(cardinal(value, language))
        self.il = italian_article(value)
        self.dell = "del " if self.il == "il " else "dell'"


class Attitude(Fixed):
    """The main clause before a that-clause, and the shape of the clause that it demands there."""

    def __init__(self, cell: str):
        text, _, mood = cell.partition("/")
        super().__init__(text)
        self.mood = mood or "main"


class Predicate(Form):
    """An adjective: forms "", more, most; in French and Italian each after its agreement ("fs", "more.fs")."""

    def __init__(self, cell: str, language: str):
        self.adjective: Any = NOUNS[language].Adjective(cell)

    def form(self, spec: str) -> str:
        adjective = self.adjective
        if isinstance(adjective, german.Adjective):
            return {"": adjective.text, "more": adjective.comparative, "most": adjective.superlative}[spec]
        if isinstance(adjective, english.Adjective):
            return {"": adjective.text, "more": adjective.comparative, "most": adjective.superlative}[spec]
        return adjective.form(spec)


Draw = Callable[[random.Random, Slot, Mapping[str, Any], Sequence[str]], Any]
View = Callable[[Any, str, Mapping[str, Form]], Form]


def _draw_noun(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    other = drawn[slot.options["not"][1:]]["n"] if "not" in slot.options else None
    while True:
        value = draw_noun(rng, rng.choice(slot.first), definite="definite" in slot.options)
        unfit = ("plural" in slot.options and not is_countable(value)) or (
            "single" in slot.options and is_plural_only(value)
        )
        if value["n"] != other and not unfit:
            break
    if "bare" in slot.options:
        value = {key: part for key, part in value.items() if key in ("c", "n", "p", "d")}
    if "plural" in slot.options:
        value.update(p=True, d="generic")
    if "single" in slot.options:
        value["p"] = False
    if "d" in slot.options:
        value["d"] = slot.options["d"]
    return value


def _draw_adjective(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> str:
    thing = drawn[slot.first.removeprefix("@")] if slot.first.startswith("@") else {"c": slot.first}
    letter = "R" if "name" in thing else thing["c"]
    fitting = [key for key in keys("adjectives", letter) if key not in _ONLY_ATTRIBUTES and key != thing.get("a")]
    return draw_word(rng, fitting)


# Relational adjectives, which no language likes after "is" ("the measure is financial").
_ONLY_ATTRIBUTES = frozenset(
    "European national regional international public private legal financial political scientific economic social "
    "cultural technical previous final provisional official written common annual upcoming additional planned local "
    "informal new/newer voluntary true/truer long/longer short/shorter imported symbolic good/better big/bigger "
    "small/smaller old/older young/younger competent".split()
)


def _draw_clause(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return draw_clause(rng, slot.first.split(","), slot.options, drawn, names)


def _draw_range(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> int:
    low, high = slot.first.split("-")
    return rng.randint(int(low), int(high))


def _draw_decimal(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> int:
    whole = _draw_range(rng, slot, drawn, names)
    return whole if whole % 10 else whole + rng.randint(1, 9)


def _draw_clock(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    return [_draw_range(rng, slot, drawn, names), rng.choice((0, 0, 1, 2, 3))]


def _draw_amount(rng: random.Random, slot: Slot, drawn: Mapping[str, Any], names: Sequence[str]) -> int:
    return rng.randint(2, 99) if rng.random() < 0.6 else 10 * rng.randint(10, 99)


DRAWS: Mapping[str, Draw] = {
    "actor": lambda rng, slot, drawn, names: draw_actor(rng, names, named=slot.first == "named"),
    "person": lambda rng, slot, drawn, names: draw_person(rng, names),
    "noun": _draw_noun,
    "adjective": _draw_adjective,
    "clause": _draw_clause,
    "moment": lambda rng, slot, drawn, names: draw_moment(rng, slot.first),
    "number": _draw_range,
    "times": _draw_range,
    "thousands": _draw_range,
    "decimal": _draw_decimal,
    "year": _draw_range,
    "clock": _draw_clock,
    "amount": _draw_amount,
    "adverb": lambda rng, slot, drawn, names: draw_word(rng, keys("adverbs", slot.first)),
    "country": lambda rng, slot, drawn, names: draw_word(rng, keys("countries")),
    "city": lambda rng, slot, drawn, names: draw_word(rng, keys("cities")),
    "attitude": lambda rng, slot, drawn, names: draw_word(rng, keys("attitudes")),
    "day": lambda rng, slot, drawn, names: ["day", rng.choice(keys("days"))],
}


class City(Fixed):
    """Forms: "", in (in Paris, à Paris, ad Atene), from, to."""

    def __init__(self, name: str, language: str):
        super().__init__(name)
        self.words = {
            "eng": {"in": "in", "from": "from", "to": "for"},
            "deu": {"in": "in", "from": "aus", "to": "nach"},
            "fra": {"in": "à", "from": "de", "to": "pour"},
            "ita": {"in": "a", "from": "da", "to": "per"},
        }[language]

    def form(self, spec: str) -> str:
        return f"{self.words[spec]} {self.text}" if spec else self.text


class Country(Fixed):
    """Forms: in, from ("aus der Slowakei", "du Portugal"), and those of its noun phrase."""

    def __init__(self, key: str, language: str):
        super().__init__(key)
        self.key, self.language = key, language
        self.entity = view_entity({"c": "C", "n": key, "p": False, "d": "generic"}, language)
        self.plural = self.entity.plural
        self.agr = self.entity.agr

    def form(self, spec: str) -> str:
        if spec == "in":
            return place(self.key, self.language)
        if spec == "from":
            word = {"eng": "from", "deu": "aus", "fra": "source", "ita": "da"}[self.language]
            return self.entity.form(word)
        return self.entity.form(spec)


def _view_attitude(value: str, language: str, views: Mapping[str, Form]) -> Form:
    return Attitude(table("attitudes")[value].cell(language))


VIEWS: Mapping[str, View] = {
    **dict.fromkeys(("actor", "person", "noun"), lambda value, language, views: view_entity(value, language)),
    "adjective": lambda value, language, views: Predicate(table("adjectives")[value].cell(language), language),
    **dict.fromkeys(("moment", "day"), lambda value, language, views: Fixed(view_moment(value, language))),
    "number": lambda value, language, views: Number(value, language),
    "amount": lambda value, language, views: Number(value, language),
    "times": lambda value, language, views: Fixed(times(value, language)),
    "thousands": lambda value, language, views: Fixed(thousands(value, language)),
    "decimal": lambda value, language, views: Fixed(decimal(value, language)),
    "year": lambda value, language, views: Fixed(year(value, language)),
    "clock": lambda value, language, views: Fixed(clock(value[0], value[1], language)),
    "adverb": lambda value, language, views: Fixed(table("adverbs")[value].cell(language)),
    "country": lambda value, language, views: Country(value, language),
    "city": lambda value, language, views: City(table("cities")[value].cell(language), language),
    "attitude": _view_attitude,
}


def view(slot: Slot, value: Any, language: str, views: Mapping[str, Form]) -> Form:
    """What `value` of a slot is in a language; `views` are the slots before it."""
    if slot.kind == "clause":
        return view_clause(value, language, views, gap="gap" in slot.options)
    return VIEWS[slot.kind](value, language, views)


POLISH: Mapping[str, Callable[[str], str]] = {"fra": french.elide, "ita": NOUNS["ita"].elide}
"""What is done with a whole sentence: elisions across words."""
