"""Multi-head attention of OWSM with keys and values that may come from a cache.

Shapes: B rows, Q queries, K keys, H heads, D width.
"""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

KeyValues = tuple[Float[Tensor, "batch heads keys head_dim"], Float[Tensor, "batch heads keys head_dim"]]


@final
class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention without relative positions (`selfattn` with `abs_pos` in ESPnet)."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)

    def key_values(self, states: Float[Tensor, "batch keys dim"]) -> KeyValues:
        """Return the keys and values of `states`."""
        return self._heads(self.k_proj(states)), self._heads(self.v_proj(states))

    def forward(
        self,
        queries: Float[Tensor, "batch queries dim"],
        key_values: KeyValues,
        mask: Bool[Tensor, "#batch 1 #queries keys"] | None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return what `queries` read; `mask` is True where a key may be read, None where all may."""
        context = F.scaled_dot_product_attention(
            self._heads(self.q_proj(queries)), *key_values, mask, self.dropout if self.training else 0.0
        )
        return self.out_proj(context.transpose(1, 2).flatten(2))

    def _heads(self, projected: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch heads time head_dim"]:
        return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
