"""Italian nouns, articles, adjectives, pronouns: gender, number, articulated prepositions."""

import re
from collections.abc import Mapping

from skipwise.corpus.forms import Entity, joined

_PREPOSITIONS = frozenset(
    "di del della dello dei degli delle da dal dalla dalle dai a al alla alle ai agli allo in nel nella nei nelle per "
    " contro su sul sulla sui sulle tra senza con".split()
)
_STEMS = {"di": "del", "a": "al", "da": "dal", "su": "sul", "in": "nel"}
_ENDINGS = {"ms": "o", "fs": "a", "mp": "i", "fp": "e"}
_PLURALS: Mapping[str, str] = {
    "uomo": "uomini",
    "parco": "parchi",
    "banco": "banchi",
    "fuoco": "fuochi",
    "carico": "carichi",
    "incarico": "incarichi",
    "rischio": "rischi",
    "tedesco": "tedeschi",
    "turco": "turchi",
    "attacco": "attacchi",
    "blocco": "blocchi",
    "stocco": "stocchi",
    "sbocco": "sbocchi",
    "pacco": "pacchi",
    "elenco": "elenchi",
    "palco": "palchi",
    "obbligo": "obblighi",
    "dialogo": "dialoghi",
    "luogo": "luoghi",
    "catalogo": "cataloghi",
    "lungo": "lunghi",
    "largo": "larghi",
    "analogo": "analoghi",
    "asparago": "asparagi",
    "ago": "aghi",
    "lago": "laghi",
    "albergo": "alberghi",
    "mano": "mani",
    "antico": "antichi",
    "bianco": "bianchi",
    "poco": "pochi",
}
_BEFORE = frozenset(("grande", "nuovo", "buono", "lungo", "vecchio", "piccolo", "prossimo", "giovane"))
_VOWELS = "aeiouàèéìòù"
_ASK_HAVE = re.compile(r"\b(lo|la|Lo|La) (?=(?:ho|ha|hanno|abbia|abbiano|abbiamo|avr\w+|avev\w+)\b)")


def elide(text: str) -> str:
    """`text` with "l'ha", "ad Atene", "ed è"."""
    text = _ASK_HAVE.sub(lambda match: f"{match[1][0]}'", text)
    text = re.sub(r"\b([aA]) (?=[aA]\w)", r"\1d ", text)
    return re.sub(r"\b([eE]) (?=[eè]\w*)", r"\1d ", text)


def starts_with_vowel(word: str) -> bool:
    """Whether Italian elides before `word`."""
    return word[0].lower() in _VOWELS or word[0].lower() == "h"


def article(agreement: str, word: str) -> str:
    """The definite article before `word`: il, lo, l', la, i, gli, le."""
    vowel = starts_with_vowel(word)
    if agreement == "fp":
        return "le"
    if agreement == "mp":
        return "gli" if vowel or _heavy(word) else "i"
    if vowel:
        return "l'"
    return "la" if agreement == "fs" else "lo" if _heavy(word) else "il"


def _heavy(word: str) -> bool:
    lowered = word.lower()
    return (
        lowered[0] in "zxy"
        or lowered.startswith(("gn", "ps", "pn"))
        or (lowered[0] == "s" and lowered[1] not in _VOWELS)
    )


def articulated(preposition: str, definite: str) -> str:
    """Preposition and article in one word: di + lo -> dello, su + l' -> sull', a + i -> ai; per il stays apart."""
    if preposition not in _STEMS:
        return joined(preposition, definite)
    stem = _STEMS[preposition]
    if definite == "il":
        return stem
    return f"{stem[:-1]}{definite}" if definite in ("i", "gli") else f"{stem}{definite}"


def pluralised(word: str, feminine: bool) -> str:
    """The plural of a noun or adjective."""
    if word in _PLURALS:
        return _PLURALS[word]
    if word[-1] not in "aeo" or (word.endswith("ie") and word not in ("moglie",)):
        return word
    if word.endswith("a"):
        return _plural_in_a(word, feminine)
    if word.endswith(("co", "go")):
        soft = word.endswith(("ico", "aco", "logo", "ofago")) and not word.endswith(("alogo", "ologo-"))
        return word[:-1] + ("i" if soft else "hi")
    if word.endswith("io"):
        return word[:-2] + ("ii" if word in ("zio", "addio", "pendio", "rinvio", "invio", "avvio") else "i")
    return f"{word[:-1]}i"


def _plural_in_a(word: str, feminine: bool) -> str:
    if not feminine:
        return f"{word[:-1]}{'hi' if word.endswith(('ca', 'ga')) else 'i'}"
    if word.endswith(("ca", "ga")):
        return f"{word[:-1]}he"
    if word.endswith(("cia", "gia")) and word[-4] not in _VOWELS:
        return f"{word[:-2]}e"
    return f"{word[:-1]}e"


def pluralised_phrase(phrase: str, feminine: bool) -> str:
    """A noun with its adjectives in the plural; what follows a preposition stays."""
    words = phrase.split(" ")
    end = next(
        (
            i
            for i, word in enumerate(words)
            if word in _PREPOSITIONS or word.startswith(("dell'", "all'", "d'", "nell'"))
        ),
        len(words),
    )
    return " ".join([*(pluralised(word, feminine) for word in words[:end]), *words[end:]])


class Noun:
    """A lexicon cell: "f relazione", "mp trasporti" (always plural), "m uomo/uomini"."""

    def __init__(self, cell: str):
        code, _, phrase = cell.partition(" ")
        self.gender, self.always_plural = code[0], code[1:] == "p"
        self.singular, _, own = phrase.partition("/")
        self.plural = self.singular if self.always_plural else own or pluralised_phrase(self.singular, code[0] == "f")


