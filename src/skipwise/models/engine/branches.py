"""The branches of a decoder layer, packed for inference: a norm, few large products, attention over a cache.

Shapes: B utterances, K beams of each, R rows that a branch runs on, L new positions, H heads, C head width, D width,
T encoder frames. A row is an utterance with all its beams under a plan that is decided once, [R, K * L, D], and a
hypothesis under step plans, [R, L, D].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating.branch import Rows, select_rows
from skipwise.models.cache import (
    KeyValues,
    LazySelfAttentionCache,
    LazySourceAttentionCache,
    SelfAttentionCache,
    SourceAttentionCache,
    along_frames,
    causal_mask,
)
from skipwise.models.precision import Projection


@final
class Norm:
    """Layer norm over the width."""

    def __init__(self, layer: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._shape, self._eps = layer.normalized_shape, layer.eps
        self._weight, self._bias = layer.weight.detach().to(dtype), layer.bias.detach().to(dtype)

    def __call__(self, states: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        return F.layer_norm(states, self._shape, self._weight, self._bias, self._eps)


@final
@dataclass(frozen=True, eq=False)
class Source:
    """The encoder's states as source attention reads them: the mask is made once a batch, not once a step."""

    states: Float[Tensor, "batch time dim"]
    mask: Bool[Tensor, "batch 1 1 time"] | None
    """True for the frames of each utterance; None where all take part."""

    @classmethod
    def of(cls, encoded: SpeechStates) -> Source:
        """Return what source attention reads of an encoder's states."""
        return cls(encoded.states, encoded.mask()[:, None, None, :] if encoded.is_padded() else None)

    def keep(self, utterances: Int[Tensor, " kept"]) -> Source:
        """Return the states of some utterances."""
        return Source(self.states[utterances], None if self.mask is None else self.mask[utterances])


