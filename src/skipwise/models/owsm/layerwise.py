"""The decoder under gates that each layer decides from its own input.

A layer's decision is made once an utterance, from the positions that come first in every prompt: `<sos>`, language and
task. What follows cannot change them, so a plan that is decided on the prompt is the plan of the whole.

Shapes: B rows, L positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.layerwise import LayerwiseGates
from skipwise.models.engine.branches import Source
from skipwise.models.owsm.decoder import OwsmDecoder
from skipwise.models.owsm.positions import add_positions

_DECIDING: Final = 3
"""`<sos>`, language, task; fewer where the language is not known yet."""


def prompt_positions(tokens: Int[Tensor, "batch length"], start_token_id: int) -> Bool[Tensor, "batch length"]:
    """Return which positions decide: up to three from `<sos>` on, whatever previous text is before it.

    From the first position on in a row without `<sos>`.
    """
    is_start = tokens == start_token_id
    is_start[:, 0] |= ~is_start.any(dim=1)
    since_start = is_start.cumsum(dim=1).cumsum(dim=1)
    return (since_start >= 1) & (since_start <= _DECIDING)


def decode_layerwise(
    decoder: OwsmDecoder,
    tokens: Int[Tensor, "batch length"],
    source: Source,
    gates: LayerwiseGates,
    deciding: Bool[Tensor, "batch length"],
) -> Float[Tensor, "batch length vocab"]:
    """Return the logits after each of `tokens`, whole prefixes, with each layer's gates decided as it comes."""
    hidden = decoder.dropout(add_positions(decoder.embed_tokens(tokens)))
    for index, layer in enumerate(decoder.layers):
        hidden = layer(hidden, source, gates.layer(index, _mean(hidden, deciding)))
    return decoder.lm_head(decoder.final_norm(hidden))


def _mean(
    hidden: Float[Tensor, "batch length dim"], counted: Bool[Tensor, "batch length"]
) -> Float[Tensor, "batch dim"]:
    weights = counted.to(hidden.dtype)
    return torch.einsum("bld,bl->bd", hidden, weights) / weights.sum(dim=1, keepdim=True)
