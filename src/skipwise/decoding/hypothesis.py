"""One candidate of a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from jaxtyping import Bool
from torch import Tensor


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
    gates: Bool[Tensor, "positions sites"] | None = field(default=None, compare=False)
    """Which sites were open at each position that was fed, prompt included; None where its plan is the utterance's."""
