"""German word forms: cases, weak adjectives, separable verbs."""

from collections.abc import Sequence

from skipwise.corpus.forms import Form

LANGUAGE = "deu"
COLUMN = 1

_ARTICLES = {
    "nom": dict(m="der", f="die", n="das", p="die"),
    "acc": dict(m="den", f="die", n="das", p="die"),
    "dat": dict(m="dem", f="der", n="dem", p="den"),
    "gen": dict(m="des", f="der", n="des", p="der"),
}
_THIS = {
    "nom": dict(m="dieser", f="diese", n="dieses", p="diese"),
    "acc": dict(m="diesen", f="diese", n="dieses", p="diese"),
    "dat": dict(m="diesem", f="dieser", n="diesem", p="diesen"),
    "gen": dict(m="dieses", f="dieser", n="dieses", p="dieser"),
}
_CONTRACTIONS = {"zu": dict(m="zum", f="zur", n="zum", p="zu den"), "an": dict(m="am", f="an der", n="am", p="an den")}


class Noun(Form):
    """Forms: nom, acc, dat, gen, zu, an (with the article), each also as `acc+stem` with an adjective; bare."""

    def __init__(self, row: Sequence[str], *, this: bool = False):
        self.gender, _, rest = row[COLUMN].partition(" ")
        noun, _, self.adjective = rest.partition(" +")
        nominative, genitive, oblique = [*noun.split("/"), "", ""][:3]
        self.this = this
        self.plural = self.gender == "p"
        self.nouns = {
            "nom": nominative,
            "acc": oblique if oblique and not self.plural and self.gender != "f" else nominative,
            "dat": oblique or nominative,
            "gen": genitive or nominative,
        }

    @property
    def rel(self) -> str:
        """The relative pronoun in the accusative."""
        return _ARTICLES["acc"][self.gender]

    def form(self, spec: str) -> str:
        if spec == "bare":
            return self.nouns["nom"]
        spec, _, adjective = spec.partition("+")
        case = "dat" if spec in _CONTRACTIONS else spec
        if self.gender == "-":
            return f"an {self.nouns['dat']}" if spec == "an" else self.nouns[case]
        if self.this:
            article = (f"{spec} " if spec in _CONTRACTIONS else "") + _THIS[case][self.gender]
        else:
            article = (_CONTRACTIONS.get(spec) or _ARTICLES[case])[self.gender]
        adjective = adjective or self.adjective
        ending = "e" if case in ("nom", "acc") and self.gender != "p" and (case, self.gender) != ("acc", "m") else "en"
        return " ".join([article, *([adjective + ending] if adjective else []), self.nouns[case]])


class Person(Form):
    """Forms: nom, acc, dat, von."""

    def __init__(self, name: str, gender: str):
        self.name = name
        self.gender = gender

    def form(self, spec: str) -> str:
        assert spec in ("nom", "acc", "dat"), spec
        title = "Frau" if self.gender == "f" else "Herr" if spec == "nom" else "Herrn"
        return f"{title} {self.name}"


class Verb(Form):
    """Forms: inf, pp, zu (vorzulegen), fin.s/p (legt), ich (lege), pre (vor), sub.s/p (vorlegt)."""

    def __init__(self, row: Sequence[str]):
        infinitive, self.participle, self.finite = row[COLUMN].split()
        self.prefix, _, self.main = infinitive.rpartition("+")

    def form(self, spec: str) -> str:
        simple = {
            "inf": self.prefix + self.main,
            "pp": self.participle,
            "zu": f"{self.prefix}zu{self.main}" if self.prefix else f"zu {self.main}",
            "pre": self.prefix,
            "ich": self.main[:-1] if self.main.endswith("en") else f"{self.main[:-1]}e",
            "fin.s": self.finite,
            "fin.p": self.main,
            "sub.s": self.prefix + self.finite,
            "sub.p": self.prefix + self.main,
        }
        return simple[spec]


class Adjective(Form):
    """Forms: the predicate form ("") and more (the comparative); `stem` is what takes endings."""

    def __init__(self, row: Sequence[str]):
        parts = row[COLUMN].split("/")
        self.text = parts[0]
        self.stem = parts[1] if len(parts) > 1 else parts[0]
        self.comparative = parts[2] if len(parts) > 2 else f"{parts[0]}er"

    def form(self, spec: str) -> str:
        return {"": self.text, "more": self.comparative}[spec]


class City(Form):
    """Forms: in, from."""

    def __init__(self, row: Sequence[str]):
        self.name = row[COLUMN]

    def form(self, spec: str) -> str:
        return {"in": f"in {self.name}", "from": f"aus {self.name}"}[spec]


class Movement(Form):
    """A verb of movement: its participle; `way` is the form of the city that goes with it."""

    def __init__(self, row: Sequence[str]):
        self.text, self.way = row[COLUMN], row[4]

    def form(self, spec: str) -> str:
        assert spec == "", spec
        return self.text


class Parts(Form):
    """A phrase in two places: forms 0 and 1."""

    def __init__(self, text: str):
        self.parts = text.split("/")

    def form(self, spec: str) -> str:
        return self.parts[int(spec)]
