"""When something happens: adverbials of time, as data and in words."""

import random
from typing import Any

from skipwise.corpus.lexicon import draw_word, keys, table
from skipwise.corpus.numbers import date, year

_DAYS = {"eng": "on {}", "deu": "am {}", "fra": "{}", "ita": "{}"}
_MONTHS = {"eng": "in {}", "deu": "im {}", "fra": "en {}", "ita": "a {}"}
_YEARS = {"eng": "in {}", "deu": "im Jahr {}", "fra": "en {}", "ita": "nel {}"}


def draw_moment(rng: random.Random, kind: str) -> list[Any]:
    """A moment in the past, present or future (or an adverb that goes with the perfect)."""
    if kind not in ("past", "future"):
        return ["word", draw_word(rng, keys("times", kind))]
    ways = ("word", "day", "date", "month") if kind == "future" else ("word", "day", "date", "month", "dated", "year")
    way = rng.choices(ways, (6, 2, 3, 1, 2, 1)[: len(ways)])[0]
    if way == "word":
        return [way, draw_word(rng, keys("times", kind))]
    if way == "day":
        return [way, rng.choice(keys("days"))]
    if way == "year":
        return [way, rng.randint(1990, 2019)]
    month = rng.choice(keys("months"))
    if way == "month":
        return [way, month]
    day = rng.randint(1, 28 if month == "February" else 30)
    return [way, month, day] if way == "date" else [way, month, day, rng.randint(1990, 2019)]


def view_moment(value: list[Any], language: str) -> str:
    """The adverbial: "gestern", "am dritten März", "le trois mars", "in March", "nel duemilaotto"."""
    kind = value[0]
    if kind == "word":
        return table("times")[value[1]].cell(language)
    if kind == "day":
        return _DAYS[language].format(table("days")[value[1]].cell(language))
    if kind == "month":
        return _MONTHS[language].format(table("months")[value[1]].cell(language))
    if kind == "year":
        return _YEARS[language].format(year(value[1], language))
    named = date(value[2], value[1], language)
    return named if kind == "date" else f"{named} {year(value[3], language)}"
