"""Whether a corpus tells models apart: a dense one does well on it, not perfectly, and one with half its decoder worse.

On a corpus where any model is perfect, pruning looks free, and no conclusion means anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skipwise.corpus.check import Finding
from skipwise.errors import SkipwiseError

WER_RANGE = (3.0, 12.0)
BLEU_RANGE = (40.0, 80.0)
LEAST_WER_RISE = 0.10
"""Relative."""
LEAST_BLEU_LOSS = 2.0


def check_validity(dense: Mapping[str, Any], half: Mapping[str, Any]) -> list[Finding]:
    """Return the findings on two records that `skipwise evaluate --json` wrote on the same test set.

    `half` is of a model of half the decoder's depth that was trained equally.
    """
    wer, bleu, half_wer, half_bleu = (record[score] for record in (dense, half) for score in ("wer", "bleu"))
    rise, loss = (half_wer - wer) / wer if wer else 0.0, bleu - half_bleu
    return [
        _within("dense WER", wer, WER_RANGE, "%"),
        _within("dense BLEU", bleu, BLEU_RANGE, ""),
        Finding(
            name="half a decoder is worse",
            passed=rise >= LEAST_WER_RISE or loss >= LEAST_BLEU_LOSS,
            detail=f"WER {wer:.1f} -> {half_wer:.1f} ({rise:+.0%}), BLEU {bleu:.1f} -> {half_bleu:.1f}; "
            f"wanted +{LEAST_WER_RISE:.0%} or -{LEAST_BLEU_LOSS:g}",
        ),
    ]


def read_scores(paths: Sequence[Path]) -> dict[str, float]:
    """Return WER and BLEU over all rows of what `skipwise evaluate --json` wrote of a model.

    One record may have both, or two records one each: transcription is often decoded with the CTC head's share of the
    score, translation without.

    Raises:
        SkipwiseError: if one is no such record, or both scores are not there exactly once.
    """
    found: dict[str, float] = {}
    for path in paths:
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))["all"]
            own = {name: float(scores[name]) for name in ("wer", "bleu") if scores.get(name) is not None}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SkipwiseError(
                f"{path} is no record of an evaluation: {error!r}. Write one with skipwise evaluate --json."
            ) from error
        if again := sorted(found.keys() & own.keys()):
            raise SkipwiseError(f"{path} has {again[0].upper()} a second time. Give one record, or one of each task.")
        found |= own
    if len(found) < 2:
        told = " and ".join(map(str, paths))
        raise SkipwiseError(f"{told} must have WER and BLEU; evaluate both tasks, asr and st_eng.")
    return found


def _within(name: str, value: float, bounds: tuple[float, float], unit: str) -> Finding:
    low, high = bounds
    return Finding(name=name, passed=low <= value <= high, detail=f"{value:.1f}{unit}, wanted {low:g} to {high:g}")
