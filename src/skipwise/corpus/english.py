"""English word forms: articles, tenses, comparison."""

from collections.abc import Sequence

from skipwise.corpus.forms import Form

LANGUAGE = "eng"
COLUMN = 0


class Noun(Form):
    """Form "": the noun as it stands; any other form is an adjective put before a document's noun."""

    def __init__(self, row: Sequence[str], *, determiner: str = ""):
        self.plural = row[COLUMN].startswith("p ")
        self.noun = row[COLUMN].removeprefix("p ")
        self.determiner = determiner

    def form(self, spec: str) -> str:
        return " ".join(word for word in (self.determiner, spec, self.noun) if word)


class Person(Form):
    """Form ""."""

    def __init__(self, name: str, gender: str):
        self.text = f"Mrs {name}" if gender == "f" else f"Mr {name}"

    def form(self, spec: str) -> str:
        assert spec == "", spec
        return self.text


class Verb(Form):
    """Forms: inf, past, pp, pres.s, pres.p."""

    def __init__(self, row: Sequence[str]):
        parts = row[COLUMN].split()
        self.infinitive = parts[0]
        self.past, self.participle = parts[1:] if len(parts) > 1 else [self._regular_past()] * 2

    def _regular_past(self) -> str:
        word = self.infinitive
        if word.endswith("e"):
            return f"{word}d"
        return f"{word[:-1]}ied" if word.endswith("y") else f"{word}ed"

    def _third_person(self) -> str:
        word = self.infinitive
        if word.endswith(("sh", "ss")):
            return f"{word}es"
        return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"

    def form(self, spec: str) -> str:
        simple = {"inf": self.infinitive, "past": self.past, "pp": self.participle, "pres.p": self.infinitive}
        return self._third_person() if spec == "pres.s" else simple[spec]


class Adjective(Form):
    """Forms: "" and more (the comparative)."""

    def __init__(self, row: Sequence[str]):
        self.text, _, comparative = row[COLUMN].partition("/")
        self.comparative = comparative or f"more {self.text}"

    def form(self, spec: str) -> str:
        return {"": self.text, "more": self.comparative}[spec]


class Movement(Form):
    """A verb of movement: its past; `way` as in German."""

    def __init__(self, row: Sequence[str]):
        self.text, self.way = row[COLUMN], row[4]

    def form(self, spec: str) -> str:
        assert spec == "", spec
        return self.text


class City(Form):
    """Forms: in, from."""

    def __init__(self, row: Sequence[str]):
        self.name = row[COLUMN]

    def form(self, spec: str) -> str:
        return f"{spec} {self.name}"
