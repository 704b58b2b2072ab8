"""German nouns, articles, adjectives, pronouns: gender, number, case."""

from collections.abc import Mapping
from functools import cached_property

from skipwise.corpus.forms import Entity, joined

_DER = {
    "nom": dict(m="der", f="die", n="das", p="die"),
    "acc": dict(m="den", f="die", n="das", p="die"),
    "dat": dict(m="dem", f="der", n="dem", p="den"),
    "gen": dict(m="des", f="der", n="des", p="der"),
}
_STRONG = {
    "nom": dict(m="er", f="e", n="es", p="e"),
    "acc": dict(m="en", f="e", n="es", p="e"),
    "dat": dict(m="em", f="er", n="em", p="en"),
    "gen": dict(m="es", f="er", n="es", p="er"),
}
_EIN = {
    "nom": dict(m="", f="e", n="", p="e"),
    "acc": dict(m="en", f="e", n="", p="e"),
    "dat": dict(m="em", f="er", n="em", p="en"),
    "gen": dict(m="es", f="er", n="es", p="er"),
}
_PRONOUNS = {
    "nom": dict(m="er", f="sie", n="es", p="sie"),
    "acc": dict(m="ihn", f="sie", n="es", p="sie"),
    "dat": dict(m="ihm", f="ihr", n="ihm", p="ihnen"),
}
_FIRST = {
    "1s": {"nom": "ich", "acc": "mich", "dat": "mir"},
    "1p": {"nom": "wir", "acc": "uns", "dat": "uns"},
}
_CONTRACTED = {
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("in", "dem"): "im",
    ("an", "dem"): "am",
    ("von", "dem"): "vom",
    ("bei", "dem"): "beim",
    ("in", "das"): "ins",
    ("an", "das"): "ans",
}
_PREPOSITION_CASE = {
    **dict.fromkeys(("über", "für", "gegen", "ohne", "auf", "um", "durch"), "acc"),
    **dict.fromkeys(("zu", "mit", "von", "an", "aus", "bei", "nach", "in", "vor", "laut", "unter", "seit"), "dat"),
    **dict.fromkeys(("wegen", "trotz", "während", "angesichts", "aufgrund", "anstelle", "hinsichtlich"), "gen"),
}
# Determiner -> its stem, and which adjective endings follow: weak, mixed (after ein) or strong.
_DETERMINERS: Mapping[str, tuple[str, str]] = {
    "the": ("", "weak"),
    "only": ("", "weak"),
    "this": ("dies", "weak"),
    "all": ("all", "weak"),
    "every": ("jed", "weak"),
    "which": ("welch", "weak"),
    "a": ("ein", "mixed"),
    "no": ("kein", "mixed"),
    "our": ("unser", "mixed"),
    "his": ("sein", "mixed"),
    "her": ("ihr", "mixed"),
    "many": ("viel", "strong"),
    "several": ("mehrer", "strong"),
    "some": ("einig", "strong"),
    "few": ("wenig", "strong"),
    "": ("", "strong"),
}


class Noun:
    """A lexicon cell: gender (m f n p, or - for names without an article) and flags, then the word(s).

    "m Bericht Berichte", "f +öffentlich Gesundheit" (with a fixed adjective), "mw Experte Experten" (weak),
    "ma Abgeordnet" (declined as an adjective), "p Steuern" (always plural), "m Rat/Rates Räte" (its own genitive).
    """

    def __init__(self, cell: str):
        code, *words = cell.split(" ")
        self.gender, self.flag = code[0], code[1:]
        self.adjective = words.pop(0)[1:] if words[0].startswith("+") else ""
        self.word, _, self.own_genitive = words[0].partition("/")
        self.plural_word = words[1] if len(words) > 1 else self.word if self.gender == "p" else ""

    @property
    def countable(self) -> bool:
        """Whether it has both numbers."""
        return self.gender != "p" and bool(self.plural_word or self.flag == "a")

    def inflected(self, case: str, plural: bool, endings: str) -> str:
        """The noun alone; `endings` is what an adjective would have here."""
        if self.flag == "a":
            return self.word + ending(case, "p" if plural else self.gender, endings)
        if plural:
            return self.plural_word + ("n" if case == "dat" and self.plural_word[-1] not in "nsa" else "")
        if self.flag == "w":
            return self.word if case == "nom" else self.plural_word
        return self._genitive() if case == "gen" and self.gender in "mn" else self.word

    def _genitive(self) -> str:
        if self.own_genitive:
            return self.own_genitive
        if self.word.endswith("nis"):
            return f"{self.word}ses"
        if self.word.endswith("ismus"):
            return self.word
        return self.word + ("es" if self.word[-1] in "sßxz" else "s")


def ending(case: str, gender: str, kind: str) -> str:
    """The ending of an adjective after a determiner of `kind`."""
    basic = case == "nom" or (case == "acc" and gender in "fn")
    if kind == "strong":
        return "en" if case == "gen" and gender in "mn" else _STRONG[case][gender]
    if gender == "p" or not basic:
        return "en"
    return {"m": "er", "f": "e", "n": "es"}[gender] if kind == "mixed" else "e"


