"""Corpus-level scores: WER by jiwer, BLEU and chrF by sacreBLEU.

A metric is two steps: counts of each text pair, and the score of summed counts. Everything else (groups, resamples,
differences) sums rows of the same counts, so that no score is ever an average over utterances.

Shapes: U pairs of texts, K counts of a pair (each metric has its own).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from skipwise.errors import SkipwiseError
from skipwise.evaluation.normalise import normalise

MAX_NGRAM = 4
CHRF_ORDERS = 6
CHRF_BETA = 2


@final
@dataclass(frozen=True, kw_only=True)
class TextPair:
    """A reference and what a system made of it."""

    id: str
    """Name of the utterance, for messages."""
    reference: str
    """What was said, or its translation."""
    hypothesis: str
    """The system's text."""


class Metric(ABC):
    """A corpus-level score that follows from summed counts of text pairs."""

    name: str
    """Its key in results."""

    @abstractmethod
    def count(self, pairs: Sequence[TextPair]) -> Int[np.ndarray, "pairs counts"]:
        """Return the counts of each pair."""

    @abstractmethod
    def score(self, sums: Int[np.ndarray, "sums counts"]) -> Float[np.ndarray, " sums"]:
        """Return the score of each sum of counts, in percent or on 0-100; NaN where nothing was counted."""

    @final
    def corpus_score(self, counts: Int[np.ndarray, "pairs counts"]) -> float:
        """Return the score of all pairs together."""
        return self.score(counts.sum(axis=0, keepdims=True)).item()


@final
class WordErrorRate(Metric):
    """WER in percent on normalised words; K = substitutions, deletions, insertions, words of the reference."""

    name = "wer"

    def count(self, pairs: Sequence[TextPair]) -> Int[np.ndarray, "pairs 4"]:
        """Return the counts of each pair.

        Raises:
            SkipwiseError: if a reference has no word.
        """
        import jiwer

        check_references(pairs)
        if not pairs:
            return np.zeros((0, 4), dtype=np.int64)
        references = [normalise(pair.reference) for pair in pairs]
        aligned = jiwer.process_words(references, [normalise(pair.hypothesis) for pair in pairs])
        counts = np.zeros((len(pairs), 4), dtype=np.int64)
        columns = {"substitute": 0, "delete": 1, "insert": 2}
        for row, (chunks, words) in enumerate(zip(aligned.alignments, aligned.references, strict=True)):
            counts[row, 3] = len(words)
            for chunk in chunks:
                if chunk.type in columns:
                    size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                    counts[row, columns[chunk.type]] += size
        return counts

    def score(self, sums: Int[np.ndarray, "sums 4"]) -> Float[np.ndarray, " sums"]:
        errors, words = sums[:, :3].sum(axis=1), sums[:, 3]
        return np.where(words > 0, 100 * errors / np.maximum(words, 1), np.nan)


@final
class Bleu(Metric):
    """sacreBLEU's BLEU, 0-100, of the texts as they are or normalised.

    K = lengths of hypothesis and reference, then matches and totals of the 1- to 4-grams.
    """

    def __init__(self, name: str, *, normalised: bool) -> None:
        self.name = name
        self._normalised = normalised

    def count(self, pairs: Sequence[TextPair]) -> Int[np.ndarray, "pairs 10"]:
        """Return the counts of each pair.

        Raises:
            SkipwiseError: if a reference is empty.
        """
        import sacrebleu

        check_references(pairs)
        if not pairs:
            return np.zeros((0, 2 + 2 * MAX_NGRAM), dtype=np.int64)
        texts = [(pair.hypothesis, pair.reference) for pair in pairs]
        if self._normalised:
            texts = [(normalise(hypothesis), normalise(reference)) for hypothesis, reference in texts]
        # what sacreBLEU's own significance tests resample; the public interface gives no counts
        counts = sacrebleu.BLEU(force=True)._extract_corpus_statistics(*_columns(texts))
        return np.asarray(counts, dtype=np.int64)

    def score(self, sums: Int[np.ndarray, "sums 10"]) -> Float[np.ndarray, " sums"]:
        """Return BLEU with sacreBLEU's default smoothing (`exp`): the same numbers, for many sums at once."""
        hypothesis_length, reference_length = sums[:, 0], sums[:, 1]
        matches, totals = sums[:, 2 : 2 + MAX_NGRAM], sums[:, 2 + MAX_NGRAM :]
        # the k-th order without a match counts as 1 / 2^k of a match
        missed = np.cumsum((matches == 0) & (totals > 0), axis=1)
        smoothed = np.where(matches > 0, matches, 0.5**missed)
        log_precision = np.log(np.maximum(smoothed, 1e-300)) - np.log(np.maximum(totals, 1))
        shortfall = 1 - reference_length / np.maximum(hypothesis_length, 1)
        score = 100 * np.exp(log_precision.mean(axis=1) + np.minimum(shortfall, 0))
        scorable = (matches.sum(axis=1) > 0) & (totals > 0).all(axis=1)
        return np.where(reference_length > 0, np.where(scorable, score, 0.0), np.nan)


