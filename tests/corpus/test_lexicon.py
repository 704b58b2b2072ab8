import random
from collections import Counter

import pytest

from skipwise.corpus.lexicon import LISTS, draw_word, keys, lemma_counts, read_rows, surnames, table
from skipwise.corpus.templates import read_templates
from skipwise.errors import SkipwiseError


def test_every_language_has_at_least_1500_lexemes():
    assert all(count > 1400 for count in lemma_counts().values()), lemma_counts()


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_read(name):
    assert len(table(name)) >= 6


def test_keys_of_a_class_are_those_that_name_it():
    assert "publish" in keys("verbs", "D") and "publish" not in keys("verbs", "P")
    assert "quickly" in keys("adverbs", "m") and "quickly" not in keys("adverbs", "s")


def test_names_are_different():
    names = surnames(True) + surnames(False)
    assert len(names) == len(set(names)) > 140


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("a|b|c", "", r"words\.txt, line 1: must have 4 fields with \| between, got 3"),
        (
            "a|b|c|d\ne| f|g|h",
            "",
            r"line 2: the field German must be a word without blanks around, got ' f'",
        ),
        ("a|b||d", "", r"line 1: the field French must be a word"),
        ("a|b|c|d|Z", "DM", r"line 1: the field classes must be of D, M, got 'Z'"),
        ("a|b|c|d|later", "past future", r"the field classes must be of past, future, got 'later'"),
        ("a|b|c|d\na|x|y|z", "", r"line 2: 'a' is there twice"),
    ],
)
def test_a_bad_row_names_line_and_field(text, classes, message):
    with pytest.raises(SkipwiseError, match=message):
        read_rows(text, where="words.txt", classes=classes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("past c:clause:past", r"p\.txt, line 1: a pattern starts with `\[name\] slots`"),
        ("[a] c:clause:past\nen x\nfr x\nde x\nit x", r"line 3: must be `de sentence` of \[a\], got 'fr x'"),
        ("[a] c:clause:past\nen x\nde x", r"the pattern \[a\] must have the lines en, de, fr, it"),
        ("[a] c:verse:past\nen x\nde x\nfr x\nit x", r"\[a\]: unknown kind of slot 'verse'"),
    ],
)
def test_a_bad_pattern_names_its_line(text, message):
    with pytest.raises(SkipwiseError, match=message):
        list(read_templates(text, where="p.txt"))


def test_words_are_drawn_by_rank_and_none_is_left_out():
    """By Zipf's law the first of 60 is drawn 2 times as often as the second and 10 times as often as the tenth."""
    words = [str(rank) for rank in range(1, 61)]
    rng = random.Random(1)
    counts = Counter(draw_word(rng, words) for _ in range(40_000))
    assert counts["1"] / counts["2"] == pytest.approx(2, rel=0.1)
    assert counts["1"] / counts["10"] == pytest.approx(10, rel=0.15)
    assert set(counts) == set(words)
