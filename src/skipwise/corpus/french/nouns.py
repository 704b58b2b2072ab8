"""French nouns, articles, adjectives, pronouns: gender, number, elision, contraction."""

import re
from collections.abc import Mapping

from skipwise.corpus.forms import Entity, joined, longest_suffix, starts_with_vowel

_PREPOSITIONS = frozenset(("de", "du", "des", "à", "au", "aux", "en", "contre", "pour", "sur", "par", "sans", "entre"))
_PLURALS: Mapping[str, str] = {
    "non": "non",
    "travail": "travaux",
    "bail": "baux",
    "bleu": "bleus",
    "pneu": "pneus",
    "festival": "festivals",
    "bilan": "bilans",
    "naval": "navals",
    "final": "finals",
    "œil": "yeux",
}
_BEFORE = frozenset(
    (
        "grand",
        "petit",
        "bon",
        "mauvais",
        "nouveau",
        "vieux",
        "gros",
        "long",
        "autre",
        "premier",
        "beau",
        "prochain",
        "jeune",
    )
)
_BEFORE_VOWEL = {"nouveau": "nouvel", "vieux": "vieil", "beau": "bel"}
_ELIDING = re.compile(
    r"\b((?:[jnldsmt]|qu|lorsqu|puisqu|jusqu)e|la) (?=(\w+))",
    re.IGNORECASE,
)


def elide(text: str) -> str:
    """`text` with "d'", "l'", "qu'" ... before vowels, and "s'il"."""

    def short(match: re.Match[str]) -> str:
        return f"{match[1][:-1]}'" if starts_with_vowel(match[2]) else match[0]

    return re.sub(r"\b([sS])i (?=ils?\b)", r"\1'", _ELIDING.sub(short, text))


def pluralised(word: str) -> str:
    """The plural of a noun or adjective."""
    if word in _PLURALS:
        return _PLURALS[word]
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith("al") and len(word) > 3:
        return f"{word[:-2]}aux"
    return word + ("x" if word.endswith(("eau", "eu", "au")) else "s")


def pluralised_phrase(phrase: str) -> str:
    """A noun with its adjectives in the plural; what follows a preposition stays."""
    words = phrase.split(" ")
    end = next((i for i, word in enumerate(words) if word in _PREPOSITIONS or word.startswith("d'")), len(words))
    return " ".join([*map(pluralised, words[:end]), *words[end:]])


class Noun:
    """A lexicon cell: "m rapport", "f politique énergétique", "mp impôts" (always plural), "m travail/travaux"."""

    def __init__(self, cell: str):
        code, _, phrase = cell.partition(" ")
        self.gender, self.always_plural = code[0], code[1:] == "p"
        self.singular, _, own = phrase.partition("/")
        self.plural = self.singular if self.always_plural else own or pluralised_phrase(self.singular)


class NounPhrase(Entity):
    """Forms: "" (with its determiner), a preposition (de, à, pour...), bare, place (en France), source (de France);
    agreed.<participle>, be.<mood>, rel.<preposition>."""

    def __init__(
        self, noun: Noun, *, plural: bool = False, determiner: str = "the", adjective: str = "", tail: str = ""
    ):
        self.noun = noun
        self.plural = plural or noun.always_plural
        self.person = "3p" if self.plural else "3s"
        self.gender = noun.gender
        self.determiner, self.tail = determiner, tail
        self.word = noun.plural if self.plural else noun.singular
        if adjective:
            agreed = Adjective(adjective).form(self.agr)
            if adjective.split("/", maxsplit=1)[0] in _BEFORE:
                first = adjective.split("/", maxsplit=1)[0]
                special = self.agr == "ms" and starts_with_vowel(self.word)
                self.word = f"{_BEFORE_VOWEL.get(first, agreed) if special else agreed} {self.word}"
            else:
                self.word = f"{self.word} {agreed}"

    @property
    def he(self) -> str:
        """il, elle, ils, elles."""
        return as_il(self)

    def form(self, spec: str) -> str:
        if spec == "bare":
            return self.word
        if spec.startswith("be."):
            return {"main": "est|sont", "subjunctive": "soit|soient"}[spec[3:]].split("|")[self.plural]
        if spec.startswith("agreed."):
            return agreed(spec[7:], self.agr)
        if spec.startswith("rel."):
            return relative(spec[4:], self.agr, human=self.human)
        if spec in ("place", "source"):
            return self._geographic(spec)
        return joined(self._with(spec), self.tail)

    def _with(self, preposition: str) -> str:
        if self.determiner == "the":
            article = "les" if self.plural else "la" if self.gender == "f" else "le"
            vowel = not self.plural and starts_with_vowel(self.word)
            if not vowel and (preposition, article) in _CONTRACTED:
                return f"{_CONTRACTED[preposition, article]} {self.word}"
            head = "l'" if vowel else f"{article} "
            return joined(preposition, head + self.word)
        if self.determiner == "a" and self.plural:
            return joined(preposition, self.word) if preposition == "de" else joined(preposition, f"des {self.word}")
        return joined(preposition, self._determiner(), self.word)

    def _determiner(self) -> str:
        vowel = starts_with_vowel(self.word)
        one = "f" if self.gender == "f" else "m"
        table = {
            "this": {"m": "cet" if vowel else "ce", "f": "cette", "p": "ces"},
            "only": {"m": "le seul", "f": "la seule", "p": ""},
            "which": {"m": "quel", "f": "quelle", "p": "quelles" if one == "f" else "quels"},
            "a": {"m": "un", "f": "une", "p": "des"},
            "no": {"m": "aucun", "f": "aucune", "p": ""},
            "every": {"m": "chaque", "f": "chaque", "p": ""},
            "all": {"m": "tout le", "f": "toute la", "p": "toutes les" if one == "f" else "tous les"},
            "our": {"m": "notre", "f": "notre", "p": "nos"},
            "his": {"m": "son", "f": "son" if vowel else "sa", "p": "ses"},
            "their": {"m": "leur", "f": "leur", "p": "leurs"},
            "many": {"m": "", "f": "", "p": "beaucoup de"},
            "several": {"m": "", "f": "", "p": "plusieurs"},
            "some": {"m": "", "f": "", "p": "quelques"},
            "few": {"m": "", "f": "", "p": "peu de"},
            "": {"m": "", "f": "", "p": ""},
        }
        own = table.get(self.determiner)
        return self.determiner if own is None else own["p" if self.plural else one]

    def _geographic(self, spec: str) -> str:
        if self.plural:
            return f"{'aux' if spec == 'place' else 'des'} {self.word}"
        if self.gender == "f" or starts_with_vowel(self.word):
            return f"{'en' if spec == 'place' else 'de'} {self.word}"
        return f"{'au' if spec == 'place' else 'du'} {self.word}"


