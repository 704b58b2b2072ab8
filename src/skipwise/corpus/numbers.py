"""Numbers, years, dates and clock times as words in German, English, French and Italian."""

from collections.abc import Mapping

from skipwise.corpus.lexicon import table

_UNITS = {
    "eng": (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen"
    ),
    "deu": (
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
        "siebzehn achtzehn neunzehn"
    ),
    "fra": (
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
        "dix-huit dix-neuf"
    ),
    "ita": (
        "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici "
        "sedici diciassette diciotto diciannove"
    ),
}
_TENS = {
    "eng": "twenty thirty forty fifty sixty seventy eighty ninety",
    "deu": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fra": "vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt",
    "ita": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
}
_UNITS = {language: words.split() for language, words in _UNITS.items()}
_TENS = {language: words.split() for language, words in _TENS.items()}
_ENGLISH_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()


def cardinal(number: int, language: str) -> str:
    """`number` (0 to 999) in words, masculine, as it is said when counting things."""
    assert 0 <= number <= 999, number
    return _CARDINALS[language](number)


def _english(number: int) -> str:
    if number < 20:
        return _UNITS["eng"][number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return _TENS["eng"][tens - 2] + (f"-{_UNITS['eng'][unit]}" if unit else "")
    hundreds, rest = divmod(number, 100)
    return f"{_UNITS['eng'][hundreds]} hundred" + (f" and {_english(rest)}" if rest else "")


def _german(number: int) -> str:
    if number < 20:
        return _UNITS["deu"][number]
    if number < 100:
        tens, unit = divmod(number, 10)
        stem = "ein" if unit == 1 else _UNITS["deu"][unit]
        return (f"{stem}und" if unit else "") + _TENS["deu"][tens - 2]
    hundreds, rest = divmod(number, 100)
    head = "hundert" if hundreds == 1 else f"{_UNITS['deu'][hundreds]}hundert"
    return head + (_german(rest) if rest else "")


def _french(number: int) -> str:
    if number < 20:
        return _UNITS["fra"][number]
    if number < 100:
        tens, unit = divmod(number, 10)
        stem = _TENS["fra"][tens - 2]
        if tens in (7, 9):
            unit += 10
        if unit == 0:
            return "quatre-vingts" if tens == 8 else stem
        joint = " et " if unit in (1, 11) and tens < 8 else "-"
        return stem + joint + _UNITS["fra"][unit]
    hundreds, rest = divmod(number, 100)
    if hundreds == 1:
        return "cent" + (f" {_french(rest)}" if rest else "")
    return f"{_UNITS['fra'][hundreds]} cent" + (f" {_french(rest)}" if rest else "s")


def _italian(number: int) -> str:
    if number < 20:
        return _UNITS["ita"][number]
    if number < 100:
        tens, unit = divmod(number, 10)
        stem = _TENS["ita"][tens - 2]
        if unit == 0:
            return stem
        return (stem[:-1] if unit in (1, 8) else stem) + ("tré" if unit == 3 else _UNITS["ita"][unit])
    hundreds, rest = divmod(number, 100)
    head = "cento" if hundreds == 1 else f"{_UNITS['ita'][hundreds]}cento"
    if rest == 0:
        return head
    tail = "tré" if rest == 3 else _italian(rest)
    return (head[:-1] if rest == 8 or 80 <= rest < 90 else head) + tail


_CARDINALS = {"eng": _english, "deu": _german, "fra": _french, "ita": _italian}


def year(number: int, language: str) -> str:
    """The year (1901 to 2099) in words, without a preposition."""
    assert 1901 <= number <= 2099, number
    rest = number % 100
    tail = cardinal(rest, language) if rest else ""
    if language == "eng":
        if number < 2000:
            return f"nineteen {tail}" if rest > 9 else f"nineteen oh {tail}"
        return "two thousand" + (f" and {tail}" if rest else "")
    if language == "deu":
        return ("neunzehnhundert" if number < 2000 else "zweitausend") + tail
    if language == "fra":
        return ("mille neuf cent" if number < 2000 else "deux mille") + (f" {tail}" if rest else "")
    tail = "tré" if rest == 3 else tail
    if number < 2000:
        return ("millenovecent" if 80 <= rest < 90 or rest == 8 else "millenovecento") + tail
    return "duemila" + tail


def ordinal(number: int, language: str) -> str:
    """The ordinal 1 to 31: in English as in "the third", in German as in "am dritten"."""
    assert 1 <= number <= 31 and language in ("eng", "deu"), (number, language)
    if language == "eng":
        if number <= 20:
            return _ENGLISH_ORDINALS[number - 1]
        return "thirtieth" if number == 30 else f"{_english(number - number % 10)}-{_ENGLISH_ORDINALS[number % 10 - 1]}"
    if number in (1, 3, 7, 8):
        return {1: "ersten", 3: "dritten", 7: "siebten", 8: "achten"}[number]
    return _german(number) + ("ten" if number < 20 else "sten")


def italian_article(number: int) -> str:
    """`il` or `l'` before a number: "l'otto", "l'undici", "il dieci"."""
    return "l'" if _italian(number)[0] in "aeiou" else "il "


def date(day: int, month: str, language: str) -> str:
    """The date as an adverbial: "on the third of March", "am dritten März", "le trois mars", "il tre marzo"."""
    name = table("months")[month].cell(language)
    if language == "eng":
        return f"on the {ordinal(day, language)} of {name}"
    if language == "deu":
        return f"am {ordinal(day, language)} {name}"
    if language == "fra":
        return f"le {'premier' if day == 1 else _french(day)} {name}"
    return f"il primo {name}" if day == 1 else f"{italian_article(day)}{_italian(day)} {name}"


def clock(hour: int, quarter: int, language: str) -> str:
    """The time of day as an adverbial: "at half past ten", "um halb elf", "à dix heures et demie"; hour 1 to 11."""
    assert 1 <= hour <= 11 and 0 <= quarter <= 3, (hour, quarter)
    assert hour < 11 or quarter < 3, (hour, quarter)
    here, following = (cardinal(value, language) for value in (hour, hour + 1))
    if language == "eng":
        return ("at {0} o'clock", "at a quarter past {0}", "at half past {0}", "at a quarter to {1}")[quarter].format(
            here, following
        )
    if language == "deu":
        full = "ein" if hour == 1 else here
        return ("um {0} Uhr", "um Viertel nach {1}", "um halb {2}", "um Viertel vor {2}")[quarter].format(
            full, here, following
        )
    if language == "fra":
        named = [
            f"{'une' if value == 1 else cardinal(value, 'fra')} heure{'s' if value > 1 else ''}"
            for value in (hour, hour + 1)
        ]
        return ("à {0}", "à {0} et quart", "à {0} et demie", "à {1} moins le quart")[quarter].format(*named)
    named = ["all'una" if value == 1 else f"alle {cardinal(value, 'ita')}" for value in (hour, hour + 1)]
    return ("{0}", "{0} e un quarto", "{0} e mezza", "{1} meno un quarto")[quarter].format(*named)


_FRENCH_ORDINALS = "première deuxième troisième quatrième cinquième sixième septième huitième neuvième dixième".split()
_ITALIAN_ORDINALS = "prima seconda terza quarta quinta sesta settima ottava nona decima".split()


def times(number: int, language: str) -> str:
    """ "for the third time", "zum dritten Mal", "pour la troisième fois", "per la terza volta"; 1 to 10."""
    assert 1 <= number <= 10, number
    if language in ("eng", "deu"):
        frame = "for the {} time" if language == "eng" else "zum {} Mal"
        return frame.format(ordinal(number, language))
    if language == "fra":
        return f"pour la {_FRENCH_ORDINALS[number - 1]} fois"
    return "per l'ottava volta" if number == 8 else f"per la {_ITALIAN_ORDINALS[number - 1]} volta"


def thousands(number: int, language: str) -> str:
    """`number` (1 to 999) thousand, before a noun: "zwölftausend", "quatre-vingt mille", "dodicimila"."""
    count = cardinal(number, language)
    if language == "eng":
        return f"{'a' if number == 1 else count} thousand"
    if language == "deu":
        return "tausend" if number == 1 else f"{count.removesuffix('s') if number % 100 == 1 else count}tausend"
    if language == "fra":
        return (
            "mille"
            if number == 1
            else f"{count.removesuffix('s') if count.endswith(('vingts', 'cents')) else count} mille"
        )
    return "mille" if number == 1 else f"{count.replace('é', 'e')}mila"


_POINTS: Mapping[str, str] = {"eng": "point", "deu": "Komma", "fra": "virgule", "ita": "virgola"}


def decimal(tenths: int, language: str) -> str:
    """A number with one decimal: "three point five", "drei Komma fünf", "trois virgule cinq"."""
    whole, rest = divmod(tenths, 10)
    return f"{cardinal(whole, language)} {_POINTS[language]} {cardinal(rest, language)}"
