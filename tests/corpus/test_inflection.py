"""Articles, contractions and agreement: what a learner of the language gets wrong first."""

import pytest

from skipwise.corpus import english, french, german, italian
from skipwise.corpus.lexicon import table

LANGUAGES = {"eng": english, "deu": german, "fra": french, "ita": italian}


def _noun(language, name, key, **options):
    return LANGUAGES[language].Noun(table(name)[key], **options)


def _verb(language, key):
    return LANGUAGES[language].Verb(table("VERBS")[key])


@pytest.mark.parametrize(
    ("name", "key", "spec", "expected"),
    [
        ("DOCUMENTS", "report", "nom", "der Bericht"),
        ("DOCUMENTS", "report", "acc", "den Bericht"),
        ("DOCUMENTS", "report", "gen", "des Berichts"),
        ("DOCUMENTS", "report", "zu", "zum Bericht"),
        ("DOCUMENTS", "directive", "zu", "zur Richtlinie"),
        ("DOCUMENTS", "report", "nom+wichtig", "der wichtige Bericht"),
        ("DOCUMENTS", "report", "acc+wichtig", "den wichtigen Bericht"),
        ("DOCUMENTS", "programme", "acc+teur", "das teure Programm"),
        ("DOCUMENTS", "directive", "gen+wichtig", "der wichtigen Richtlinie"),
        ("TOPICS", "public health", "nom", "die öffentliche Gesundheit"),
        ("TOPICS", "public health", "dat", "der öffentlichen Gesundheit"),
        ("TOPICS", "human rights", "dat", "den Menschenrechten"),
        ("TOPICS", "the internal market", "an", "am Binnenmarkt"),
        ("TOPICS", "forests", "an", "an den Wäldern"),
        ("GROUPS", "the chairwoman", "acc", "die Vorsitzende"),
        ("GROUPS", "the chairwoman", "dat", "der Vorsitzenden"),
        ("COUNTRIES", "Germany", "dat", "Deutschland"),
        ("COUNTRIES", "Slovakia", "dat", "der Slowakei"),
        ("COUNTRIES", "the Netherlands", "dat", "den Niederlanden"),
    ],
)
def test_german_cases(name, key, spec, expected):
    assert f"{_noun('deu', name, key):{spec}}" == expected


def test_german_this():
    this = _noun("deu", "DOCUMENTS", "report", this=True)
    assert [f"{this:{spec}}" for spec in ("nom", "acc", "gen+neu", "zu")] == [
        "dieser Bericht",
        "diesen Bericht",
        "dieses neuen Berichts",
        "zu diesem Bericht",
    ]


def test_german_separable_verbs_part_and_join():
    verb = _verb("deu", "present")
    specs = ("inf", "zu", "fin.s", "pre", "sub.s", "sub.p", "ich", "pp")
    expected = ["vorlegen", "vorzulegen", "legt", "vor", "vorlegt", "vorlegen", "lege", "vorgelegt"]
    assert [f"{verb:{spec}}" for spec in specs] == expected
    assert [f"{_verb('deu', 'amend'):{spec}}" for spec in ("zu", "ich")] == ["zu ändern", "ändere"]


@pytest.mark.parametrize(
    ("name", "key", "spec", "expected"),
    [
        ("DOCUMENTS", "report", "de", "du rapport"),
        ("DOCUMENTS", "report", "a", "au rapport"),
        ("DOCUMENTS", "proposal", "de", "de la proposition"),
        ("DOCUMENTS", "agreement", "def", "l'accord"),
        ("DOCUMENTS", "study", "a", "à l'étude"),
        ("TOPICS", "taxes", "de", "des impôts"),
        ("GROUPS", "the Member States", "a", "aux États membres"),
        ("TOPICS", "taxes", "be.subjunctive", "soient"),
    ],
)
def test_french_contractions(name, key, spec, expected):
    assert f"{_noun('fra', name, key):{spec}}" == expected


def test_french_this_before_consonant_vowel_and_feminine():
    nouns = [_noun("fra", "DOCUMENTS", key, this=True) for key in ("report", "agreement", "study")]
    assert [f"{noun:def}" for noun in nouns] == ["ce rapport", "cet accord", "cette étude"]
    assert f"{nouns[0]:de}" == "de ce rapport"


@pytest.mark.parametrize(
    ("key", "where", "whence"),
    [
        ("France", "en France", "de France"),
        ("Italy", "en Italie", "d'Italie"),
        ("Hungary", "en Hongrie", "de Hongrie"),
        ("Portugal", "au Portugal", "du Portugal"),
        ("the Netherlands", "aux Pays-Bas", "des Pays-Bas"),
    ],
)
def test_french_countries(key, where, whence):
    country = french.Country(table("COUNTRIES")[key])
    assert (f"{country:in}", f"{country:from}") == (where, whence)