class NounPhrase(Entity):
    """Forms: nom, acc, dat, gen, a preposition ("über", "zu": with its case), bare (as after "die Zahl der"),
    naked (no article), super.<superlative>; rel.<case or preposition>.
    """

    def __init__(
        self, noun: Noun, *, plural: bool = False, determiner: str = "the", adjective: str = "", tail: str = ""
    ):
        self.noun = noun
        self.plural = plural or noun.gender == "p"
        self.person = "3p" if self.plural else "3s"
        self.gender = noun.gender
        self.determiner, self.adjective, self.tail = determiner, adjective, tail

    @cached_property
    def column(self) -> str:
        """m, f, n or p: which column of a table applies."""
        return "p" if self.plural else "n" if self.gender == "-" else self.gender

    def form(self, spec: str) -> str:
        if spec == "bare":
            return self.noun.inflected("gen", self.plural, "strong")
        if spec == "naked":
            return self.noun.inflected("nom", self.plural, "strong")
        if spec.startswith("rel."):
            return relative(spec[4:], self.column)
        if spec.startswith("super."):
            superlative = spec[6:] + ending("nom", self.column, "weak")
            return joined(_DER["nom"][self.column], superlative, self.form("naked"), self.tail)
        if spec in _DER:
            return joined(*self._words(spec), self.tail)
        preposition, _, case = spec.partition(".")
        words = self._words(case or _PREPOSITION_CASE[preposition])
        contracted = _CONTRACTED.get((preposition, words[0]))
        return joined(*([contracted, *words[1:]] if contracted else [preposition, *words]), self.tail)

    def _words(self, case: str) -> list[str]:
        if self.gender == "-":
            return [self.noun.inflected(case, False, "strong")]
        stem, endings = _DETERMINERS.get(self.determiner, (self.determiner, "strong"))
        only = "einzig" if self.determiner == "only" else ""
        adjectives = [one for one in (only, self.adjective, self.noun.adjective) if one]
        return [
            *self._article(case, stem, endings),
            *(one + ending(case, self.column, endings) for one in adjectives),
            self.noun.inflected(case, self.plural, endings),
        ]

    def _article(self, case: str, stem: str, endings: str) -> list[str]:
        if self.determiner in ("the", "only"):
            return [_DER[case][self.column]]
        if endings == "mixed":
            return [] if self.determiner == "a" and self.plural else [stem + _EIN[case][self.column]]
        if not stem:
            return []
        return [stem + _STRONG[case][self.column]] if self.determiner in _DETERMINERS else [stem]


class Name(Entity):
    """A person: "Frau Weber", "Kommissar Weber"; forms as NounPhrase."""

    human = True
    person = "3s"

    def __init__(self, name: str, gender: str):
        self.name, self.gender = name, gender
        self.column = gender

    def form(self, spec: str) -> str:
        if spec.startswith("rel."):
            return relative(spec[4:], self.gender)
        case = spec if spec in _DER else _PREPOSITION_CASE[spec.split(".", maxsplit=1)[0]]
        title = "Frau" if self.gender == "f" else "Herr" if case == "nom" else "Herrn"
        text = f"{title} {self.name}" + ("s" if case == "gen" and self.name[-1] not in "sxz" else "")
        return text if spec in _DER else f"{spec.split('.', maxsplit=1)[0]} {text}"


class Pronoun(Entity):
    """ "ich", "wir", or what stands for another entity; forms: nom, acc, dat, and prepositions."""

    human = True

    def __init__(self, person: str, gender: str = "m", *, thing: bool = False):
        self.person, self.gender = person, gender
        self.plural = person[1] == "p"
        self.column = "p" if self.plural else gender if gender != "-" else "n"
        self.thing = thing

    def form(self, spec: str) -> str:
        if spec.startswith("rel."):
            return relative(spec[4:], self.column)
        if spec in ("nom", "acc", "dat"):
            return _FIRST[self.person][spec] if self.person in _FIRST else _PRONOUNS[spec][self.column]
        preposition, _, case = spec.partition(".")
        if self.thing:
            return f"da{'r' if preposition[0] in 'aeiouü' else ''}{preposition}"
        return f"{preposition} {self.form(case or _PREPOSITION_CASE[preposition])}"


def relative(spec: str, column: str) -> str:
    """The relative pronoun: by case, or after a preposition ("über" -> "über den")."""
    if spec == "dat" and column == "p":
        return "denen"
    if spec == "gen":
        return "deren" if column in "fp" else "dessen"
    if spec in _DER:
        return _DER[spec][column]
    preposition, _, case = spec.partition(".")
    return f"{preposition} {relative(case or _PREPOSITION_CASE[preposition], column)}"


class Adjective:
    """A lexicon cell: the word, then "/stem" (what takes endings) and "/comparative" where irregular."""

    def __init__(self, cell: str):
        parts = cell.split("/")
        self.text = parts[0]
        self.stem = parts[1] if len(parts) > 1 and parts[1] else parts[0].removesuffix("e")
        self.comparative = parts[2] if len(parts) > 2 else self._regular_comparative()

    def _regular_comparative(self) -> str:
        return f"{self.stem}er"

    @property
    def superlative(self) -> str:
        """The stem of the superlative: "wichtigst", "schwächst", "flexibelst"."""
        # "flexibler" has lost an e, which comes back
        shortened = self.comparative == f"{self.stem}er" and self.stem != self.text.removesuffix("e")
        base = self.text if shortened else self.comparative.removesuffix("er")
        if base in _SUPERLATIVES:
            return _SUPERLATIVES[base]
        hissing = base.endswith(("t", "d", "ß", "z", "s", "sch")) and not base.endswith(("end", "isch"))
        return base + ("est" if hissing else "st")


_SUPERLATIVES = {"bess": "best", "höh": "höchst", "größ": "größt", "näh": "nächst"}
