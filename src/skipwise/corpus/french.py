"""French word forms: elision, contraction, agreement, inversion."""

from collections.abc import Sequence

from skipwise.corpus.forms import Form, starts_with_vowel

LANGUAGE = "fra"
COLUMN = 2


def elided(word: str, following: str) -> str:
    """`word` (de, je, ne, que) before `following`: "d'" before a vowel, else "de "."""
    return f"{word[:-1]}'{following}" if starts_with_vowel(following) else f"{word} {following}"


def agreed(participle: str, agreement: str) -> str:
    """A regular participle with its endings: "adopté" -> "adoptées"."""
    return participle + ("e" if agreement[0] == "f" else "") + ("s" if agreement[1] == "p" else "")


class Noun(Form):
    """Forms: def (le rapport), de (du rapport), a (au rapport), bare, be.indicative and be.subjunctive (est, soit)."""

    def __init__(self, row: Sequence[str], *, this: bool = False):
        self.agr, _, self.noun = row[COLUMN].partition(" ")
        self.this = this
        self.plural = self.agr[1] == "p"

    @property
    def pron(self) -> str:
        """il, elle, ils, elles."""
        return ("elle" if self.agr[0] == "f" else "il") + ("s" if self.plural else "")

    @property
    def tpron(self) -> str:
        """The pronoun after an inverted verb that ends in a vowel: "t-elle", but "elles"."""
        return self.pron if self.plural else f"t-{self.pron}"

    def form(self, spec: str) -> str:
        if spec == "bare":
            return self.noun
        if spec.startswith("be."):
            return {"indicative": "est|sont", "subjunctive": "soit|soient"}[spec[3:]].split("|")[self.plural]
        vowel = starts_with_vowel(self.noun)
        if self.this:
            determiner = "ces" if self.plural else "cette" if self.agr == "fs" else "cet" if vowel else "ce"
            return {"def": "", "de": "de ", "a": "à "}[spec] + f"{determiner} {self.noun}"
        if self.plural:
            return {"def": "les", "de": "des", "a": "aux"}[spec] + f" {self.noun}"
        if vowel:
            return {"def": "l'", "de": "de l'", "a": "à l'"}[spec] + self.noun
        articles = (
            {"def": "la", "de": "de la", "a": "à la"} if self.agr == "fs" else {"def": "le", "de": "du", "a": "au"}
        )
        return f"{articles[spec]} {self.noun}"


class Country(Noun):
    """As a noun; also in (en France, au Portugal) and from (de France, d'Italie, du Portugal)."""

    def form(self, spec: str) -> str:
        if spec not in ("in", "from"):
            return super().form(spec)
        if self.plural:
            return f"{'aux' if spec == 'in' else 'des'} {self.noun}"
        if self.agr == "fs" or starts_with_vowel(self.noun):
            return f"en {self.noun}" if spec == "in" else elided("de", self.noun)
        return f"{'au' if spec == 'in' else 'du'} {self.noun}"


class Person(Form):
    """Forms: def, de, a."""

    def __init__(self, name: str, gender: str):
        self.name = name
        self.agr = f"{gender}s"
        self.pron = "elle" if gender == "f" else "il"
        self.tpron = f"t-{self.pron}"

    def form(self, spec: str) -> str:
        title = "Madame" if self.agr == "fs" else "Monsieur"
        return {"def": "", "de": "de ", "a": "à "}[spec] + f"{title} {self.name}"


class Verb(Form):
    """Forms: inf, de (de présenter, d'examiner), pp.<agreement>, pres.s/p, fut.s/p, not.s/p (ne présente pas), je."""

    def __init__(self, row: Sequence[str]):
        parts = row[COLUMN].split()
        self.infinitive = parts[0]
        stem = self.infinitive[:-2]
        self.participle, self.singular, self.plural_form, self.future = (
            parts[1:] if len(parts) > 1 else (f"{stem}é", f"{stem}e", f"{stem}ent", f"{stem}era")
        )

    def form(self, spec: str) -> str:
        kind, _, which = spec.partition(".")
        if kind == "pp":
            return agreed(self.participle, which)
        if kind == "not":
            return elided("ne", self.form(f"pres.{which}")) + " pas"
        if kind == "je":
            ending = self.singular if self.singular[-1] == "e" else self.singular.removesuffix("t") + "s"
            return elided("je", ending)
        simple = {
            "inf": self.infinitive,
            "de": elided("de", self.infinitive),
            "pres.s": self.singular,
            "pres.p": self.plural_form,
            "fut.s": self.future,
            "fut.p": f"{self.future[:-1]}ont",
        }
        return simple[spec]


class Adjective(Form):
    """Forms: ms, fs, mp, fp; more.<agreement>."""

    def __init__(self, row: Sequence[str]):
        self.masculine, _, feminine = row[COLUMN].partition("/")
        self.feminine = feminine or self._regular_feminine()

    def _regular_feminine(self) -> str:
        word = self.masculine
        if word.endswith("e"):
            return word
        if word.endswith("eux"):
            return f"{word[:-1]}se"
        return f"{word[:-1]}ve" if word.endswith("if") else f"{word}e"

    def form(self, spec: str) -> str:
        if spec.startswith("more."):
            return f"plus {self.form(spec[5:])}"
        word = self.feminine if spec[0] == "f" else self.masculine
        return word + ("s" if spec[1] == "p" and word[-1] not in "sx" else "")


class City(Form):
    """Forms: in (à Paris), from (de Paris, d'Athènes)."""

    def __init__(self, row: Sequence[str]):
        self.name = row[COLUMN]

    def form(self, spec: str) -> str:
        return {"in": f"à {self.name}", "from": elided("de", self.name)}[spec]


class Movement(Form):
    """A verb of movement (with être): its participle by agreement; `way` as in German."""

    def __init__(self, row: Sequence[str]):
        self.participle, self.way = row[COLUMN], row[4]

    def form(self, spec: str) -> str:
        return agreed(self.participle, spec)