_CONTRACTED = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}


class Name(Entity):
    """A person: "Madame Weber"; forms as NounPhrase."""

    human = True
    person = "3s"

    def __init__(self, name: str, gender: str):
        self.name, self.gender = name, gender

    @property
    def he(self) -> str:
        """il, elle."""
        return as_il(self)

    def form(self, spec: str) -> str:
        if spec.startswith("agreed."):
            return agreed(spec[7:], self.agr)
        if spec.startswith("rel."):
            return relative(spec[4:], self.agr, human=True)
        return joined(spec, "Madame" if self.gender == "f" else "Monsieur", self.name)


def as_il(entity: Entity) -> str:
    """The subject pronoun of the third person."""
    return ("elle" if entity.gender == "f" else "il") + ("s" if entity.person == "3p" else "")


class Pronoun(Entity):
    """Forms: "" (je, il, elles), a preposition ("pour elle")."""

    human = True

    def __init__(self, person: str, gender: str = "m"):
        self.person, self.gender = person, gender
        self.plural = person[1] == "p"

    def form(self, spec: str) -> str:
        feminine = self.gender == "f"
        if spec == "":
            return {"1s": "je", "1p": "nous"}.get(self.person, as_il(self))
        third = ("elles" if feminine else "eux") if self.plural else "elle" if feminine else "lui"
        return f"{spec} {({'1s': 'moi', '1p': 'nous'}).get(self.person, third)}"


def relative(preposition: str, agreement: str, *, human: bool) -> str:
    """que, dont, auquel, sur laquelle, pour qui; "subject" asks for qui."""
    if preposition in ("", "subject"):
        return "que" if preposition == "" else "qui"
    if preposition == "de":
        return "dont"
    if human:
        return f"{preposition} qui"
    which = {"ms": "lequel", "fs": "laquelle", "mp": "lesquels", "fp": "lesquelles"}[agreement]
    if preposition == "à" and agreement != "fs":
        return f"{'au' if agreement == 'ms' else 'aux'}{which[2:] if agreement == 'ms' else which[3:]}"
    return f"{preposition} {which}"


_FEMININES: Mapping[str, str] = {
    "eux": "euse",
    "if": "ive",
    "er": "ère",
    "el": "elle",
    "eil": "eille",
    "ien": "ienne",
    "yen": "yenne",
    "on": "onne",
    "teur": "trice",
    "ic": "ique",
    "et": "ette",
    "e": "e",
}


class Adjective:
    """A lexicon cell: the masculine singular, then "/feminine" where irregular; forms ms, fs, mp, fp, more.<agreement>,
    most.<agreement>."""

    def __init__(self, cell: str):
        self.masculine, _, own = cell.partition("/")
        self.feminine = own or self._regular_feminine()

    def _regular_feminine(self) -> str:
        suffix = longest_suffix(self.masculine, _FEMININES)
        if suffix is None:
            return f"{self.masculine}e"
        return self.masculine.removesuffix(suffix) + _FEMININES[suffix]

    def form(self, spec: str) -> str:
        if spec.startswith("more."):
            return self._compared(spec[5:])
        if spec.startswith("most."):
            article = "les" if spec[6] == "p" else "la" if spec[5] == "f" else "le"
            return f"{article} {self._compared(spec[5:])}"
        word = self.feminine if spec[0] == "f" else self.masculine
        return pluralised(word) if spec[1] == "p" else word

    def _compared(self, agreement: str) -> str:
        if self.masculine == "bon":
            return Adjective("meilleur/meilleure").form(agreement)
        return f"plus {self.form(agreement)}"


def agreed(participle: str, agreement: str) -> str:
    """A participle with its endings: "adopté" -> "adoptées", "pris" -> "pris", "prises"."""
    word = participle + ("e" if agreement[0] == "f" else "")
    return word if agreement[1] == "s" or word.endswith("s") else f"{word}s"
