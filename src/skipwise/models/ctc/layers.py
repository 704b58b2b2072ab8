"""Gated forms of transformers' encoders and their layers, made for whichever class a model has.

Norms that stand behind a residual (the form without `do_stable_layer_norm`) belong to no branch: they always run.

Shapes: B rows, T frames, D width.
Source: transformers 5.23, `modeling_wav2vec2`, `modeling_hubert`, `modeling_wavlm`, `modeling_parakeet`, whose modules
do the work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from skipwise.gating.branch import LayerGates, Rows, add_branch, all_open, gate_of, select_rows
from skipwise.gating.layerwise import StackGates, gates_of_layer
from skipwise.models.ctc.call import CtcCall, running_call

_GATES = "skipwise_gates"


class LayerGateSource:
    """The gates of one pass, layer by layer; travels as an argument, so that recomputing layers sees the same."""

    def __init__(self, call: CtcCall, layers: list[nn.Module]) -> None:
        self._call, self._layers = call, layers
        self._gates: StackGates = None
        self._known: dict[int, LayerGates] = {}

    def decide(self, projected: Tensor) -> None:
        """Decide from the projected features, before positions."""
        self._gates = self._call.gates(projected, len(self._layers))

    def of(self, layer: nn.Module, hidden: Tensor) -> LayerGates:
        """Return the gates of a layer from what comes into it."""
        index = next(i for i, own in enumerate(self._layers) if own is layer)
        if index not in self._known:
            self._known[index] = gates_of_layer(self._gates, index, lambda: self._call.pooled(hidden))
        return self._known[index]


class GatedEncoder(nn.Module):
    """An encoder that decides its gates from what it is given, and hands them to its layers."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **rest: Any) -> Any:
        """Return what the encoder does, its layers run under gates."""
        source = LayerGateSource(running_call(), list(self.get_submodule("layers").children()))
        source.decide(hidden_states)
        return super().forward(hidden_states, attention_mask=attention_mask, **{_GATES: source}, **rest)


class GatedHearingEncoder(nn.Module):
    """The same for an encoder that is given features, and makes itself what its first layer is given (Parakeet)."""

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None, **rest: Any) -> Any:
        """Return what the encoder does, its layers run under gates."""
        call = running_call()
        call.on_projected = (source := LayerGateSource(call, list(self.get_submodule("layers").children()))).decide
        return super().forward(input_features, attention_mask=attention_mask, **{_GATES: source}, **rest)


class GatedPositions(nn.Module):
    """What such an encoder shows its projected features to, outside of the layers, which may be computed again."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the positions; gates are decided."""
        running_call().on_projected(hidden_states)
        return super().forward(hidden_states)


class GatedLayer(nn.Module, ABC):
    """A layer whose branches may be skipped: `self_attn` and `ffn`."""

    attention: nn.Module
    feed_forward: nn.Module
    layer_norm: nn.Module
    final_layer_norm: nn.Module
    dropout: nn.Module

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **rest: Any) -> Any:
        """Return the layer's output; with WavLM's position bias where the model has one."""
        gates = rest.pop(_GATES).of(self, hidden_states)
        if all_open(gates):
            return super().forward(hidden_states, attention_mask=attention_mask, **rest)
        bias = self.position_bias(hidden_states, rest)
        inputs = rest if bias is None else rest | {"position_bias": bias}

        def attend(own: Tensor, rows: Rows) -> Tensor:
            mine = (
                {**inputs, "position_bias": _of_heads(bias, rows, len(hidden_states))} if bias is not None else inputs
            )
            return self.dropout(self.attention(own, attention_mask=_of_rows(attention_mask, rows), **mine)[0])

        hidden = self.run(hidden_states, attend, gates)
        return hidden if bias is None else (hidden, bias)

    @abstractmethod
    def run(self, hidden: Tensor, attend: Any, gates: LayerGates) -> Tensor:
        """Return the two branches' work [B, T, D]."""

    def position_bias(self, hidden: Tensor, rest: dict[str, Any]) -> Tensor | None:
        """Return WavLM's bias [B * heads, T, T], made by the first layer, also where its attention is closed."""
        if "position_bias" not in rest:
            return None
        if rest["position_bias"] is not None:
            return rest["position_bias"]
        attention: Any = self.attention
        bias = attention.compute_bias(hidden.shape[1], hidden.shape[1])
        return bias.unsqueeze(0).repeat(len(hidden), 1, 1, 1).flatten(0, 1)


