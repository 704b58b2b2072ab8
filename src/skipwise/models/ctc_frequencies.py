"""How a fresh CTC head begins.

Shapes: V vocabulary, blank included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import nn

BLANK: Final = 0
"""Index of the blank in every CTC head here."""
_BLANK_SHARE = 0.8
"""Of the frames: a token every five of them, 0.2 s at 25 frames a second."""
_LEAST_COUNT = 0.1
"""Of a token that is not said, but may be."""


@torch.no_grad()
def know_frequencies(head: nn.Linear, texts: Iterable[Sequence[int]]) -> None:
    """Let a CTC head begin with how often each token is said, and blank, whatever it hears.

    Else the first steps teach the encoder to say it: a state that is the same in all frames and drowns the speech.
    """
    counts = torch.full((head.out_features,), _LEAST_COUNT)
    for tokens in texts:
        counts += torch.bincount(torch.tensor(tokens, dtype=torch.long), minlength=len(counts))
    counts[BLANK] = 0
    counts *= (1 - _BLANK_SHARE) / counts.sum()
    counts[BLANK] = _BLANK_SHARE
    head.weight.zero_()
    head.bias.copy_(counts.log())
