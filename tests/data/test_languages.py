import pytest

from skipwise.data.languages import named_language, to_iso639_1, to_iso639_3
from skipwise.errors import SkipwiseError


@pytest.mark.parametrize("code", ["de", "DE", "deu", "Deu", " de "])
def test_two_and_three_letters_name_the_same_language(code):
    assert to_iso639_3(code) == "deu"
    assert to_iso639_1(code) == "de"


def test_different_languages_stay_different():
    codes = "de en fr it es pt nl pl ro cs sv da fi el hu".split()
    assert len({to_iso639_3(code) for code in codes}) == len(codes)
    assert [to_iso639_1(to_iso639_3(code)) for code in codes] == codes


def test_an_unknown_language_names_the_accepted_ones():
    with pytest.raises(SkipwiseError, match=r"unknown language 'xx'.*de/deu.*it/ita"):
        to_iso639_3("xx")


@pytest.mark.parametrize("name", ["de", "deu", "de-DE", "de_AT", "German", " german "])
def test_data_from_elsewhere_name_languages_in_several_ways(name):
    assert named_language(name) == "deu"


def test_a_name_is_not_a_code():
    with pytest.raises(SkipwiseError, match="unknown language 'German'"):
        to_iso639_3("German")
    with pytest.raises(SkipwiseError, match="unknown language 'Elvish'"):
        named_language("Elvish")
