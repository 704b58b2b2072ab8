"""What the four languages share: a word, phrase or clause that a sentence pattern asks for one of its forms."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Form(ABC):
    """A word or phrase in a sentence pattern: `{topic:acc}` asks it for its form "acc"."""

    plural: bool = False

    @abstractmethod
    def form(self, spec: str) -> str:
        """The form named `spec`; an unknown name is a bug in a pattern."""

    def __format__(self, spec: str) -> str:
        if spec.startswith("#"):
            singular, plural = spec[1:].split("|")
            return plural if self.plural else singular
        return self.form(spec)


class Fixed(Form):
    """A word that has one form."""

    def __init__(self, text: str):
        self.text = text

    def form(self, spec: str) -> str:
        assert spec == "", spec
        return self.text


class Entity(Form):
    """What a noun phrase, a name or a pronoun stands for, and how it is called in one language."""

    person: str
    """1s, 1p, 3s or 3p."""
    gender: str
    """m, f or n, for the words that agree with it."""
    human: bool = False
    """Whether it is "who" rather than "which"."""

    @property
    def agr(self) -> str:
        """Gender and number for adjectives and participles: ms, fs, mp, fp."""
        return ("f" if self.gender == "f" else "m") + self.person[1]


@dataclass(frozen=True, kw_only=True)
class Clause:
    """What a clause is made of, in one language; `shape` of a realiser decides the order of its words."""

    subject: Entity | None
    """Who acts; None in the passive, where the object becomes the subject."""
    verb: Any
    """The language's own verb."""
    object: Entity | None
    """What is acted on; None where the verb says it all."""
    role: str
    """How the object appears: "noun", "pronoun" or "gap" (it is the antecedent of a relative clause)."""
    tense: str
    """One of TENSES."""
    negation: str = ""
    """One of NEGATIONS; empty: none."""
    time: str = ""
    """An adverbial of time, in words."""
    manner: str = ""
    """An adverb of manner, in words."""

    @property
    def passive(self) -> bool:
        """Whether the object is the subject."""
        return self.tense.startswith("passive")

    @property
    def late_time(self) -> str:
        """The time at the end of a Romance clause; in the perfect it stands before the participle instead."""
        return "" if self.tense == "perfect" else self.time

    @property
    def has_modal(self) -> bool:
        """Whether an infinitive follows, to which Romance clitics belong instead of to the finite verb."""
        return self.tense in ("must", "can", "should")


TENSES = (
    "present",
    "past",
    "perfect",
    "pluperfect",
    "future",
    "must",
    "can",
    "should",
    "would",
    "passive-past",
    "passive-future",
    "passive-must",
)
"""What a clause may say of its verb."""

NEGATIONS = ("not", "never", "not yet", "no longer")
"""How a clause may deny it."""

# Words in h- before which French does not elide; every other h is mute.
_ASPIRATED = (
    "hongr",
    "hauss",
    "haut",
    "handicap",
    "hain",
    "hasard",
    "honte",
    "huit",
    "hostil",
    "havre",
    "hors",
    "halt",
)
_VOWELS = "aeiouéèêàâîôûœ"


def starts_with_vowel(word: str) -> bool:
    """Whether French and Italian elide before `word`."""
    lowered = word.lower()
    if lowered.startswith("h"):
        return not lowered.startswith(_ASPIRATED)
    if lowered == "y":
        return True
    return lowered[0] in _VOWELS and not lowered.startswith(("onz", "oui", "ouï"))


def joined(*words: str) -> str:
    """The words that are not empty, with blanks between."""
    return " ".join(word for word in words if word)


def longest_suffix(word: str, table: Mapping[str, Any]) -> str | None:
    """The longest key of `table` that `word` ends with."""
    return max((key for key in table if word.endswith(key)), key=len, default=None)


def finish(text: str) -> str:
    """The sentence with single blanks, no blank before a comma, a capital at its start and a mark at its end."""
    text = re.sub(r",\s*,", ",", re.sub(r"\s+([,.?;])", r"\1", re.sub(r"\s+", " ", text))).strip()
    text = re.sub(r",([.?])", r"\1", text)
    text = text[0].upper() + text[1:]
    return text if text.endswith("?") else f"{text.rstrip(',')}."