@final
@dataclass(frozen=True, eq=False)
class PackedSelfAttention:
    """Causal self-attention over the tokens so far; queries, keys and values come from one product."""

    norm: Norm
    qkv: Projection
    out: Projection
    num_heads: int

    @property
    def num_weight_bytes(self) -> int:
        """Bytes of weights that a step reads."""
        return self.qkv.num_weight_bytes + self.out.num_weight_bytes

    def __call__(
        self, hidden: Float[Tensor, "rows positions dim"], rows: Rows, cache: SelfAttentionCache, num_beams: int
    ) -> Float[Tensor, "rows positions dim"]:
        """Run on utterances whose plan is decided once: `rows` are the same at every step."""
        num_positions = hidden.shape[1]
        own = hidden.view(hidden.shape[0] * num_beams, num_positions // num_beams, -1)  # a beam sees itself alone
        queries, *new = self._heads(self.qkv(self.norm(own)))
        context = self._attend(queries, cache.append((new[0], new[1]), rows))
        return self.out(context).view(hidden.shape)

    def lazily(
        self, hidden: Float[Tensor, "rows new dim"], rows: Rows, cache: LazySelfAttentionCache
    ) -> Float[Tensor, "rows new dim"]:
        """Run on the hypotheses `rows`, which may be others at the next step; what they lack is projected with it."""
        missing = cache.missing(rows, hidden.shape[1])
        if missing is None:
            queries, keys, values = self._heads(self.qkv(self.norm(hidden)))
        else:
            num_rows, num_new, dim = hidden.shape
            together = self.qkv(self.norm(torch.cat([hidden.reshape(-1, dim), missing.hidden])))
            queries, keys, values = self._heads(together[: num_rows * num_new].view(num_rows, num_new, -1))
            _, old_keys, old_values = together[num_rows * num_new :].unflatten(-1, (3, self.num_heads, -1)).unbind(1)
            cache.fill(missing, old_keys, old_values)
        return self.out(self._attend(queries, cache.append((keys, values), rows)))

    def at_position(
        self,
        hidden: Float[Tensor, "rows 1 dim"],
        stored: KeyValues,
        places: Int[Tensor, " room"],
        position: Int[Tensor, " 1"],
    ) -> Float[Tensor, "rows 1 dim"]:
        """Run on hypotheses at `position`, without the CPU knowing which it is: for captured graphs.

        `stored` are keys and values in place; those at `places` up to the position are read.
        """
        queries, *new = self._heads(self.qkv(self.norm(hidden)))
        for into, at_position in zip(stored, new, strict=True):
            into.index_copy_(2, position, at_position)
        keys, values = (tensor[:, :, : places.shape[0]] for tensor in stored)
        context = F.scaled_dot_product_attention(queries, keys, values, (places <= position)[None, None, None])
        return self.out(context.transpose(1, 2).flatten(2))

    def _attend(self, queries: Tensor, key_values: KeyValues) -> Float[Tensor, "own new dim"]:
        mask = causal_mask(queries.shape[2], key_values[0].shape[2], queries.device)
        return F.scaled_dot_product_attention(queries, *key_values, mask).transpose(1, 2).flatten(2)

    def _heads(self, projected: Float[Tensor, "own new thrice_dim"]) -> tuple[Tensor, ...]:
        return projected.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()


@final
@dataclass(frozen=True, eq=False)
class PackedSourceAttention:
    """Attention over the encoder's states; keys and values are projected once an utterance, if ever."""

    norm: Norm
    query: Projection
    key: Projection
    value: Projection
    out: Projection
    num_heads: int

    @property
    def num_weight_bytes(self) -> int:
        """Bytes of weights that a step reads; those of keys and values are read once an utterance, and not counted."""
        return self.query.num_weight_bytes + self.out.num_weight_bytes

    def __call__(
        self, hidden: Float[Tensor, "rows positions dim"], rows: Rows, cache: SourceAttentionCache, source: Source
    ) -> Float[Tensor, "rows positions dim"]:
        """Run on utterances whose plan is decided once: the beams of each read the same keys and values."""
        key_values = cache.key_values
        if key_values is None:
            key_values = cache.store(self._key_values(select_rows(source.states, rows)), rows)
        return self.over(hidden, key_values, None if source.mask is None else select_rows(source.mask, rows))

    def over(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        key_values: KeyValues,
        mask: Bool[Tensor, "rows 1 1 time"] | None = None,
    ) -> Float[Tensor, "rows positions dim"]:
        """Run on utterances over given keys and values."""
        return self.out(self._attend(self.query(self.norm(hidden)), key_values, mask))

    def lazily(
        self,
        hidden: Float[Tensor, "rows new dim"],
        rows: Rows,
        cache: LazySourceAttentionCache,
        source: Source,
        num_beams: int,
    ) -> Float[Tensor, "rows new dim"]:
        """Run on the hypotheses `rows`; those of an utterance attend together."""
        if rows is None and cache.is_complete:
            return self.out(self._attend_all(self.query(self.norm(hidden)), cache, source))
        batch_size, (_, num_new, dim) = source.states.shape[0], hidden.shape
        # on the CPU: it says what is to be launched
        owners = (torch.arange(batch_size * num_beams) if rows is None else rows.cpu()) // num_beams
        utterances, counts = owners.unique_consecutive(return_counts=True)
        unprojected = cache.unprojected(utterances, batch_size)
        if len(unprojected):
            cache.store(self._key_values(source.states[unprojected.to(hidden.device)]), unprojected)
        queries = self.query(self.norm(hidden))
        if rows is None:
            return self.out(self._attend_all(queries, cache, source))
        keys, values = cache.key_values
        context = [
            self._attend(
                own.reshape(1, -1, dim),
                (keys[one : one + 1], values[one : one + 1]),
                None if source.mask is None else source.mask[one : one + 1],
            ).view(-1, num_new, dim)
            for one, own in zip(utterances.tolist(), queries.split(counts.tolist()), strict=True)
        ]
        return self.out(torch.cat(context))

    def _attend_all(
        self, queries: Float[Tensor, "rows new dim"], cache: LazySourceAttentionCache, source: Source
    ) -> Float[Tensor, "rows new dim"]:
        """Attend with the hypotheses of every utterance; those of one attend together."""
        grouped = queries.view(source.states.shape[0], -1, queries.shape[2])
        return self._attend(grouped, cache.key_values, source.mask).view(queries.shape)

    def _key_values(self, states: Float[Tensor, "rows time dim"]) -> KeyValues:
        heads = self._heads(self.key(states)), self._heads(self.value(states))
        if _attends_by_products(heads[0]):
            return along_frames(heads[0]), along_frames(heads[1])
        return heads[0].contiguous(), heads[1].contiguous()

    def _attend(
        self, queries: Float[Tensor, "rows positions dim"], key_values: KeyValues, mask: Tensor | None
    ) -> Tensor:
        attend = _attention_by_products if _attends_by_products(key_values[0]) else F.scaled_dot_product_attention
        return attend(self._heads(queries), *key_values, mask).transpose(1, 2).flatten(2)

    def _heads(self, projected: Float[Tensor, "rows time dim"]) -> Float[Tensor, "rows heads time head_dim"]:
        return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


@final
@dataclass(frozen=True, eq=False)
class PackedFeedForward:
    """W2 act(W1 norm(x))."""

    norm: Norm
    inner: Projection
    out: Projection
    activation: Callable[[Tensor], Tensor]

    @property
    def num_weight_bytes(self) -> int:
        """Bytes of weights that a step reads."""
        return self.inner.num_weight_bytes + self.out.num_weight_bytes

    def __call__(self, hidden: Float[Tensor, "rows positions dim"]) -> Float[Tensor, "rows positions dim"]:
        return self.out(self.activation(self.inner(self.norm(hidden))))


def _attends_by_products(keys: Float[Tensor, "rows heads time head_dim"]) -> bool:
    """Few queries over many frames: there plain products take 0.75 to 0.9 of the time of torch's kernel for CPUs."""
    return keys.shape[2] >= _MANY_FRAMES and keys.device.type == "cpu" and keys.dtype == torch.float32


def _attention_by_products(
    queries: Float[Tensor, "rows heads positions head_dim"],
    keys: Float[Tensor, "rows heads time head_dim"],
    values: Float[Tensor, "rows heads time head_dim"],
    mask: Bool[Tensor, "rows 1 1 time"] | None,
) -> Float[Tensor, "rows heads positions head_dim"]:
    """Attention over keys and values that lie in memory frame after frame: see `along_frames`."""
    scale = queries.shape[-1] ** -0.5
    scores = torch.bmm((queries * scale).flatten(0, 1), keys.flatten(0, 1).mT)
    if mask is not None:
        scores.view(*queries.shape[:-1], -1).masked_fill_(~mask, -torch.inf)
    weights, values_of_heads = scores.softmax(dim=-1), values.flatten(0, 1)
    if queries.shape[2] == 1:  # a product with one vector is fastest with the matrix first
        return torch.bmm(values_of_heads.mT, weights.mT).view_as(queries)
    return torch.bmm(weights, values_of_heads).view_as(queries)


_MANY_FRAMES = 500
