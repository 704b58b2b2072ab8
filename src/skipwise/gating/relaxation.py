"""From logits to gates: the straight-through Gumbel-softmax and its temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.draws import RowDraws

Relaxation = Literal["straight_through", "soft"]
"""Hard gates forward with the gradient of soft ones, or soft gates both ways: those are what the base then sees."""


def relaxed_gumbel(
    logits: Float[Tensor, "rows *positions sites 2"], *, temperature: float, draws: RowDraws
) -> Float[Tensor, "rows *positions sites"]:
    """Return the soft gates, in (0, 1), of a sample from `logits` (closed, open).

    Source: Jang et al. 2017 (Gumbel-softmax).
    """
    draw = draws.uniform if logits.ndim == 3 else draws.uniform_at
    uniform = draw(*logits.shape[1:], device=logits.device)
    tiny = torch.finfo(torch.float32).tiny
    gumbel = -torch.log((-torch.log(uniform.clamp_min(tiny))).clamp_min(tiny))
    return ((logits.float() + gumbel) / temperature).softmax(dim=-1)[..., 1]


def straight_through_gumbel(
    logits: Float[Tensor, "rows *positions sites 2"], *, temperature: float, draws: RowDraws
) -> Float[Tensor, "rows *positions sites"]:
    """Return gates drawn from `logits` (closed, open): 0 or 1 forward, the relaxed sample's gradient backward.

    Source: Jang et al. 2017 (Gumbel-softmax, straight-through); Algorithm 1, Someki et al. 2025.
    """
    soft = relaxed_gumbel(logits, temperature=temperature, draws=draws)
    hard = (soft > 0.5).float()
    # in this order the value is exactly 0 or 1: hard - soft has no rounding error where soft > 0.5 or hard = 0
    return soft + (hard - soft).detach()


@final
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How gates are drawn in training."""

    temperature: float = 1.0
    """Of the Gumbel-softmax."""
    dropout: float = 0.0
    """How often each part of the context is hidden."""
    relaxation: Relaxation = "straight_through"
    """What the base sees."""

    def gates(
        self, logits: Float[Tensor, "rows *positions sites 2"], draws: RowDraws
    ) -> Float[Tensor, "rows *positions sites"]:
        """Return gates drawn from `logits`."""
        draw = relaxed_gumbel if self.relaxation == "soft" else straight_through_gumbel
        return draw(logits, temperature=self.temperature, draws=draws)


@final
@dataclass(frozen=True, kw_only=True)
class TemperatureSchedule:
    """Temperature of the relaxation over a run: from `start` to `end`, in equal ratios."""

    start: float = 1.0
    """Temperature at the first step."""
    end: float = 1.0
    """Temperature at the last step."""

    def __post_init__(self) -> None:
        if self.start <= 0 or self.end <= 0:
            raise SkipwiseError(f"temperatures must be above 0, got start {self.start} and end {self.end}.")

    def at(self, progress: float) -> float:
        """Return the temperature at `progress`, the share of the run that is done: in [0, 1]."""
        return self.start * (self.end / self.start) ** min(max(progress, 0.0), 1.0)
