"""Key/value caches of cached decoding with beams, for plans decided once per utterance.

Shapes: B utterances, R of them for which a layer's branch is open, K beams of each, H heads, N positions, C head width.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.gating.branch import Rows, select_rows

KeyValues = tuple[Float[Tensor, "rows heads keys head_dim"], Float[Tensor, "rows heads keys head_dim"]]
AllKeyValues = tuple[Float[Tensor, "rows heads all_keys head_dim"], Float[Tensor, "rows heads all_keys head_dim"]]


@final
class SelfAttentionCache:
    """Keys and values of all positions so far, of one layer, [R * K, H, N, C]; it grows by doubling."""

    def __init__(self) -> None:
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._rows: Rows = None
        self.length = 0

    def append(self, new: KeyValues, rows: Rows) -> AllKeyValues:
        """Store the keys and values of new positions and return those of all; `rows` are the utterances they are of."""
        end = self.length + new[0].shape[2]
        self._reserve(end, like=new[0])
        assert self._keys is not None and self._values is not None
        self._keys[:, :, self.length : end] = new[0]
        self._values[:, :, self.length : end] = new[1]
        self.length, self._rows = end, rows
        return self._keys[:, :, :end], self._values[:, :, :end]

    def reorder(self, parents: Int[Tensor, "batch new_beams"], num_beams: int) -> None:
        """Give each utterance the beams `parents` out of its present `num_beams`."""
        parents = select_rows(parents, self._rows)
        first = torch.arange(parents.shape[0], device=parents.device)[:, None] * num_beams
        self._select((first + parents).flatten())

    def keep(self, utterances: Int[Tensor, " kept"], num_beams: int) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        chosen, self._rows = _kept_rows(self._rows, utterances)
        beams = torch.arange(num_beams, device=chosen.device)
        self._select((chosen[:, None] * num_beams + beams).flatten())

    def _select(self, rows: Int[Tensor, " rows"]) -> None:
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
class SourceAttentionCache:
    """Keys and values of the encoder's states, of one layer, [R, H, T, C]: an utterance's beams share them."""

    def __init__(self) -> None:
        self.key_values: KeyValues | None = None
        self._rows: Rows = None

    def store(self, key_values: KeyValues, rows: Rows) -> KeyValues:
        """Keep what was projected for the utterances `rows`, and return it."""
        self.key_values, self._rows = key_values, rows
        return key_values

    def keep(self, utterances: Int[Tensor, " kept"]) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        if self.key_values is not None:
            chosen, self._rows = _kept_rows(self._rows, utterances)
            self.key_values = (self.key_values[0][chosen], self.key_values[1][chosen])


@final
class DecoderCache:
    """Caches of every decoder layer. A layer whose branch is never open stores nothing.

    The plan of an utterance must stay the same for all steps: rows whose branch is closed are not stored.
    """

    def __init__(self, num_layers: int) -> None:
        self.self_attn = [SelfAttentionCache() for _ in range(num_layers)]
        self.src_attn = [SourceAttentionCache() for _ in range(num_layers)]
        self.num_beams = 1
        """Hypotheses of each utterance."""
        self.length = 0
        """Positions seen, prompt included."""

    def advance(self, num_positions: int) -> None:
        """Count positions that every layer has seen, whether its self-attention was open or not."""
        self.length += num_positions

    def reorder(self, parents: Int[Tensor, "batch new_beams"]) -> None:
        """Make beam k of an utterance what its beam `parents[k]` was; there may be more beams than before."""
        for layer in self.self_attn:
            layer.reorder(parents, self.num_beams)
        self.num_beams = parents.shape[1]

    def keep(self, utterances: Int[Tensor, " kept"]) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        for layer in self.self_attn:
            layer.keep(utterances, self.num_beams)
        for layer in self.src_attn:
            layer.keep(utterances)


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Tensor | None:
    """Return the mask [1, 1, Q, K] for the last Q of K positions; None for a single query, which sees all."""
    if num_queries == 1:
        return None
    full = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return full.tril(num_keys - num_queries)[None, None]


def _kept_rows(rows: Rows, utterances: Int[Tensor, " kept"]) -> tuple[Int[Tensor, " chosen"], Tensor | None]:
    """Which of the stored `rows` are among `utterances`, and their new numbers."""
    if rows is None:
        return utterances, None
    stays = torch.isin(rows, utterances)
    return stays.nonzero()[:, 0], torch.searchsorted(utterances, rows[stays])