@final
class Chrf(Metric):
    """sacreBLEU's chrF2, 0-100, of the texts as they are; K = hypothesis, reference, matching n-grams of 6 orders."""

    name = "chrf"

    def count(self, pairs: Sequence[TextPair]) -> Int[np.ndarray, "pairs 18"]:
        """Return the counts of each pair.

        Raises:
            SkipwiseError: if a reference is empty.
        """
        import sacrebleu

        check_references(pairs)
        if not pairs:
            return np.zeros((0, 3 * CHRF_ORDERS), dtype=np.int64)
        texts = [(pair.hypothesis, pair.reference) for pair in pairs]
        return np.asarray(sacrebleu.CHRF()._extract_corpus_statistics(*_columns(texts)), dtype=np.int64)

    def score(self, sums: Int[np.ndarray, "sums 18"]) -> Float[np.ndarray, " sums"]:
        by_order = sums.reshape(-1, CHRF_ORDERS, 3)
        hypothesis, reference, matches = by_order[..., 0], by_order[..., 1], by_order[..., 2]
        counted = (hypothesis > 0) & (reference > 0)
        num_orders = np.maximum(counted.sum(axis=1), 1)
        precision = np.where(counted, matches / np.maximum(hypothesis, 1), 0).sum(axis=1) / num_orders
        recall = np.where(counted, matches / np.maximum(reference, 1), 0).sum(axis=1) / num_orders
        weight = CHRF_BETA**2
        # nothing in common gives 0 / 0, which sacreBLEU calls 0
        score = 100 * (1 + weight) * precision * recall / np.maximum(weight * precision + recall, 1e-300)
        return np.where(reference[:, 0] > 0, score, np.nan)


WER = WordErrorRate()
BLEU = Bleu("bleu", normalised=False)
BLEU_NORMALISED = Bleu("bleu_normalised", normalised=True)
CHRF = Chrf()


@final
@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """WER and what it is made of."""

    wer: float
    """Percent: 100 * (substitutions + deletions + insertions) / words."""
    substitutions: int
    deletions: int
    insertions: int
    words: int
    """Words of the references."""


@final
@dataclass(frozen=True, kw_only=True)
class TranslationScores:
    """BLEU and chrF of a corpus, 0-100."""

    bleu: float
    """Cased, as written."""
    bleu_normalised: float
    """Lower-cased, without punctuation."""
    chrf: float
    """chrF2, cased, as written."""


def word_errors(pairs: Sequence[TextPair]) -> WordErrors:
    """Return the corpus-level WER of at least one pair.

    Raises:
        SkipwiseError: if there is no pair, or a reference has no word.
    """
    _check_any(pairs)
    counts = WER.count(pairs)
    substitutions, deletions, insertions, words = counts.sum(axis=0).tolist()
    return WordErrors(
        wer=WER.corpus_score(counts),
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        words=words,
    )


def translation_scores(pairs: Sequence[TextPair]) -> TranslationScores:
    """Return corpus-level BLEU and chrF of at least one pair.

    Raises:
        SkipwiseError: if there is no pair, or a reference is empty.
    """
    _check_any(pairs)
    bleu, normalised, chrf = (m.corpus_score(m.count(pairs)) for m in (BLEU, BLEU_NORMALISED, CHRF))
    return TranslationScores(bleu=bleu, bleu_normalised=normalised, chrf=chrf)


def signatures() -> dict[str, str]:
    """Return sacreBLEU's signatures of the scores given here."""
    import sacrebleu

    metrics = {"bleu": sacrebleu.BLEU(references=[["a"]]), "chrf": sacrebleu.CHRF(references=[["a"]])}
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def check_references(pairs: Sequence[TextPair]) -> None:
    """Raise a SkipwiseError that names the first pair whose reference has no word."""
    for pair in pairs:
        if not normalise(pair.reference):
            raise SkipwiseError(
                f"the reference of utterance {pair.id} has no word: {pair.reference!r}. "
                "An error rate needs at least one; leave this utterance out of the manifest."
            )


def _check_any(pairs: Sequence[TextPair]) -> None:
    if not pairs:
        raise SkipwiseError("there is nothing to score: no utterance has a text of this task.")


def _columns(texts: Sequence[tuple[str, str]]) -> tuple[list[str], list[list[str]]]:
    hypotheses, references = zip(*texts, strict=True)
    return list(hypotheses), [list(references)]
