"""English nouns, determiners, adjectives, pronouns."""

from collections.abc import Mapping

from skipwise.corpus.forms import Entity, joined

_DETERMINERS: Mapping[str, str] = {
    "the": "the",
    "this": "this",
    "only": "the only",
    "which": "which",
    "all": "all",
    "every": "every",
    "no": "no",
    "our": "our",
    "his": "his",
    "her": "her",
    "its": "its",
    "their": "their",
    "many": "many",
    "several": "several",
    "some": "some",
    "few": "few",
    "": "",
    "generic": "",
}


def pluralised(word: str) -> str:
    """The regular plural."""
    if word.endswith(("s", "x", "sh", "ch")):
        return f"{word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


class Noun:
    """A lexicon cell: "report", "woman/women", "p taxes" (always plural), "the internal market", "agriculture"."""

    def __init__(self, cell: str):
        self.always_plural = cell.startswith("p ")
        phrase, _, own = cell.removeprefix("p ").partition("/")
        self.has_article = phrase.startswith("the ")
        self.singular = phrase.removeprefix("the ")
        self.plural = self.singular if self.always_plural else own or self._plural_phrase()

    def _plural_phrase(self) -> str:
        head, of, rest = self.singular.partition(" of ")
        return pluralised(head) + of + rest


class NounPhrase(Entity):
    """Forms: "" (with its determiner), bare, any preposition."""

    def __init__(
        self, noun: Noun, *, plural: bool = False, determiner: str = "the", adjective: str = "", tail: str = ""
    ):
        self.noun = noun
        self.plural = plural or noun.always_plural
        self.person = "3p" if self.plural else "3s"
        self.gender = "n"
        self.determiner, self.adjective, self.tail = determiner, adjective, tail
        self.word = noun.plural if self.plural else noun.singular

    def form(self, spec: str) -> str:
        words = joined(self.adjective, self.word)
        if spec == "bare":
            return words
        return joined(spec, self._determiner(words), words, self.tail)

    def _determiner(self, words: str) -> str:
        if self.determiner == "a":
            return "" if self.plural else "an" if _vowel_sound(words) else "a"
        if self.determiner == "this":
            return "these" if self.plural else "this"
        if self.determiner == "generic":
            return "the" if self.noun.has_article else ""
        return _DETERMINERS.get(self.determiner, self.determiner)


def _vowel_sound(word: str) -> bool:
    lowered = word.lower()
    if lowered.startswith(("hour", "honest", "honour")):
        return True
    return lowered[0] in "aeiou" and not lowered.startswith(("uni", "eu", "use", "usa", "one"))


class Name(Entity):
    """A person: "Mrs Weber"."""

    human = True
    person = "3s"

    def __init__(self, name: str, gender: str):
        self.name, self.gender = name, gender

    def form(self, spec: str) -> str:
        return joined(spec, "Mrs" if self.gender == "f" else "Mr", self.name)


class Pronoun(Entity):
    """Forms: "" (I, she, it, they), obj (me, her, it, them), a preposition."""

    human = True

    def __init__(self, person: str, gender: str = "n"):
        self.person, self.gender = person, gender
        self.plural = person[1] == "p"

    def form(self, spec: str) -> str:
        third = {"m": ("he", "him"), "f": ("she", "her"), "n": ("it", "it")}[self.gender]
        first = {"1s": ("I", "me"), "1p": ("we", "us"), "3p": ("they", "them")}
        subject, other = first.get(self.person, third)
        if spec == "":
            return subject
        return other if spec == "obj" else f"{spec} {other}"


class Adjective:
    """A lexicon cell: the word, then "/comparative" where it is not "more ..."."""

    def __init__(self, cell: str):
        self.text, _, own = cell.partition("/")
        self.comparative = own or f"more {self.text}"

    @property
    def superlative(self) -> str:
        """ "most important", "weakest", "best"."""
        if self.comparative.startswith("more "):
            return f"most {self.text}"
        return {"better": "best", "worse": "worst"}.get(self.comparative, f"{self.comparative[:-1]}st")
