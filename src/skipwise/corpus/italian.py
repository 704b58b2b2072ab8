"""Italian word forms: articles by the next sound, articulated prepositions, agreement."""

from collections.abc import Sequence

from skipwise.corpus.forms import Form, starts_with_vowel

LANGUAGE = "ita"
COLUMN = 3

_PREPOSITIONS = {"di": "del", "a": "al", "da": "dal", "su": "sul", "in": "nel"}
_ENDINGS = {"ms": "o", "fs": "a", "mp": "i", "fp": "e"}


def article(agreement: str, word: str) -> str:
    """The definite article before `word`: il, lo, l', la, i, gli, le."""
    heavy = (
        word[0].lower() in "zxy"
        or word[:2].lower() in ("gn", "ps", "pn")
        or (word[0].lower() == "s" and word[1] not in "aeiou")
    )
    vowel = starts_with_vowel(word)
    if agreement == "fp":
        return "le"
    if agreement == "mp":
        return "gli" if vowel or heavy else "i"
    if vowel:
        return "l'"
    return "la" if agreement == "fs" else "lo" if heavy else "il"


def articulated(preposition: str, definite: str) -> str:
    """Preposition and article in one word: di + lo -> dello, su + l' -> sull', a + i -> ai."""
    stem = _PREPOSITIONS[preposition]
    if definite == "il":
        return stem
    return f"{stem[:-1]}{definite}" if definite in ("i", "gli") else f"{stem}{definite}"


def agreed(participle: str, agreement: str) -> str:
    """A participle in -o with its ending: "adottato" -> "adottate"."""
    return participle[:-1] + _ENDINGS[agreement]


class Noun(Form):
    """Forms: def (la relazione), di, a, da, su, in (with the article), bare, be.indicative, be.subjunctive (è, sia)."""

    def __init__(self, row: Sequence[str], *, this: bool = False):
        self.agr, _, self.noun = row[COLUMN].partition(" ")
        self.this = this
        self.plural = self.agr[1] == "p"

    def form(self, spec: str) -> str:
        if spec == "bare":
            return self.noun
        if spec.startswith("be."):
            return {"indicative": "è|sono", "subjunctive": "sia|siano"}[spec[3:]].split("|")[self.plural]
        if self.this:
            word = "quest'" if not self.plural and starts_with_vowel(self.noun) else f"quest{_ENDINGS[self.agr]}"
            head = word if spec == "def" else f"{spec} {word}"
        else:
            head = article(self.agr, self.noun)
            head = head if spec == "def" else articulated(spec, head)
        return head + ("" if head.endswith("'") else " ") + self.noun


class Country(Noun):
    """As a noun, but "in" has no article before a singular: in Francia, nei Paesi Bassi."""

    def form(self, spec: str) -> str:
        return f"in {self.noun}" if spec == "in" and not self.plural else super().form(spec)


class Person(Form):
    """Forms: def, di, a, da."""

    def __init__(self, name: str, gender: str):
        self.agr = f"{gender}s"
        self.title = f"signora {name}" if gender == "f" else f"signor {name}"

    def form(self, spec: str) -> str:
        head = "la" if self.agr == "fs" else "il"
        return f"{head if spec == 'def' else articulated(spec, head)} {self.title}"


class Verb(Form):
    """Forms: inf, pp.<agreement>, pres.s/p, fut.s/p, io."""

    def __init__(self, row: Sequence[str]):
        parts = row[COLUMN].split()
        self.infinitive = parts[0]
        stem = self.infinitive[:-3]
        soft = f"{stem}h" if stem[-1] in "cg" else stem
        self.participle, self.singular, self.plural_form, self.future = (
            parts[1:] if len(parts) > 1 else (f"{stem}ato", f"{stem}a", f"{stem}ano", f"{soft}erà")
        )

    def form(self, spec: str) -> str:
        if spec.startswith("pp."):
            return agreed(self.participle, spec[3:])
        simple = {
            "inf": self.infinitive,
            "pres.s": self.singular,
            "pres.p": self.plural_form,
            "fut.s": self.future,
            "fut.p": f"{self.future[:-1]}anno",
            "io": f"{self.plural_form[:-3]}o" if self.plural_form.endswith("ano") else self.plural_form[:-2],
        }
        return simple[spec]


class Adjective(Form):
    """Forms: ms, fs, mp, fp; more.<agreement>."""

    def __init__(self, row: Sequence[str]):
        self.word = row[COLUMN]

    def form(self, spec: str) -> str:
        if spec.startswith("more."):
            return f"più {self.form(spec[5:])}"
        stem = self.word[:-1]
        if self.word.endswith("e"):
            return stem + ("i" if spec[1] == "p" else "e")
        if spec == "mp" and stem.endswith("i"):
            return stem
        return stem + ("h" if spec == "fp" and stem.endswith("c") else "") + _ENDINGS[spec]


class City(Form):
    """Forms: in (a Roma, ad Atene), from (da Roma)."""

    def __init__(self, row: Sequence[str]):
        self.name = row[COLUMN]

    def form(self, spec: str) -> str:
        return {"in": f"{'ad' if self.name[0] == 'A' else 'a'} {self.name}", "from": f"da {self.name}"}[spec]


class Movement(Form):
    """A verb of movement (with essere): its participle by agreement; `way` as in German."""

    def __init__(self, row: Sequence[str]):
        self.stem, self.way = row[COLUMN], row[4]

    def form(self, spec: str) -> str:
        return self.stem + _ENDINGS[spec]
