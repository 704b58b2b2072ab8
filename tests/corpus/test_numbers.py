import pytest

from skipwise.corpus.numbers import cardinal, clock, date, italian_article, ordinal, year


@pytest.mark.parametrize(
    ("number", "eng", "deu", "fra", "ita"),
    [
        (0, "zero", "null", "zéro", "zero"),
        (1, "one", "eins", "un", "uno"),
        (16, "sixteen", "sechzehn", "seize", "sedici"),
        (17, "seventeen", "siebzehn", "dix-sept", "diciassette"),
        (20, "twenty", "zwanzig", "vingt", "venti"),
        (21, "twenty-one", "einundzwanzig", "vingt et un", "ventuno"),
        (23, "twenty-three", "dreiundzwanzig", "vingt-trois", "ventitré"),
        (28, "twenty-eight", "achtundzwanzig", "vingt-huit", "ventotto"),
        (30, "thirty", "dreißig", "trente", "trenta"),
        (61, "sixty-one", "einundsechzig", "soixante et un", "sessantuno"),
        (67, "sixty-seven", "siebenundsechzig", "soixante-sept", "sessantasette"),
        (70, "seventy", "siebzig", "soixante-dix", "settanta"),
        (71, "seventy-one", "einundsiebzig", "soixante et onze", "settantuno"),
        (77, "seventy-seven", "siebenundsiebzig", "soixante-dix-sept", "settantasette"),
        (80, "eighty", "achtzig", "quatre-vingts", "ottanta"),
        (81, "eighty-one", "einundachtzig", "quatre-vingt-un", "ottantuno"),
        (91, "ninety-one", "einundneunzig", "quatre-vingt-onze", "novantuno"),
        (99, "ninety-nine", "neunundneunzig", "quatre-vingt-dix-neuf", "novantanove"),
        (100, "one hundred", "hundert", "cent", "cento"),
        (150, "one hundred and fifty", "hundertfünfzig", "cent cinquante", "centocinquanta"),
        (180, "one hundred and eighty", "hundertachtzig", "cent quatre-vingts", "centottanta"),
        (200, "two hundred", "zweihundert", "deux cents", "duecento"),
        (210, "two hundred and ten", "zweihundertzehn", "deux cent dix", "duecentodieci"),
        (690, "six hundred and ninety", "sechshundertneunzig", "six cent quatre-vingt-dix", "seicentonovanta"),
    ],
)
def test_cardinals(number, eng, deu, fra, ita):
    assert [cardinal(number, language) for language in ("eng", "deu", "fra", "ita")] == [eng, deu, fra, ita]


@pytest.mark.parametrize("language", ["eng", "deu", "fra", "ita"])
def test_every_number_has_a_name_of_its_own(language):
    assert len({cardinal(number, language) for number in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("number", "eng", "deu"),
    [
        (1, "first", "ersten"),
        (3, "third", "dritten"),
        (7, "seventh", "siebten"),
        (8, "eighth", "achten"),
        (12, "twelfth", "zwölften"),
        (19, "nineteenth", "neunzehnten"),
        (20, "twentieth", "zwanzigsten"),
        (21, "twenty-first", "einundzwanzigsten"),
        (30, "thirtieth", "dreißigsten"),
        (31, "thirty-first", "einunddreißigsten"),
    ],
)
def test_ordinals(number, eng, deu):
    assert (ordinal(number, "eng"), ordinal(number, "deu")) == (eng, deu)


def test_years():
    assert [year(1995, language) for language in ("eng", "deu", "fra", "ita")] == [
        "nineteen ninety-five",
        "neunzehnhundertfünfundneunzig",
        "mille neuf cent quatre-vingt-quinze",
        "millenovecentonovantacinque",
    ]
    assert [year(2003, language) for language in ("eng", "deu", "fra", "ita")] == [
        "two thousand and three",
        "zweitausenddrei",
        "deux mille trois",
        "duemilatré",
    ]
    assert [year(2000, language) for language in ("eng", "deu", "fra", "ita")] == [
        "two thousand",
        "zweitausend",
        "deux mille",
        "duemila",
    ]


def test_dates():
    assert [date(1, "March", language) for language in ("eng", "deu", "fra", "ita")] == [
        "on the first of March",
        "am ersten März",
        "le premier mars",
        "il primo marzo",
    ]
    assert date(8, "May", "ita") == "l'otto maggio"
    assert date(11, "May", "ita") == "l'undici maggio"
    assert date(11, "May", "fra") == "le onze mai"


def test_half_past_ten_is_half_eleven_in_german():
    assert [clock(10, 2, language) for language in ("eng", "deu", "fra", "ita")] == [
        "at half past ten",
        "um halb elf",
        "à dix heures et demie",
        "alle dieci e mezza",
    ]


def test_one_o_clock_is_feminine_and_singular():
    assert [clock(1, 0, language) for language in ("deu", "fra", "ita")] == ["um ein Uhr", "à une heure", "all'una"]
    assert [clock(3, 3, language) for language in ("eng", "deu", "fra", "ita")] == [
        "at a quarter to four",
        "um Viertel vor vier",
        "à quatre heures moins le quart",
        "alle quattro meno un quarto",
    ]


def test_the_italian_article_elides_before_a_vowel():
    assert [italian_article(number) for number in (2, 8, 11, 18, 80, 100)] == ["il ", "l'", "l'", "il ", "l'", "il "]
