"""Key/value caches of cached decoding, for plans decided once per utterance.

Shapes: R rows for which the layer's branch is open, H heads, K keys, C head width.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

KeyValues = tuple[Float[Tensor, "rows heads keys head_dim"], Float[Tensor, "rows heads keys head_dim"]]
AllKeyValues = tuple[Float[Tensor, "rows heads all_keys head_dim"], Float[Tensor, "rows heads all_keys head_dim"]]


@final
class SelfAttentionCache:
    """Keys and values of all positions so far, of one layer; it grows by doubling."""

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0

    def append(self, new: KeyValues) -> AllKeyValues:
        """Store the keys and values of new positions and return those of all positions."""
        end = self.length + new[0].shape[2]
        self._reserve(end, like=new[0])
        assert self._keys is not None and self._values is not None
        self._keys[:, :, self.length : end] = new[0]
        self._values[:, :, self.length : end] = new[1]
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]

    def _reserve(self, length: int, *, like: Tensor) -> None:
        if self._keys is not None and self._keys.shape[2] >= length:
            return
        capacity = 1 << max(5, (length - 1).bit_length())
        self._keys, self._values = (self._grown(old, capacity, like) for old in (self._keys, self._values))

    def _grown(self, old: Tensor | None, capacity: int, like: Tensor) -> Tensor:
        rows, heads, _, width = like.shape
        new = like.new_empty(rows, heads, capacity, width)
        if old is not None:
            new[:, :, : self.length] = old[:, :, : self.length]
        return new


@final
class DecoderCache:
    """Caches of every decoder layer. A layer whose branch is never open stores nothing.

    The plan of a row must stay the same for all steps: rows whose branch is closed are not stored.
    """

    def __init__(self, num_layers: int) -> None:
        self.self_attn = [SelfAttentionCache() for _ in range(num_layers)]
        self.src_attn: list[KeyValues | None] = [None] * num_layers
        self.length = 0
        """Positions seen, prompt included."""

    def advance(self, num_positions: int) -> None:
        """Count positions that every layer has seen, whether its self-attention was open or not."""
        self.length += num_positions


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Tensor | None:
    """Return the mask [1, 1, Q, K] for the last Q of K positions; None for a single query, which sees all."""
    if num_queries == 1:
        return None
    full = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return full.tril(num_keys - num_queries)[None, None]
