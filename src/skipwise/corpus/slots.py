"""The kinds of slots: how a value is drawn, and what it is in a language.

A value is plain data (a lexicon key, a number or a list of these), so that a meaning can be written to a file and
read back.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from skipwise.corpus import english, french, german, italian
from skipwise.corpus import lexicon_words as words
from skipwise.corpus.forms import Fixed, Form
from skipwise.corpus.lexicon import COLUMNS, surnames, table
from skipwise.corpus.numbers import cardinal, clock, date, italian_article, year

MODULES: Mapping[str, ModuleType] = {"deu": german, "eng": english, "fra": french, "ita": italian}

Draw = Callable[[random.Random], Any]
View = Callable[[Any, str], Form]


class Number(Fixed):
    """A cardinal; `il` and `dell` are the Italian article and preposition before it."""

    def __init__(self, value: int, language: str):
        super().__init__(cardinal(value, language))
        self.il = italian_article(value)
        self.dell = "del " if self.il == "il " else "dell'"


class Pair(Fixed):
    """Two different nouns; `agr` is the agreement of an adjective that describes both."""

    def __init__(self, one: Form, two: Form):
        super().__init__("")
        self.one, self.two = one, two
        if isinstance(one, (french.Noun, italian.Noun)) and isinstance(two, (french.Noun, italian.Noun)):
            self.agr = "fp" if one.agr[0] == two.agr[0] == "f" else "mp"


class FrenchPeople(french.Noun):
    """People in French; also "of" without an article: de citoyens, d'agriculteurs."""

    def form(self, spec: str) -> str:
        return french.elided("de", self.noun) if spec == "of" else super().form(spec)


class Attitude(Fixed):
    """The main clause before a that-clause, and the mood that it demands there."""

    def __init__(self, cell: str):
        text, _, mood = cell.partition("/")
        super().__init__(text)
        self.mood = mood or "indicative"


def _keys(name: str) -> Draw:
    return lambda rng: rng.choice(tuple(table(name)))


def _among(values: Sequence[str]) -> Draw:
    return lambda rng: rng.choice(values)


def _different(name: str) -> Draw:
    return lambda rng: rng.sample(tuple(table(name)), 2)


def _person(rng: random.Random) -> list[str]:
    return [rng.choice(surnames()), rng.choice("mf")]


def _subject(rng: random.Random) -> str | list[str]:
    return _keys("GROUPS")(rng) if rng.random() < 0.6 else _person(rng)


def _document(rng: random.Random) -> list[str]:
    return [_keys("DOCUMENTS")(rng), "this" if rng.random() < 0.2 else "the"]


def _clock(first: int, last: int) -> Draw:
    return lambda rng: [rng.randint(first, last), rng.choice((0, 0, 1, 2, 3))]


def _amount(rng: random.Random) -> int:
    return rng.randint(2, 99) if rng.random() < 0.6 else 10 * rng.randint(10, 99)


def _time(fixed: str) -> Draw:
    def draw(rng: random.Random) -> list[Any]:
        kind = rng.choices(("fixed", "day", "date", "month"), (4, 3, 3, 1))[0]
        if kind == "fixed":
            return [fixed, _keys(fixed)(rng)]
        if kind == "day":
            return [kind, _keys("DAYS")(rng)]
        month = _keys("MONTHS")(rng)
        return [kind, month] if kind == "month" else [kind, month, rng.randint(1, 30 if month != "February" else 28)]

    return draw


DRAWS: Mapping[str, Draw] = {
    "subject": _subject,
    "person": _person,
    "group": _keys("GROUPS"),
    "group_pair": _different("GROUPS"),
    "topic": _keys("TOPICS"),
    "pair": _different("TOPICS"),
    "document": _document,
    "the_document": lambda rng: [_keys("DOCUMENTS")(rng), "the"],
    "event": _keys("EVENTS"),
    "people": _keys("PEOPLE"),
    "asset": _keys("ASSETS"),
    "country": _keys("COUNTRIES"),
    "city": _keys("CITIES"),
    "verb": _keys("VERBS"),
    "stance": _among(words.STANCES),
    "my_stance": _among(words.MY_STANCES),
    "verdict": _among(words.VERDICTS),
    "topic_adjective": _among(words.TOPIC_ADJECTIVES),
    "document_adjective": _among(words.DOCUMENT_ADJECTIVES),
    "compared": _among(words.COMPARED_ADJECTIVES),
    "fault": _among(words.FAULTS),
    "task_adjective": _among(words.TASK_ADJECTIVES),
    "past": _time("PAST_TIMES"),
    "future": _time("FUTURE_TIMES"),
    "day": lambda rng: ["day", _keys("DAYS")(rng)],
    "clock": _clock(1, 10),
    "early_clock": _clock(1, 5),
    "late_clock": _clock(6, 10),
    "number": lambda rng: rng.randint(2, 99),
    "few": lambda rng: rng.randint(2, 19),
    "many": lambda rng: rng.randint(20, 99),
    "amount": _amount,
    "year": lambda rng: rng.randint(1990, 2019),
    "modal_adverb": _keys("MODAL_ADVERBS"),
    "task_adverb": _among(words.TASK_ADVERBS),
    "sentence_adverb": _keys("SENTENCE_ADVERBS"),
    "phase": _keys("PHASES"),
    "trend": _keys("TRENDS"),
    "amount_word": _keys("AMOUNTS"),
    "protection": _keys("PROTECTIONS"),
    "attitude": _keys("ATTITUDES"),
    "movement": _keys("MOVEMENTS"),
}


