"""OWSM packed for inference: the encoder and the decoder of one network, in one precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, LayerwiseGates
from skipwise.models.engine.branches import Norm, PackedFeedForward, PackedSelfAttention, PackedSourceAttention
from skipwise.models.engine.decoder import PackedDecoder, PositionedEmbedding
from skipwise.models.engine.state import PackedLayer
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.attention import MultiHeadAttention
from skipwise.models.owsm.decoder import DecoderLayer, OwsmDecoder
from skipwise.models.owsm.encoder import OwsmEncoder
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.positions import add_positions
from skipwise.models.owsm.token_rules import OwsmTokenRules
from skipwise.models.precision import Dtype, activation_dtype, of_many_rows, pack, packed_copy
from skipwise.models.speech_engine import CtcHead, SpeechEngine


@final
class OwsmEngine(SpeechEngine):
    """OWSM in one precision."""

    def __init__(self, network: OwsmNetwork, dtype: Dtype = "fp32", *, beside: Iterable[OwsmEngine] = ()) -> None:
        """Pack `network`, which should be in eval mode: nothing is dropped here.

        `beside` are engines of the same network in other precisions: an encoder that computes the same is shared.

        Raises:
            SkipwiseError: if the weights do not fit into `dtype`.
        """
        self._network = network
        self.dtype = dtype
        same = (one for one in beside if one.network is network and of_many_rows(one.dtype) == of_many_rows(dtype))
        found = next(same, None)
        encoder = packed_copy(network.encoder, dtype) if found is None else found._encoder
        assert isinstance(encoder, OwsmEncoder)
        self._encoder = encoder
        self.decoder = pack_decoder(network.decoder, dtype, start_token_id=network.config.bos_token_id)
        self._activations = activation_dtype(dtype)

    @property
    def network(self) -> OwsmNetwork:
        return self._network

    @property
    def config(self) -> OwsmArchitecture:
        return self.network.config

    @property
    def ctc(self) -> CtcHead:
        return self.network

    def rules(self, prompts: Int[Tensor, "batch prompt"]) -> OwsmTokenRules:
        without = (prompts == self.config.no_timestamps_token_id).any(dim=1)
        return OwsmTokenRules(self.config, always_without_times=bool(without.all()))

    def extract(self, waveforms: Sequence[Float[Tensor, " _samples"]]) -> SpeechStates:
        return self.network.extract(waveforms)

    def embed(self, features: SpeechStates) -> SpeechStates:
        return self._encoder.embed(self.network.normalise(features, self._activations))

    @property
    def encoder_layers(self) -> tuple[nn.Module, ...]:
        """The encoder's layers, in this precision."""
        return tuple(self._encoder.layers)

    @torch.inference_mode()
    def encode(self, embedded: SpeechStates, plan: GatePlan | LayerwiseGates | None = None) -> SpeechStates:
        if plan is None or isinstance(plan, LayerwiseGates):
            return self._encoder(embedded, plan)
        rows = plan.expand(embedded.states.shape[0])
        return self._encoder(embedded, rows.layer_gates("encoder", len(self._encoder.layers), embedded.states.device))


@torch.no_grad()
def pack_decoder(decoder: OwsmDecoder, dtype: Dtype | None, *, start_token_id: int) -> PackedDecoder:
    """Return the decoder with its products in another precision; a `dtype` of None leaves its weights as they are.

    Source attention's keys and values are projected from hundreds of frames at once.
    """
    activations = decoder.lm_head.weight.dtype if dtype is None else activation_dtype(dtype)
    return PackedDecoder(
        embedding=decoder.embed_tokens.weight.detach().to(activations),
        positions=ScaledSinusoids(),
        layers=[_pack_layer(layer, dtype, activations) for layer in decoder.layers],
        final_norm=Norm(decoder.final_norm, activations),
        output=pack([decoder.lm_head], dtype),
        start_token_id=start_token_id,
    )


@final
class ScaledSinusoids(PositionedEmbedding):
    """embedding * sqrt(width) + sinusoids."""

    def __call__(self, embedded: Float[Tensor, "rows new dim"], offset: int) -> Float[Tensor, "rows new dim"]:
        return add_positions(embedded, offset=offset)


def _pack_layer(layer: nn.Module, dtype: Dtype | None, activations: torch.dtype) -> PackedLayer:
    assert isinstance(layer, DecoderLayer)
    own, source, ffn = layer.self_attn, layer.src_attn, layer.ffn
    return PackedLayer(
        self_attn=PackedSelfAttention(
            norm=Norm(own.layer_norm, activations),
            qkv=pack([own.attention.q_proj, own.attention.k_proj, own.attention.v_proj], dtype),
            out=pack([own.attention.out_proj], dtype),
            num_heads=own.attention.num_heads,
        ),
        src_attn=_pack_source_attention(source.attention, Norm(source.layer_norm, activations), dtype),
        ffn=PackedFeedForward(
            norm=Norm(ffn.layer_norm, activations),
            inner=pack([ffn.fc1], dtype),
            out=pack([ffn.fc2], dtype),
            activation=torch.relu,
        ),
    )


def _pack_source_attention(attention: MultiHeadAttention, norm: Norm, dtype: Dtype | None) -> PackedSourceAttention:
    key, value = (pack([layer], dtype, many_rows=True) for layer in (attention.k_proj, attention.v_proj))
    query, out = (pack([layer], dtype) for layer in (attention.q_proj, attention.out_proj))
    return PackedSourceAttention(norm=norm, query=query, key=key, value=value, out=out, num_heads=attention.num_heads)
