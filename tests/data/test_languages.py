import pytest

from skipwise.data.languages import to_iso639_1, to_iso639_3
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
