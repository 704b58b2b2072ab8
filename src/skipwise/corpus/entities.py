"""Things and people of a sentence: how they are drawn, and what they are in a language.

A value is plain data, so that a meaning can be written to a file and read back:
`{"c": class letter, "n": noun, "p": plural, "d": determiner, "a": adjective, "on": topic, "in": country}`,
`{"name": [family name, "m" or "f"]}` or `{"pronoun": "1p"}`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from skipwise.corpus.english import nouns as english
from skipwise.corpus.forms import Entity
from skipwise.corpus.french import nouns as french
from skipwise.corpus.german import nouns as german
from skipwise.corpus.italian import nouns as italian
from skipwise.corpus.lexicon import NOUN_CLASSES, Row, draw_word, keys, surnames, table
from skipwise.corpus.numbers import cardinal

NOUNS: Mapping[str, ModuleType] = {"deu": german, "eng": english, "fra": french, "ita": italian}

_HUMAN = frozenset("RP")
# What may stand before a countable noun, and how often: singular and plural, by class.
_SINGULAR = (("the", 6), ("this", 2), ("a", 2), ("every", 0.5))
_PLURAL = (("the", 4), ("this", 1.5), ("several", 1), ("some", 1), ("many", 1), ("all", 1), ("few", 0.4), ("number", 1))
_GENERIC_PLURAL = (("generic", 5), ("many", 1), ("all", 1), ("several", 1), ("number", 0.7), ("the", 1))
_ADJECTIVE_CHANCE = 0.28
_TOPIC_CHANCE = 0.45
_COUNTRY_CHANCE = 0.15


def draw_noun(rng: random.Random, letter: str, *, definite: bool = False) -> dict[str, Any]:
    """A noun phrase whose noun is of the class `letter`; `definite` ones can be taken up by a pronoun."""
    key = draw_word(rng, keys(NOUN_CLASSES[letter]))
    value: dict[str, Any] = {"c": letter, "n": key, "p": False, "d": "generic"}
    if _noun(letter, key, "deu").countable:
        value["p"] = rng.random() < (0.75 if letter in "PGA" else 0.3)
        value["d"] = _draw_determiner(rng, value["p"], letter, definite)
    # names of institutions stand alone: no "private World Bank"
    named = letter == "C" or (letter == "B" and value["d"] == "generic")
    if not named and value["d"] != "every" and rng.random() < _ADJECTIVE_CHANCE:
        value["a"] = draw_word(rng, keys("adjectives", letter))
    if letter == "D" and rng.random() < _TOPIC_CHANCE:
        value["on"] = draw_word(rng, keys("topics"))
    elif letter in "TXVNFP" and rng.random() < _COUNTRY_CHANCE:
        value["in"] = draw_word(rng, keys("countries"))
    return value


def _draw_determiner(rng: random.Random, plural: bool, letter: str, definite: bool) -> Any:
    if definite:
        return rng.choice(("the", "the", "this"))
    choices = (_GENERIC_PLURAL if letter in "PGAF" else _PLURAL) if plural else _SINGULAR
    chosen = rng.choices([word for word, _ in choices], [weight for _, weight in choices])[0]
    return rng.randint(2, 40) if chosen == "number" else chosen


def draw_person(rng: random.Random, names: Sequence[str]) -> dict[str, Any]:
    """Somebody with a family name out of `names`."""
    return {"name": [rng.choice(names), rng.choice("mf")]}


def draw_actor(rng: random.Random, names: Sequence[str], *, named: bool = False) -> dict[str, Any]:
    """Who does things in a parliament: a body, somebody in a role, a person, people, or (not if `named`) "we"."""
    kind = rng.choices(("B", "R", "name", "P", "pronoun"), (6, 2.5, 2.5, 1, 0 if named else 1.2))[0]
    if kind == "name":
        return draw_person(rng, names)
    if kind == "pronoun":
        return {"pronoun": "1p"}
    return draw_noun(rng, kind)


def all_names(held_out: bool) -> Sequence[str]:
    """The family names that may be drawn: held-out ones make half of those in test speech."""
    return surnames(True) * 4 + surnames(False) if held_out else surnames(False)


def is_countable(value: Mapping[str, Any]) -> bool:
    """Whether the noun of a drawn phrase has both numbers."""
    return _noun(value["c"], value["n"], "deu").countable


def is_plural_only(value: Mapping[str, Any]) -> bool:
    """Whether the noun of a drawn phrase has no singular."""
    return _noun(value["c"], value["n"], "deu").gender == "p"


@cache
def _noun(letter: str, key: str, language: str) -> Any:
    return NOUNS[language].Noun(table(NOUN_CLASSES[letter])[key].cell(language))


def view_entity(value: Mapping[str, Any], language: str, owner: Entity | None = None) -> Entity:
    """The entity in a language; `owner` is whose "his" or "her" stands before it."""
    module = NOUNS[language]
    if "name" in value:
        return module.Name(*value["name"])
    if "pronoun" in value:
        return module.Pronoun(value["pronoun"])
    letter = value["c"]
    adjective = "" if "a" not in value else _attribute(table("adjectives")[value["a"]], language)
    phrase = module.NounPhrase(
        _noun(letter, value["n"], language),
        plural=value["p"],
        determiner=_determiner(value["d"], language, owner),
        adjective=adjective,
        tail=_tail(value, language),
    )
    phrase.human = letter in _HUMAN
    if language == "eng" and letter == "R" and not phrase.plural:
        # "the minister" is he or she in English as in the other languages
        phrase.gender = _noun(letter, value["n"], "fra").gender
    return phrase


def _attribute(row: Row, language: str) -> str:
    cell = row.cell(language)
    if language == "deu":
        return german.Adjective(cell).stem
    return cell.split("/")[0] if language == "eng" else cell


def _determiner(value: Any, language: str, owner: Entity | None) -> str:
    if isinstance(value, int):
        return cardinal(value, language)
    if value == "generic":
        return "generic" if language == "eng" else "the"
    if value != "own":
        return value
    assert owner is not None
    if owner.person == "1p":
        return "our"
    return _POSSESSIVES[language](owner)


_POSSESSIVES: Mapping[str, Callable[[Entity], str]] = {
    "eng": lambda owner: "their" if owner.person == "3p" else {"m": "his", "f": "her", "n": "its"}[owner.gender],
    "deu": lambda owner: "her" if owner.person == "3p" or owner.gender == "f" else "his",
    "fra": lambda owner: "their" if owner.person == "3p" else "his",
    "ita": lambda owner: "their" if owner.person == "3p" else "his",
}
_ABOUT = {"eng": "on", "deu": "über", "fra": "sur", "ita": "su"}


def _tail(value: Mapping[str, Any], language: str) -> str:
    if "on" in value:
        return view_entity({"c": "T", "n": value["on"], "p": False, "d": "generic"}, language).form(_ABOUT[language])
    return place(value["in"], language) if "in" in value else ""


def place(country: str, language: str) -> str:
    """ "in France", "in der Slowakei", "aux Pays-Bas", "nei Paesi Bassi"."""
    entity = view_entity({"c": "C", "n": country, "p": False, "d": "generic"}, language)
    return entity.form("in" if language in ("eng", "deu") else "place")
