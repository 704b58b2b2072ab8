"""Which positions of a decoder decide the gates of its layers, where layers decide for themselves.

A layer's decision is made once an utterance, from the positions that come first in every prompt: start, language and
task. What follows cannot change them, so a plan that is decided on the prompt is the plan of the whole.

Shapes: B rows, L positions, D width.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_DECIDING: Final = 3
"""Start, language, task; fewer where the language is not known yet."""


def prompt_positions(tokens: Int[Tensor, "batch length"], start_token_id: int) -> Bool[Tensor, "batch length"]:
    """Return which positions decide: up to three from the start token on, whatever previous text is before it.

    From the first position on in a row without a start token.
    """
    is_start = tokens == start_token_id
    is_start[:, 0] |= ~is_start.any(dim=1)
    since_start = is_start.cumsum(dim=1).cumsum(dim=1)
    return (since_start >= 1) & (since_start <= _DECIDING)


def mean_over(
    hidden: Float[Tensor, "batch length dim"], counted: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch dim"]:
    """Return the mean of the states at the positions that count."""
    weights = counted.to(hidden.dtype)
    return torch.einsum("bld,bl->bd", hidden, weights) / weights.sum(dim=1, keepdim=True)