def _noun(name: str) -> View:
    return lambda key, language: MODULES[language].Noun(table(name)[key])


def _view_person(value: list[str], language: str) -> Form:
    return MODULES[language].Person(*value)


def _view_subject(value: str | list[str], language: str) -> Form:
    return _noun("GROUPS")(value, language) if isinstance(value, str) else _view_person(value, language)


def _view_document(value: list[str], language: str) -> Form:
    row = table("DOCUMENTS")[value[0]]
    if language == "eng":
        return english.Noun(row, determiner=value[1])
    return MODULES[language].Noun(row, this=value[1] == "this")


def _pair(name: str) -> View:
    return lambda keys, language: Pair(*(_noun(name)(key, language) for key in keys))


def _people(key: str, language: str) -> Form:
    return FrenchPeople(table("PEOPLE")[key]) if language == "fra" else _noun("PEOPLE")(key, language)


def _country(key: str, language: str) -> Form:
    row = table("COUNTRIES")[key]
    return MODULES[language].Country(row) if language in ("fra", "ita") else MODULES[language].Noun(row)


def _word(name: str) -> View:
    return lambda key, language: Fixed(table(name)[key][COLUMNS[language]])


def _view_time(value: list[Any], language: str) -> Form:
    kind, key = value[:2]
    if kind == "date":
        return Fixed(date(value[2], key, language))
    row = table({"day": "DAYS", "month": "MONTHS"}.get(kind, kind))[key]
    name = row[COLUMNS[language]]
    if kind == "day":
        return Fixed({"eng": f"on {name}", "deu": f"am {name}"}.get(language, name))
    if kind == "month":
        italian_month = f"{'ad' if name[0] in 'ao' else 'a'} {name}"
        return Fixed({"eng": f"in {name}", "deu": f"im {name}", "fra": f"en {name}", "ita": italian_month}[language])
    return Fixed(name)


def _view_clock(value: list[int], language: str) -> Form:
    hour, quarter = value
    return Fixed(clock(hour, quarter, language))


def _phase(key: str, language: str) -> Form:
    cell = table("PHASES")[key][COLUMNS[language]]
    return german.Parts(cell) if language == "deu" else Fixed(cell)


def _attitude(key: str, language: str) -> Form:
    return Attitude(table("ATTITUDES")[key][COLUMNS[language]])


def _adjective(key: str, language: str) -> Form:
    return MODULES[language].Adjective(table("ADJECTIVES")[key])


def _verb(key: str, language: str) -> Form:
    return MODULES[language].Verb(table("VERBS")[key])


VIEWS: Mapping[str, View] = {
    "subject": _view_subject,
    "person": _view_person,
    "group": _noun("GROUPS"),
    "group_pair": _pair("GROUPS"),
    "topic": _noun("TOPICS"),
    "pair": _pair("TOPICS"),
    "document": _view_document,
    "the_document": _view_document,
    "event": _noun("EVENTS"),
    "people": _people,
    "asset": _noun("ASSETS"),
    "country": _country,
    "city": lambda key, language: MODULES[language].City(table("CITIES")[key]),
    **dict.fromkeys(("verb", "stance", "my_stance", "verdict"), _verb),
    **dict.fromkeys(("topic_adjective", "document_adjective", "compared", "fault", "task_adjective"), _adjective),
    **dict.fromkeys(("past", "future", "day"), _view_time),
    **dict.fromkeys(("clock", "early_clock", "late_clock"), _view_clock),
    **dict.fromkeys(("number", "few", "many", "amount"), Number),
    "year": lambda value, language: Fixed(year(value, language)),
    **dict.fromkeys(("modal_adverb", "task_adverb"), _word("MODAL_ADVERBS")),
    "sentence_adverb": _word("SENTENCE_ADVERBS"),
    "phase": _phase,
    "trend": _word("TRENDS"),
    "amount_word": _word("AMOUNTS"),
    "protection": _word("PROTECTIONS"),
    "attitude": _attitude,
    "movement": lambda key, language: MODULES[language].Movement(table("MOVEMENTS")[key]),
}