class PostNormLayer(GatedLayer):
    """Norms behind the residuals."""

    def run(self, hidden: Tensor, attend: Any, gates: LayerGates) -> Tensor:
        hidden = self.layer_norm(add_branch(hidden, attend, gate_of(gates, "self_attn")))
        return self.final_layer_norm(add_branch(hidden, lambda own, _: self.feed_forward(own), gate_of(gates, "ffn")))


class PreNormLayer(GatedLayer):
    """Norms in the branches (`do_stable_layer_norm`)."""

    def run(self, hidden: Tensor, attend: Any, gates: LayerGates) -> Tensor:
        hidden = add_branch(hidden, lambda own, rows: attend(self.layer_norm(own), rows), gate_of(gates, "self_attn"))
        return add_branch(hidden, lambda own, _: self.feed_forward(self.final_layer_norm(own)), gate_of(gates, "ffn"))


class ConformerLayer(nn.Module):
    """A block of Parakeet, whose branches may be skipped: `ffn1`, `self_attn`, `conv` and `ffn2`."""

    feed_forward1: nn.Module
    self_attn: nn.Module
    conv: nn.Module
    feed_forward2: nn.Module
    norm_feed_forward1: nn.Module
    norm_self_att: nn.Module
    norm_conv: nn.Module
    norm_feed_forward2: nn.Module
    norm_out: nn.Module

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        **rest: Any,
    ) -> Tensor:
        """Return the block's output [B, T, D]; the norm at its end always runs."""
        gates = rest.pop(_GATES).of(self, hidden_states)
        if all_open(gates):
            return super().forward(hidden_states, attention_mask, position_embeddings, **rest)

        def attend(own: Tensor, rows: Rows) -> Tensor:
            attended, *_ = self.self_attn(
                self.norm_self_att(own),
                position_embeddings=None if position_embeddings is None else select_rows(position_embeddings, rows),
                attention_mask=_of_rows(attention_mask, rows),
                **rest,
            )
            return attended

        def convolve(own: Tensor, rows: Rows) -> Tensor:
            return self.conv(self.norm_conv(own), attention_mask=_of_rows(attention_mask, rows))

        hidden = add_branch(
            hidden_states, lambda own, _: 0.5 * self.feed_forward1(self.norm_feed_forward1(own)), gate_of(gates, "ffn1")
        )
        hidden = add_branch(hidden, attend, gate_of(gates, "self_attn"))
        hidden = add_branch(hidden, convolve, gate_of(gates, "conv"))
        hidden = add_branch(
            hidden, lambda own, _: 0.5 * self.feed_forward2(self.norm_feed_forward2(own)), gate_of(gates, "ffn2")
        )
        return self.norm_out(hidden)


_OWN: dict[type[nn.Module], type[nn.Module]] = {}
"""What each gated class was made for."""


def swap_class(module: nn.Module, *, gated: bool) -> None:
    """Make an encoder or a layer gated, or what it was: only its class changes."""
    own = type(module)
    if gated and own not in _OWN:
        module.__class__ = _gated_class(own)
    elif not gated and own in _OWN:
        module.__class__ = _OWN[own]


@lru_cache(maxsize=32)
def _gated_class(own: type[nn.Module]) -> type[nn.Module]:
    name = own.__name__
    gated = type(f"Gated{name}", (_form(name), own), {})
    _OWN[gated] = own
    return gated


def _form(name: str) -> type[nn.Module]:
    """What a class of transformers becomes, by its name."""
    if "Parakeet" in name:
        return {"ParakeetEncoder": GatedHearingEncoder, "ParakeetEncoderBlock": ConformerLayer}.get(
            name, GatedPositions
        )
    if "EncoderLayer" not in name:
        return GatedEncoder
    return PreNormLayer if name.endswith("StableLayerNorm") else PostNormLayer


def _of_rows(mask: Tensor | None, rows: Rows) -> Tensor | None:
    return mask if mask is None or mask.shape[0] == 1 else select_rows(mask, rows)


def _of_heads(bias: Tensor, rows: Rows, num_rows: int) -> Tensor:
    """The bias of some rows: those of all heads of each lie together."""
    if rows is None:
        return bias
    return bias.unflatten(0, (num_rows, -1))[rows].flatten(0, 1)