def test_french_participles_agree():
    assert [f"{_verb('fra', 'adopt'):pp.{form}}" for form in ("ms", "fs", "mp", "fp")] == [
        "adopté",
        "adoptée",
        "adoptés",
        "adoptées",
    ]


def test_french_elides_before_verbs():
    assert f"{_verb('fra', 'adopt'):de}" == "d'adopter"
    assert f"{_verb('fra', 'adopt'):not.p}" == "n'adoptent pas"
    assert [f"{_verb('fra', key):je}" for key in ("support", "approve", "defend")] == [
        "je soutiens",
        "j'approuve",
        "je défends",
    ]
    assert [f"{_verb('fra', 'present'):fut.{num}}" for num in "sp"] == ["présentera", "présenteront"]


def test_french_inversion():
    assert _noun("fra", "GROUPS", "the Commission").tpron == "t-elle"
    assert _noun("fra", "GROUPS", "the Greens").tpron == "ils"


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("important", ["important", "importante", "importants", "importantes"]),
        ("expensive", ["cher", "chère", "chers", "chères"]),
        ("dangerous", ["dangereux", "dangereuse", "dangereux", "dangereuses"]),
        ("decisive", ["décisif", "décisive", "décisifs", "décisives"]),
        ("useful", ["utile", "utile", "utiles", "utiles"]),
    ],
)
def test_french_adjectives(key, forms):
    adjective = french.Adjective(table("ADJECTIVES")[key])
    assert [f"{adjective:{spec}}" for spec in ("ms", "fs", "mp", "fp")] == forms


@pytest.mark.parametrize(
    ("name", "key", "spec", "expected"),
    [
        ("DOCUMENTS", "report", "su", "sulla relazione"),
        ("DOCUMENTS", "agreement", "di", "dell'accordo"),
        ("DOCUMENTS", "plan", "a", "al piano"),
        ("DOCUMENTS", "study", "def", "lo studio"),
        ("DOCUMENTS", "study", "su", "sullo studio"),
        ("GROUPS", "the Member States", "di", "degli Stati membri"),
        ("GROUPS", "the Greens", "a", "ai Verdi"),
        ("GROUPS", "the regions", "di", "delle regioni"),
        ("TOPICS", "development aid", "su", "sugli aiuti allo sviluppo"),
        ("TOPICS", "human rights", "be.subjunctive", "siano"),
    ],
)
def test_italian_articulated_prepositions(name, key, spec, expected):
    assert f"{_noun('ita', name, key):{spec}}" == expected


def test_italian_this():
    nouns = [_noun("ita", "DOCUMENTS", key, this=True) for key in ("report", "agreement", "study")]
    assert [f"{noun:def}" for noun in nouns] == ["questa relazione", "quest'accordo", "questo studio"]
    assert f"{nouns[0]:su}" == "su questa relazione"


def test_italian_countries_and_cities():
    countries = [italian.Country(table("COUNTRIES")[key]) for key in ("France", "the Netherlands", "Italy")]
    assert [f"{country:in}" for country in countries] == ["in Francia", "nei Paesi Bassi", "in Italia"]
    assert [f"{country:da}" for country in countries] == ["dalla Francia", "dai Paesi Bassi", "dall'Italia"]
    assert f"{italian.City(table('CITIES')['Athens']):in}" == "ad Atene"


def test_italian_verbs():
    assert [f"{_verb('ita', 'criticise'):{spec}}" for spec in ("pp.fp", "fut.s", "fut.p", "io")] == [
        "criticate",
        "criticherà",
        "criticheranno",
        "critico",
    ]
    assert [f"{_verb('ita', key):io}" for key in ("support", "reject", "welcome")] == [
        "sostengo",
        "respingo",
        "accolgo",
    ]


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("necessary", ["necessario", "necessaria", "necessari", "necessarie"]),
        ("realistic", ["realistico", "realistica", "realistici", "realistiche"]),
        ("useful", ["utile", "utile", "utili", "utili"]),
    ],
)
def test_italian_adjectives(key, forms):
    adjective = italian.Adjective(table("ADJECTIVES")[key])
    assert [f"{adjective:{spec}}" for spec in ("ms", "fs", "mp", "fp")] == forms


def test_english_verbs_and_comparatives():
    assert [f"{_verb('eng', 'study'):{spec}}" for spec in ("past", "pres.s", "pres.p")] == [
        "studied",
        "studies",
        "study",
    ]
    assert [f"{_verb('eng', 'withdraw'):{spec}}" for spec in ("past", "pp")] == ["withdrew", "withdrawn"]
    adjectives = [english.Adjective(table("ADJECTIVES")[key]) for key in ("weak", "important")]
    assert [f"{adjective:more}" for adjective in adjectives] == ["weaker", "more important"]
