"""transformers' caches under plans: rows that a branch does not run on, and layers whose branch runs on none.

transformers counts positions by the cache of layer 0, reorders all layers with the same beams and splits them by rows.
So every layer keeps all rows and the right length, whatever its gates: closed rows hold zeros that nobody reads, and a
closed layer a placeholder of one number a position.

Shapes: B rows, R open rows among them, H heads, N positions, C head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, EncoderDecoderCache

from skipwise.errors import SkipwiseError


def keep_length(
    cache: EncoderDecoderCache | None, layer_index: int, hidden: Float[Tensor, "batch new dim"], kind: str
) -> None:
    """Let the cache of a layer whose attention (`self_attn` or `src_attn`) runs on no row have its length all the same.

    transformers reads positions from it and splits it by rows; nothing is computed, and a position takes one number.
    """
    if cache is None:
        return
    num_rows, num_new = hidden.shape[:2]
    if kind == "self_attn":
        nothing = hidden.new_zeros(num_rows, 1, num_new, 1)
        cache.self_attention_cache.update(nothing, nothing, layer_index)
    elif not cache.is_updated.get(layer_index):
        nothing = hidden.new_zeros(num_rows, 1, 1, 1)
        cache.cross_attention_cache.update(nothing, nothing, layer_index)
        cache.is_updated[layer_index] = True


@final
class OpenRowsCache(EncoderDecoderCache):
    """What attention that runs on some rows sees of a cache of all rows."""

    def __init__(self, cache: EncoderDecoderCache, rows: Int[Tensor, " open_rows"], num_rows: int) -> None:
        self.self_attention_cache = _OpenRows(cache.self_attention_cache, rows, num_rows)  # type: ignore[assignment]
        self.cross_attention_cache = _OpenRows(cache.cross_attention_cache, rows, num_rows)  # type: ignore[assignment]
        self.is_updated = cache.is_updated


@final
class _OpenRows(Cache):
    """Some rows of one cache: written with zeros in the others, read without them."""

    def __init__(self, cache: Cache, rows: Int[Tensor, " open_rows"], num_rows: int) -> None:
        self._cache, self._rows, self._num_rows = cache, rows, num_rows

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def layers(self) -> Sequence[Any]:  # pyrefly: ignore[bad-override]
        return _OpenLayers(self._cache, self._rows)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        keys, values = self._cache.update(self._spread(key_states), self._spread(value_states), layer_idx)
        return keys[self._rows], values[self._rows]

    def _spread(
        self, states: Float[Tensor, "open_rows heads new head_dim"]
    ) -> Float[Tensor, "batch heads new head_dim"]:
        return states.new_zeros(self._num_rows, *states.shape[1:]).index_copy(0, self._rows, states)


@final
class _OpenLayers(Sequence[Any]):
    """The layers of a cache with some rows only, cut when they are asked for."""

    def __init__(self, cache: Cache, rows: Int[Tensor, " open_rows"]) -> None:
        self._cache, self._rows = cache, rows

    def __len__(self) -> int:
        return len(self._cache)

    def __getitem__(self, index: Any) -> Any:
        layer: Any = self._cache.layers[index]
        return _OpenLayer(layer.keys[self._rows], layer.values[self._rows])


@final
class _OpenLayer:
    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values


def cache_of_rows(
    cache: Cache | None, rows: Int[Tensor, " open_rows"] | None, num_rows: int
) -> EncoderDecoderCache | None:
    """Return what attention over some rows reads and extends; the cache itself where it runs on all.

    Raises:
        SkipwiseError: for a cache that has no part for the encoder's states.
    """
    if cache is None:
        return None
    if not isinstance(cache, EncoderDecoderCache):
        raise SkipwiseError(
            f"past_key_values of a gated Whisper must be an EncoderDecoderCache, got a {type(cache).__name__}. "
            "Leave it out, or make one of two DynamicCaches."
        )
    return cache if rows is None else OpenRowsCache(cache, rows, num_rows)


def mask_of_rows(mask: object, rows: Int[Tensor, " open_rows"] | None) -> Any:
    """Return an attention mask for some rows.

    Raises:
        SkipwiseError: if it cannot be cut by rows, as flex attention's.
    """
    if rows is None or mask is None:
        return mask
    if not isinstance(mask, torch.Tensor):
        raise SkipwiseError(
            "rows with different plans cannot share flex attention's mask. Load the model with "
            'attn_implementation="sdpa", or give all rows one plan.'
        )
    return mask if mask.shape[0] == 1 else mask[rows]
