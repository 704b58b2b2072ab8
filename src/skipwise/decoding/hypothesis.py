"""One candidate of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What was found for one utterance."""

    tokens: tuple[int, ...]
    """Without the prompt and without `<eos>`."""
    score: float
    """Weighted sum of the log-probabilities of the tokens and, if it was predicted, of `<eos>`, plus length bonuses."""
    finished: bool
    """False where the length limit ended it before `<eos>` did."""
