"""A decoder pass whose layers decide their own gates, over whole prefixes.

Shapes: B rows, L positions, V vocabulary.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.layerwise import LayerwiseGates
from skipwise.models.engine.branches import Source
from skipwise.models.owsm.decoder import OwsmDecoder
from skipwise.models.owsm.positions import add_positions
from skipwise.models.prompt import mean_over


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
        hidden = layer(hidden, source, gates.layer(index, mean_over(hidden, deciding)))
    return decoder.lm_head(decoder.final_norm(hidden))
