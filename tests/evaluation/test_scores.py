"""Scores equal those of jiwer and sacreBLEU on the whole corpus."""

import random

import jiwer
import numpy as np
import pytest
import sacrebleu

from skipwise.errors import SkipwiseError
from skipwise.evaluation.normalise import normalise
from skipwise.evaluation.scores import (
    BLEU,
    BLEU_NORMALISED,
    CHRF,
    WER,
    Metric,
    TextPair,
    signatures,
    translation_scores,
    word_errors,
)

WORDS = (
    "the members of parliament voted on a budget for next year, which we welcome today; thank you Mr President.".split()
)


def pair(reference: str, hypothesis: str, name: str = "u") -> TextPair:
    return TextPair(id=name, reference=reference, hypothesis=hypothesis)


def noisy_corpus(size: int = 60, *, seed: int = 0, errors: float = 0.3) -> list[TextPair]:
    rng = random.Random(seed)
    pairs = []
    for index in range(size):
        reference = rng.choices(WORDS, k=rng.randint(3, 14))
        hypothesis = [word if rng.random() > errors else rng.choice(WORDS) for word in reference if rng.random() > 0.1]
        pairs.append(pair(" ".join(reference), " ".join(hypothesis), f"u{index}"))
    return pairs


def test_wer_counts_substitutions_deletions_and_insertions() -> None:
    found = word_errors([pair("Eins zwei, drei vier.", "eins drei vier fünf sechs"), pair("So gut!", "so schlecht")])
    assert (found.substitutions, found.deletions, found.insertions, found.words) == (1, 1, 2, 6)
    assert found.wer == pytest.approx(100 * 4 / 6)


def test_wer_is_that_of_jiwer_on_the_whole_corpus_and_no_average() -> None:
    pairs = noisy_corpus()
    references, hypotheses = [normalise(p.reference) for p in pairs], [normalise(p.hypothesis) for p in pairs]
    expected = 100 * jiwer.wer(references, hypotheses)
    assert word_errors(pairs).wer == pytest.approx(expected, abs=1e-9)
    mean_of_files = np.mean([100 * jiwer.wer(r, h) for r, h in zip(references, hypotheses, strict=True)])
    assert abs(mean_of_files - expected) > 0.1


@pytest.mark.parametrize("errors", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("size", [1, 5, 60])
def test_bleu_and_chrf_are_those_of_sacrebleu(size: int, errors: float) -> None:
    pairs = noisy_corpus(size, errors=errors)
    hypotheses, references = [p.hypothesis for p in pairs], [[p.reference for p in pairs]]
    found = translation_scores(pairs)
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(hypotheses, references).score, abs=1e-9)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(hypotheses, references).score, abs=1e-9)
    plain = sacrebleu.corpus_bleu([normalise(h) for h in hypotheses], [[normalise(r) for r in references[0]]]).score
    assert found.bleu_normalised == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("one two three", "one two three"),
        ("a b c d e f", "a x c y e z"),
        ("one two", ""),
        ("one two", "three four five six"),
    ],
)
def test_bleu_of_odd_texts_is_that_of_sacrebleu(reference: str, hypothesis: str) -> None:
    found = translation_scores([pair(reference, hypothesis)])
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu([hypothesis], [[reference]]).score, abs=1e-9)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf([hypothesis], [[reference]]).score, abs=1e-9)


def test_case_and_punctuation_matter_to_bleu_alone() -> None:
    pairs = [pair("We thank the Commission, Mr President.", "we thank the commission mr president")]
    assert translation_scores(pairs).bleu_normalised == pytest.approx(100)
    assert translation_scores(pairs).bleu < 60
    assert word_errors(pairs).wer == 0


@pytest.mark.parametrize("metric", [WER, BLEU, BLEU_NORMALISED, CHRF])
def test_scores_of_many_sums_at_once_are_those_of_each(metric: Metric) -> None:
    counts = metric.count(noisy_corpus())
    sums = counts.reshape(12, 5, -1).sum(axis=1)
    np.testing.assert_allclose(metric.score(sums), [metric.corpus_score(row[None]) for row in sums])
    assert len(set(metric.score(sums).tolist())) > 6


@pytest.mark.parametrize("metric", [WER, BLEU, BLEU_NORMALISED, CHRF])
def test_no_pair_has_no_score(metric: Metric) -> None:
    assert np.isnan(metric.corpus_score(metric.count([])))


@pytest.mark.parametrize("reference", ["", "  ", "?!", "(Beifall)"])
@pytest.mark.parametrize("metric", [WER, BLEU, CHRF])
def test_a_reference_without_words_names_its_utterance(metric: Metric, reference: str) -> None:
    with pytest.raises(SkipwiseError, match=r"utterance speech_7 has no word"):
        metric.count([pair("fine", "fine"), pair(reference, "x", "speech_7")])


@pytest.mark.parametrize("score", [word_errors, translation_scores])
def test_nothing_to_score_is_an_error(score: object) -> None:
    assert callable(score)
    with pytest.raises(SkipwiseError, match="nothing to score"):
        score([])


def test_signatures_name_the_version_and_the_tokenizer() -> None:
    assert sacrebleu.__version__ in signatures()["bleu"]
    assert "tok:13a" in signatures()["bleu"] and "case:mixed" in signatures()["chrf"]
