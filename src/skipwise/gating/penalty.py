"""The sparsity penalty: what pulls the mean sparsity of a stack to its target.

Someki et al. 2025 found |target - g| alone too weak and added a squared term. Strength against the task loss is what
decides, so each form has its weights; the fourth form is a multiplier that grows until the target holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating.sites import STACKS, Stack

PenaltyForm = Literal["absolute", "squared", "both", "lagrangian"]


@final
@dataclass(frozen=True, kw_only=True)
class PenaltyConfig:
    """Form and strength of the sparsity penalty; losses are per token, so weights compare with nats per token."""

    form: PenaltyForm = "both"
    """`absolute`: `beta |d|`; `squared`: alpha d^2; `both`; `lagrangian`: lambda d + alpha d^2; d is target - g."""
    absolute_weight: float = 1.0
    """beta."""
    squared_weight: float = 20.0
    """alpha."""
    multiplier_lr: float = 0.1
    """Step of the dual ascent on lambda, per optimiser step."""
    per_row: bool = False
    """Pull each row to its target instead of the mean over the rows: what budgets that differ need."""

    def __post_init__(self) -> None:
        if self.form not in get_args(PenaltyForm):
            raise SkipwiseError(f"penalty form must be one of {', '.join(get_args(PenaltyForm))}; got {self.form!r}.")
        for name in ("absolute_weight", "squared_weight", "multiplier_lr"):
            if getattr(self, name) < 0:
                raise SkipwiseError(f"penalty {name} must not be negative, got {getattr(self, name)}.")


@final
class SparsityPenalty(nn.Module):
    """Penalty of each stack's distance from the target; holds the multipliers, so they are saved with a checkpoint."""

    multipliers: Tensor

    def __init__(self, config: PenaltyConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("multipliers", torch.zeros(len(STACKS)))

    def forward(
        self, sparsity: Float[Tensor, "*rows"], *, target: float | Float[Tensor, "*rows"], stack: Stack
    ) -> Float[Tensor, "*rows"]:
        """Return the penalty for a stack's sampled sparsity, or for each row's; differentiable; `target` in [0, 1]."""
        distance = target - sparsity
        absolute = self.config.absolute_weight * distance.abs()
        squared = self.config.squared_weight * distance.square()
        match self.config.form:
            case "absolute":
                return absolute
            case "squared":
                return squared
            case "both":
                return absolute + squared
            case "lagrangian":
                # a copy, because `ascend` changes the multiplier before the gradient is taken
                return self.multipliers[STACKS.index(stack)].clone() * distance + squared

    @torch.no_grad()
    def ascend(
        self, sparsity: Float[Tensor, ""], *, target: float | Float[Tensor, ""], stack: Stack, share: float = 1.0
    ) -> None:
        """Move the stack's multiplier along its violation: dual ascent, once an optimiser step.

        `share` is that of the step's rows which `sparsity` is of: the parts of a step together move it once.
        """
        if self.config.form == "lagrangian":
            rate = self.config.multiplier_lr * share
            self.multipliers[STACKS.index(stack)] += rate * (target - sparsity.detach())
