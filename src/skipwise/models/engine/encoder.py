"""The branches of a pre-norm Transformer encoder layer, packed for inference.

Shapes: R rows that a branch runs on, T frames, H heads, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skipwise.models.engine.branches import Norm, PackedFeedForward
from skipwise.models.precision import Projection


@final
@dataclass(frozen=True, eq=False)
class PackedEncoderAttention:
    """Self-attention over all frames; queries, keys and values come from one product."""

    norm: Norm
    qkv: Projection
    out: Projection
    num_heads: int

    def __call__(self, hidden: Float[Tensor, "rows time dim"]) -> Float[Tensor, "rows time dim"]:
        projected = self.qkv(self.norm(hidden)).unflatten(-1, (3, self.num_heads, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind()
        return self.out(F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


@final
@dataclass(frozen=True, eq=False)
class PackedEncoderLayer:
    """An encoder layer; its sites are `self_attn` and `ffn`."""

    self_attn: PackedEncoderAttention
    ffn: PackedFeedForward
