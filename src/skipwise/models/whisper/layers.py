"""Whisper's layers with gates: the work of transformers' own, of which closed branches are left out.

The functions run any layer, gated or not, and take their gates as arguments. The two classes are what a layer's class
is swapped for while gates are on a model that transformers runs: the same weights, the same keys.

Shapes: B rows, T frames, L positions, D width.
Source: transformers 5.23, `WhisperEncoderLayer`, `WhisperDecoderLayer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache
from transformers.models.whisper.modeling_whisper import WhisperDecoderLayer, WhisperEncoderLayer

from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, gate_of, is_closed, select_rows
from skipwise.models.whisper.attentions import fill_collected
from skipwise.models.whisper.open_rows import cache_of_rows, keep_length, mask_of_rows

ENCODER_KINDS = ("self_attn", "ffn")
DECODER_KINDS = ("self_attn", "src_attn", "ffn")

_FOLLOWED = "_skipwise_followed"
_GATES = "layer_gates"


class LayerGatesSource(ABC):
    """What gated layers ask for their gates when they are called."""

    @abstractmethod
    def encoder_layer(self, index: int, hidden: Float[Tensor, "batch time dim"]) -> LayerGates:
        """Return the gates of an encoder layer, into which `hidden` goes."""

    @abstractmethod
    def decoder_layer(self, index: int, hidden: Float[Tensor, "batch new dim"]) -> LayerGates:
        """Return the gates of a decoder layer, into which `hidden` goes."""


@final
class GatedWhisperEncoderLayer(WhisperEncoderLayer):
    """An encoder layer that follows its model's gates."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # asked here, not in forward, which gradient checkpointing runs again when the plan may be another
        source, index = self.__dict__[_FOLLOWED]
        return super().__call__(*args, **{_GATES: source.encoder_layer(index, args[0]), **kwargs})

    def forward(
        self, hidden_states: Tensor, attention_mask: Any = None, layer_gates: LayerGates = ALL_OPEN, **kwargs: Any
    ) -> Tensor:
        return run_encoder_layer(self, hidden_states, layer_gates, attention_mask, **kwargs)


@final
class GatedWhisperDecoderLayer(WhisperDecoderLayer):
    """A decoder layer that follows its model's gates."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        source, index = self.__dict__[_FOLLOWED]
        return super().__call__(*args, **{_GATES: source.decoder_layer(index, args[0]), **kwargs})

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Any = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Any = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = True,
        layer_gates: LayerGates = ALL_OPEN,
        **kwargs: Any,
    ) -> Tensor:
        return run_decoder_layer(
            self,
            hidden_states,
            layer_gates,
            encoder_hidden_states,
            attention_mask=attention_mask,
            cache=past_key_values,
            **kwargs,
        )


def swap_in(layer: nn.Module, source: LayerGatesSource, index: int) -> None:
    """Make a layer of Whisper a gated one, in place."""
    assert type(layer) in (WhisperEncoderLayer, WhisperDecoderLayer)
    is_encoder = isinstance(layer, WhisperEncoderLayer)
    layer.__class__ = GatedWhisperEncoderLayer if is_encoder else GatedWhisperDecoderLayer
    layer.__dict__[_FOLLOWED] = (source, index)


def swap_out(layer: nn.Module) -> None:
    """Make a gated layer what it was."""
    is_encoder = isinstance(layer, GatedWhisperEncoderLayer)
    layer.__class__ = WhisperEncoderLayer if is_encoder else WhisperDecoderLayer
    layer.__dict__.pop(_FOLLOWED)


def run_encoder_layer(
    layer: WhisperEncoderLayer,
    hidden: Float[Tensor, "batch time dim"],
    gates: LayerGates,
    attention_mask: Any = None,
    **kwargs: Any,
) -> Float[Tensor, "batch time dim"]:
    """Return what a layer makes of `hidden` under its gates."""

    def self_attn(own: Tensor, rows: Rows) -> Tensor:
        normed = layer.self_attn_layer_norm(own)
        found, *_ = layer.self_attn(normed, attention_mask=mask_of_rows(attention_mask, rows), **kwargs)
        return F.dropout(found, p=layer.dropout, training=layer.training)

    gate = gate_of(gates, "self_attn")
    added = add_branch(hidden, self_attn, gate)
    fill_collected("attentions", layer.self_attn, gate, hidden, lambda: hidden.shape[1])
    hidden = add_branch(added, lambda own, _: _feed_forward(layer, own), gate_of(gates, "ffn"))
    if hidden.dtype == torch.float16:
        limit = torch.finfo(hidden.dtype).max - 1000
        hidden = hidden.clamp(min=-limit, max=limit)
    return hidden


def run_decoder_layer(
    layer: WhisperDecoderLayer,
    hidden: Float[Tensor, "batch new dim"],
    gates: LayerGates,
    encoded: Float[Tensor, "batch time dim"] | None,
    *,
    attention_mask: Any = None,
    cache: Cache | None = None,
    **kwargs: Any,
) -> Float[Tensor, "batch new dim"]:
    """Return what a layer makes of `hidden`, new positions, under its gates; `cache` is read and extended."""
    num_rows, index = hidden.shape[0], int(layer.self_attn.layer_idx or 0)
    whole = cache_of_rows(cache, None, num_rows)

    def self_attn(own: Tensor, rows: Rows) -> Tensor:
        found, *_ = layer.self_attn(
            layer.self_attn_layer_norm(own),
            past_key_values=cache_of_rows(cache, rows, num_rows),
            attention_mask=mask_of_rows(attention_mask, rows),
            **kwargs,
        )
        return F.dropout(found, p=layer.dropout, training=layer.training)

    def src_attn(own: Tensor, rows: Rows) -> Tensor:
        assert encoded is not None
        found, *_ = layer.encoder_attn(
            layer.encoder_attn_layer_norm(own),
            key_value_states=select_rows(encoded, rows),
            attention_mask=None,
            past_key_values=cache_of_rows(cache, rows, num_rows),
            **kwargs,
        )
        return F.dropout(found, p=layer.dropout, training=layer.training)

    gate = gate_of(gates, "self_attn")
    entered, hidden = hidden, add_branch(hidden, self_attn, gate)
    if is_closed(gate):
        keep_length(whole, index, entered, "self_attn")
    fill_collected(
        "attentions",
        layer.self_attn,
        gate,
        entered,
        lambda: entered.shape[1] if whole is None else int(whole.get_seq_length(index)),
    )
    if encoded is not None:
        gate = gate_of(gates, "src_attn")
        hidden = add_branch(hidden, src_attn, gate)
        if is_closed(gate):
            keep_length(whole, index, entered, "src_attn")
        fill_collected("cross_attentions", layer.encoder_attn, gate, entered, lambda: encoded.shape[1])
    return add_branch(hidden, lambda own, _: _feed_forward(layer, own), gate_of(gates, "ffn"))


def _feed_forward(layer: WhisperEncoderLayer | WhisperDecoderLayer, own: Tensor) -> Tensor:
    inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(own)))
    inner = F.dropout(inner, p=layer.activation_dropout, training=layer.training)
    return F.dropout(layer.fc2(inner), p=layer.dropout, training=layer.training)