_SPECIAL = frozenset(("bare", "be", "agreed", "rel", "whose", "place"))


class NounPhrase(Entity):
    """Forms: "" (with its determiner), a preposition (di, a, su, per...), bare, place (in Francia);
    agreed.<participle>, be.<mood>, whose (la cui), rel.<preposition>.
    """

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
            agreed_word = Adjective(adjective).form(self.agr)
            before = adjective.split("/", maxsplit=1)[0] in _BEFORE
            if before and agreed_word == "buono" and not _heavy(self.word):
                agreed_word = "buon"
            self.word = f"{agreed_word} {self.word}" if before else f"{self.word} {agreed_word}"

    def form(self, spec: str) -> str:
        kind, _, rest = spec.partition(".")
        if kind in _SPECIAL:
            return self._special(kind, rest)
        if self.determiner == "the":
            head = articulated(spec, article(self.agr, self.word)) if spec else article(self.agr, self.word)
            return joined(head + ("" if head.endswith("'") else " ") + self.word, self.tail)
        own = self._determiner()
        if self.determiner in ("his", "their", "our"):
            head = f"{articulated(spec, article(self.agr, own)) if spec else article(self.agr, own)} {own} "
            return joined(head + self.word, self.tail)
        return joined(spec, (own if own.endswith("'") or not own else f"{own} ") + self.word, self.tail)

    def _special(self, kind: str, rest: str) -> str:
        if kind == "be":
            return {"main": "è|sono", "subjunctive": "sia|siano"}[rest].split("|")[self.plural]
        if kind == "place" and self.plural:
            return self.form("in")
        return {
            "bare": self.word,
            "agreed": agreed(rest, self.agr) if rest else "",
            "rel": relative(rest),
            "whose": f"{article(self.agr, 'cui')} cui",
            "place": f"in {self.word}",
        }[kind]

    def _determiner(self) -> str:
        vowel = starts_with_vowel(self.word)
        agreement = self.agr
        if self.determiner == "this":
            return "quest'" if vowel and not self.plural else f"quest{_ENDINGS[agreement]}"
        if self.determiner in ("a", "no", "every"):
            return self._one(vowel)
        article_here = article(agreement, self.word)
        table = {
            "only": f"l'unic{_ENDINGS[agreement]}",
            "which": "quali" if self.plural else "quale",
            "all": f"tutt{_ENDINGS[agreement]} {article_here}",
            "our": f"nostr{_ENDINGS[agreement]}",
            "his": {"ms": "suo", "fs": "sua", "mp": "suoi", "fp": "sue"}[agreement],
            "their": "loro",
            "many": f"molt{_ENDINGS[agreement]}",
            "several": "parecchie" if agreement == "fp" else "parecchi",
            "some": f"alcun{_ENDINGS[agreement]}",
            "few": "poche" if agreement == "fp" else "pochi",
            "": "",
        }
        return table.get(self.determiner, self.determiner)

    def _one(self, vowel: bool) -> str:
        """un, uno, una, un' — and nessun, ogni in the same way."""
        if self.determiner == "every":
            return "ogni"
        if self.plural:
            return articulated("di", article(self.agr, self.word))
        stem = "un" if self.determiner == "a" else "nessun"
        if self.gender == "f":
            return f"{stem}'" if vowel else f"{stem}a"
        return f"{stem}o" if _heavy(self.word) else stem


class Name(Entity):
    """A person: "la signora Weber"; forms as NounPhrase."""

    human = True
    person = "3s"

    def __init__(self, name: str, gender: str):
        self.name, self.gender = name, gender

    def form(self, spec: str) -> str:
        if spec.startswith("agreed."):
            return agreed(spec[7:], self.agr)
        if spec.startswith("rel."):
            return relative(spec[4:])
        definite = "la" if self.gender == "f" else "il"
        title = "signora" if self.gender == "f" else "signor"
        return f"{articulated(spec, definite) if spec else definite} {title} {self.name}"


class Pronoun(Entity):
    """Forms: "" (which is silent as a subject), a preposition ("per lei")."""

    human = True

    def __init__(self, person: str, gender: str = "m"):
        self.person, self.gender = person, gender
        self.plural = person[1] == "p"

    def form(self, spec: str) -> str:
        if spec == "":
            return ""
        third = "loro" if self.plural else "lei" if self.gender == "f" else "lui"
        return f"{spec} {({'1s': 'me', '1p': 'noi'}).get(self.person, third)}"


def relative(preposition: str) -> str:
    """che, di cui, a cui, su cui, per cui; "subject" asks for che."""
    return "che" if preposition in ("", "subject") else f"{preposition} cui"


class Adjective:
    """A lexicon cell: the masculine singular; forms ms, fs, mp, fp, more.<agreement>, most.<agreement>."""

    def __init__(self, cell: str):
        self.word = cell.split("/", maxsplit=1)[0]

    def form(self, spec: str) -> str:
        if spec.startswith("more."):
            return self._compared(spec[5:])
        if spec.startswith("most."):
            return f"{article(spec[5:], 'più')} {self._compared(spec[5:])}"
        feminine = spec[0] == "f"
        word = self.word[:-1] + "a" if feminine and self.word.endswith("o") else self.word
        return pluralised(word, feminine) if spec[1] == "p" else word

    def _compared(self, agreement: str) -> str:
        return f"più {self.form(agreement)}"


def agreed(participle: str, agreement: str) -> str:
    """A participle in -o with its ending: "adottato" -> "adottate"."""
    return participle[:-1] + _ENDINGS[agreement]
