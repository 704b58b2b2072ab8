"""Whisper packed for inference: the encoder and the decoder of one model, in one precision.

Shapes: B rows, T frames, D width, P prompt tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import (
    WhisperAttention,
    WhisperDecoderLayer,
    WhisperEncoderLayer,
)

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, LayerwiseGates
from skipwise.gating.branch import add_branch, gate_of
from skipwise.gating.layerwise import gates_of_layer
from skipwise.models.engine.branches import Norm, PackedFeedForward, PackedSelfAttention, PackedSourceAttention
from skipwise.models.engine.decoder import PackedDecoder, PositionedEmbedding
from skipwise.models.engine.encoder import PackedEncoderAttention, PackedEncoderLayer
from skipwise.models.engine.state import PackedLayer
from skipwise.models.precision import Dtype, activation_dtype, pack
from skipwise.models.speech_engine import SpeechEngine
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.token_rules import WhisperTokenRules
from skipwise.models.whisper.tokens import WhisperTokens


@final
class WhisperEngine(SpeechEngine):
    """Whisper in one precision."""

    @torch.no_grad()
    def __init__(self, network: WhisperForConditionalGeneration, dtype: Dtype = "fp32") -> None:
        """Pack `network`, which should be in eval mode: nothing is dropped here.

        Raises:
            SkipwiseError: if the weights do not fit into `dtype`, or the model does not name its tokens.
        """
        self._network, self.dtype = network, dtype
        self._tokens = WhisperTokens.of(network.config, network.generation_config)
        self._activations = activation_dtype(dtype)
        # the same for all Whispers, but for the bins and the window
        self._extractor = WhisperFeatureExtractor(
            feature_size=self._tokens.num_mel_bins, chunk_length=round(self._tokens.window_s)
        )
        encoder = network.model.encoder
        self._convolutions = [
            tuple(tensor.detach().to(self._activations) for tensor in (conv.weight, _bias(conv)))
            for conv in (encoder.conv1, encoder.conv2)
        ]
        self._positions = encoder.embed_positions.weight.detach().to(self._activations)
        self._layers = [_pack_encoder_layer(layer, dtype, self._activations) for layer in encoder.layers]
        self._final_norm = Norm(encoder.layer_norm, self._activations)
        self.decoder = _pack_decoder(network, dtype, self._tokens.bos_token_id)

    @property
    def network(self) -> WhisperForConditionalGeneration:
        return self._network

    @property
    def config(self) -> WhisperTokens:
        return self._tokens

    @property
    def max_positions(self) -> int:
        return self._tokens.max_positions

    def rules(self, prompts: Int[Tensor, "batch prompt"]) -> WhisperTokenRules:
        return WhisperTokenRules(self._tokens, prompts)

    def extract(self, waveforms: Sequence[Float[Tensor, " _samples"]]) -> SpeechStates:
        audio: list[Any] = [np.asarray(waveform.cpu()) for waveform in waveforms]
        made: Any = self._extractor(audio, sampling_rate=self._extractor.sampling_rate, return_tensors="pt")
        return stacks.window_features(made.input_features.to(self._positions.device))

    @torch.inference_mode()
    def embed(self, features: SpeechStates) -> SpeechStates:
        states = features.states.transpose(1, 2).contiguous().to(self._activations)
        for stride, (weight, bias) in enumerate(self._convolutions, start=1):
            states = F.gelu(F.conv1d(states, weight, bias, stride=stride, padding=1))
        return SpeechStates(
            states.permute(0, 2, 1),
            stacks.num_encoder_frames(features.num_frames),
            stacks.num_encoder_frames(features.num_real_frames),
        )

    @torch.inference_mode()
    def encode(self, embedded: SpeechStates, plan: GatePlan | LayerwiseGates | None = None) -> SpeechStates:
        hidden = embedded.states + self._positions[: embedded.states.shape[1]]
        followed = plan
        if isinstance(plan, GatePlan):
            rows = plan.expand(hidden.shape[0])
            followed = rows.layer_gates("encoder", len(self._layers), hidden.device)
        for index, layer in enumerate(self._layers):
            gates = gates_of_layer(followed, index, embedded.with_states(hidden).pooled)  # type: ignore[arg-type]
            hidden = add_branch(hidden, lambda own, _, layer=layer: layer.self_attn(own), gate_of(gates, "self_attn"))
            hidden = add_branch(hidden, lambda own, _, layer=layer: layer.ffn(own), gate_of(gates, "ffn"))
        return embedded.with_states(self._final_norm(hidden))


@final
class LearnedPositions(PositionedEmbedding):
    """embedding + the vector of its position."""

    def __init__(self, weight: Float[Tensor, "positions dim"]) -> None:
        self._weight = weight

    def __call__(self, embedded: Float[Tensor, "rows new dim"], offset: int) -> Float[Tensor, "rows new dim"]:
        return embedded + self._weight[offset : offset + embedded.shape[1]]


def _pack_decoder(network: WhisperForConditionalGeneration, dtype: Dtype, start_token_id: int) -> PackedDecoder:
    decoder, activations = network.model.decoder, activation_dtype(dtype)
    return PackedDecoder(
        embedding=decoder.embed_tokens.weight.detach().to(activations),
        positions=LearnedPositions(decoder.embed_positions.weight.detach().to(activations)),
        layers=[_pack_decoder_layer(layer, dtype, activations) for layer in decoder.layers],
        final_norm=Norm(decoder.layer_norm, activations),
        output=pack([network.proj_out], dtype),
        start_token_id=start_token_id,
    )


def _pack_decoder_layer(layer: nn.Module, dtype: Dtype, activations: torch.dtype) -> PackedLayer:
    assert isinstance(layer, WhisperDecoderLayer)
    own, source = layer.self_attn, layer.encoder_attn
    return PackedLayer(
        self_attn=PackedSelfAttention(
            norm=Norm(layer.self_attn_layer_norm, activations),
            qkv=pack([own.q_proj, own.k_proj, own.v_proj], dtype),
            out=pack([own.out_proj], dtype),
            num_heads=own.num_heads,
        ),
        src_attn=PackedSourceAttention(
            norm=Norm(layer.encoder_attn_layer_norm, activations),
            query=pack([source.q_proj], dtype),
            key=pack([source.k_proj], dtype, many_rows=True),
            value=pack([source.v_proj], dtype, many_rows=True),
            out=pack([source.out_proj], dtype),
            num_heads=source.num_heads,
        ),
        ffn=_pack_feed_forward(layer, dtype, activations),
    )


def _pack_encoder_layer(layer: nn.Module, dtype: Dtype, activations: torch.dtype) -> PackedEncoderLayer:
    assert isinstance(layer, WhisperEncoderLayer)
    own: WhisperAttention = layer.self_attn
    return PackedEncoderLayer(
        self_attn=PackedEncoderAttention(
            norm=Norm(layer.self_attn_layer_norm, activations),
            qkv=pack([own.q_proj, own.k_proj, own.v_proj], dtype, many_rows=True),
            out=pack([own.out_proj], dtype, many_rows=True),
            num_heads=own.num_heads,
        ),
        ffn=_pack_feed_forward(layer, dtype, activations, many_rows=True),
    )


def _pack_feed_forward(
    layer: WhisperEncoderLayer | WhisperDecoderLayer, dtype: Dtype, activations: torch.dtype, *, many_rows: bool = False
) -> PackedFeedForward:
    activation: Callable[[Tensor], Tensor] = layer.activation_fn
    return PackedFeedForward(
        norm=Norm(layer.final_layer_norm, activations),
        inner=pack([layer.fc1], dtype, many_rows=many_rows),
        out=pack([layer.fc2], dtype, many_rows=many_rows),
        activation=activation,
    )


def _bias(conv: nn.Conv1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
