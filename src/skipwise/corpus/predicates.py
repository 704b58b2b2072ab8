"""Clauses of a sentence: who does what when, drawn as data and put into words by each language's realiser.

A value is `{"s": subject, "v": [list, verb], "o": object, "t": tense, "n": negation, "w": time, "m": manner}`; a
subject or object may be `{"ref": slot}`: the thing of another slot, here a pronoun, a gap or the one antecedent.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from skipwise.corpus.english import clauses as english
from skipwise.corpus.english.verbs import Verb as EnglishVerb
from skipwise.corpus.entities import draw_actor, draw_noun, draw_person, view_entity
from skipwise.corpus.forms import Clause, Entity, Form
from skipwise.corpus.french import clauses as french
from skipwise.corpus.french.verbs import Verb as FrenchVerb
from skipwise.corpus.german import clauses as german
from skipwise.corpus.german.verbs import Verb as GermanVerb
from skipwise.corpus.italian import clauses as italian
from skipwise.corpus.italian.verbs import Verb as ItalianVerb
from skipwise.corpus.lexicon import draw_word, keys, table
from skipwise.corpus.moments import draw_moment, view_moment

_REALISERS: Mapping[str, Callable[[Clause, str], str]] = {
    "eng": english.clause,
    "deu": german.clause,
    "fra": french.clause,
    "ita": italian.clause,
}
_PRONOUNS: Mapping[str, Callable[[Entity], Entity]] = {
    "eng": english.as_pronoun,
    "deu": german.as_pronoun,
    "fra": french.as_pronoun,
    "ita": italian.as_pronoun,
}
_VERBS: Mapping[str, Callable[[str], Any]] = {
    "eng": EnglishVerb,
    "deu": GermanVerb,
    "fra": FrenchVerb,
    "ita": ItalianVerb,
}
# Which adverbials of time go with a tense, and how often one is said.
_TIMES: Mapping[str, tuple[str, float]] = {
    "past": ("past", 0.6),
    "perfect": ("perfect", 0.6),
    "pluperfect": ("past", 0.0),
    "present": ("present", 0.25),
    "future": ("future", 0.6),
    "must": ("future", 0.3),
    "can": ("future", 0.15),
    "should": ("future", 0.3),
    "would": ("future", 0.1),
    "passive-past": ("past", 0.7),
    "passive-future": ("future", 0.7),
    "passive-must": ("future", 0.4),
}
_NEGATIONS: Mapping[str, Sequence[str]] = {
    "perfect": ("not yet", "never"),
    "present": ("not", "not", "no longer", "never"),
}
_MANNER_TENSES = frozenset(("past", "future", "must", "can", "should"))
_IDIOM_CHANCE = 0.15
_NEGATION_CHANCE = 0.18
_MANNER_CHANCE = 0.25
_OWN_CHANCE = 0.2


@cache
def verb(name: str, key: str, language: str) -> Any:
    """The verb of a list ("verbs", "idioms") in a language."""
    return _VERBS[language](table(name)[key].cell(language))


@cache
def takes_passive(key: str) -> bool:
    """Whether the verb has a direct object in all languages, which can become the subject."""
    direct = all(verb("verbs", key, language).governs == "" for language in ("eng", "fra", "ita"))
    plain = not any(verb("verbs", key, language).reflexive for language in ("deu", "fra", "ita"))
    return direct and plain and verb("verbs", key, "deu").governs == "acc"


def draw_clause(
    rng: random.Random,
    tenses: Sequence[str],
    options: Mapping[str, str],
    slots: Mapping[str, Any],
    names: Sequence[str],
) -> dict[str, Any]:
    """A clause in one of `tenses`.

    Options: `s` the subject (a class letter, "name", "1s", "1p", "@slot" for the thing of another slot, "none"; not
    given: any actor), `o=@slot` and `gap=@slot` the object, `o=<class letters>` its classes, `neg` (0, 1) whether it is
    denied, `definite=1` an object for a later pronoun, `plain=1` neither time nor manner, `idiom=0` none.
    """
    tense = rng.choice(tenses)
    passive = tense.startswith("passive")
    value: dict[str, Any] = {"t": tense}
    if not passive and options.get("s") != "none":
        value["s"] = _draw_subject(rng, options.get("s"), names)
    chance = float(options.get("neg", _NEGATION_CHANCE))
    if not passive and rng.random() < chance:
        value["n"] = rng.choice(_NEGATIONS.get(tense, ("not",)))
    target = options.get("gap") or (options["o"] if options.get("o", "").startswith("@") else None)
    free = target is None and not passive and "n" not in value and "o" not in options and "definite" not in options
    if free and options.get("idiom") != "0" and rng.random() < _IDIOM_CHANCE:
        value["v"] = ["idioms", draw_word(rng, keys("idioms"))]
    else:
        _draw_verb_and_object(rng, value, target, options, slots, names)
    if "plain" not in options:
        _draw_adverbials(rng, value)
    return value


def _draw_subject(rng: random.Random, wanted: str | None, names: Sequence[str]) -> dict[str, Any]:
    if wanted is None:
        return draw_actor(rng, names)
    if wanted.startswith("@"):
        return {"ref": wanted[1:]}
    if wanted == "name":
        return draw_person(rng, names)
    return {"pronoun": wanted} if wanted in ("1s", "1p") else draw_noun(rng, rng.choice(wanted))


def _draw_verb_and_object(
    rng: random.Random,
    value: dict[str, Any],
    target: str | None,
    options: Mapping[str, str],
    slots: Mapping[str, Any],
    names: Sequence[str],
) -> None:
    passive = value["t"].startswith("passive")
    classes = _class_of(target[1:], slots) if target else options.get("o", "")
    while True:
        key = draw_word(rng, keys("verbs", rng.choice(classes)) if classes else keys("verbs"))
        if passive and not takes_passive(key):
            continue
        value["v"] = ["verbs", key]
        if target:
            value["o"] = {"ref": target[1:]}
            return
        wanted = [letter for letter in table("verbs")[key].classes if not classes or letter in classes]
        demanding = "n" in value or "definite" in options or passive
        value["o"] = _draw_object(rng, rng.choice(wanted), value, demanding, names)
        if value["o"].get("n") is None or value["o"]["n"] != value.get("s", {}).get("n"):
            return


def _draw_object(
    rng: random.Random, letter: str, value: Mapping[str, Any], definite: bool, names: Sequence[str]
) -> dict[str, Any]:
    if letter == "R" and rng.random() < 0.4:
        return draw_person(rng, names)
    found = draw_noun(rng, letter, definite=definite)
    subject = value.get("s", {})
    owned = letter == "D" and found["d"] == "the" and ("n" in subject or "name" in subject or "pronoun" in subject)
    if owned and subject.get("pronoun") != "1s" and subject.get("d") != "every" and rng.random() < _OWN_CHANCE:
        found["d"] = "own"
    return found


def _draw_adverbials(rng: random.Random, value: dict[str, Any]) -> None:
    kind, chance = _TIMES[value["t"]]
    lasting = value["t"] in ("perfect", "present") and "n" in value
    if not lasting and rng.random() < chance:
        value["w"] = draw_moment(rng, kind)
    if value["t"] in _MANNER_TENSES and value["v"][0] == "verbs" and rng.random() < _MANNER_CHANCE:
        value["m"] = draw_word(rng, (*keys("adverbs", "m"), *keys("adverbs", "e")))


def _class_of(slot: str, slots: Mapping[str, Any]) -> str:
    thing = slots[slot]
    if "t" in thing:
        thing = thing["o"]
    return "R" if "name" in thing else thing["c"]


_CHANGES: Mapping[str, Callable[[Clause, str], Clause]] = {
    "tense": lambda parts, value: replace(parts, tense=value),
    "role": lambda parts, value: replace(parts, role=value),
    "negation": lambda parts, value: replace(parts, negation=value),
}


class ClauseForm(Form):
    """A clause in one language; its forms are the shapes that the realiser knows."""

    def __init__(self, parts: Clause, language: str):
        self.parts, self.language = parts, language

    def form(self, spec: str) -> str:
        """`shape`, or `shape@tense=future`, `shape@role=pronoun`: what another language says here."""
        shape, _, change = spec.partition("@")
        field, _, value = change.partition("=")
        parts = _CHANGES[field](self.parts, value) if change else self.parts
        return _REALISERS[self.language](parts, shape or "main")


def view_clause(value: Mapping[str, Any], language: str, views: Mapping[str, Form], *, gap: bool = False) -> ClauseForm:
    """The clause in a language; `views` are the slots that it may refer to, `gap` says that its object is elsewhere."""
    subject, _ = _resolve(value.get("s"), language, views, part="subject", owner=None)
    if subject is not None and "ref" in value["s"]:
        subject = _PRONOUNS[language](subject)
    thing, referred = _resolve(value.get("o"), language, views, part="object", owner=subject)
    manner, late = _manner(value.get("m"), language)
    time = view_moment(value["w"], language) if "w" in value else ""
    parts = Clause(
        subject=subject,
        verb=verb(*value["v"], language),
        object=thing,
        role="gap" if gap else "pronoun" if referred else "noun",
        tense=value["t"],
        negation=value.get("n", ""),
        time=f"{late} {time}".strip(),
        manner=manner,
    )
    return ClauseForm(parts, language)


def _manner(key: str | None, language: str) -> tuple[str, str]:
    """The adverb before the verb's object, and what English says at the end instead."""
    if key is None:
        return "", ""
    row = table("adverbs")[key]
    late = language == "eng" and row.classes == "e"
    return ("", row.cell(language)) if late else (row.cell(language), "")


def _resolve(
    value: Mapping[str, Any] | None, language: str, views: Mapping[str, Form], *, part: str, owner: Entity | None
) -> tuple[Entity | None, bool]:
    """The entity, and whether it belongs to another slot."""
    if value is None:
        return None, False
    if "ref" not in value:
        return view_entity(value, language, owner), False
    other = views[value["ref"]]
    if isinstance(other, ClauseForm):
        parts = other.parts
        found = parts.object if part == "object" or parts.passive else parts.subject
        assert found is not None, value
        return found, True
    assert isinstance(other, Entity), value
    return other, True
