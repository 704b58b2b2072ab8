"""Whisper's two stacks under plans that are given as arguments, on the modules of transformers.

Nothing is kept of a call, and it does not matter whether gates are on the model: this is what training, conformance and
decoding use. What `generate()` does is in `live`.

Shapes: B rows, F feature frames, M mel bins, T encoder frames, L positions, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import EncoderDecoderCache, WhisperConfig, WhisperForConditionalGeneration
from transformers.masking_utils import create_causal_mask
from transformers.models.whisper.modeling_whisper import WhisperDecoderLayer, WhisperEncoderLayer

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, GateSite, StepSampler
from skipwise.gating.layerwise import gates_of_layer, stack_gates
from skipwise.gating.steps import PrefixMeans, StepPlanner
from skipwise.models.family import DecoderGates, EncoderGates
from skipwise.models.prompt import mean_over, prompt_positions
from skipwise.models.whisper.layers import DECODER_KINDS, ENCODER_KINDS, run_decoder_layer, run_encoder_layer


def gate_sites(model: WhisperForConditionalGeneration) -> tuple[GateSite, ...]:
    """Return all sites of a model, encoder first, from the input up."""
    return sites_of(model.config)


def sites_of(config: WhisperConfig) -> tuple[GateSite, ...]:
    """Return all sites of a model of these sizes."""
    encoder = [GateSite("encoder", i, kind) for i in range(config.encoder_layers) for kind in ENCODER_KINDS]
    decoder = [GateSite("decoder", i, kind) for i in range(config.decoder_layers) for kind in DECODER_KINDS]
    return (*encoder, *decoder)


def num_real_features(input_features: Float[Tensor, "batch mels frames"]) -> Int[Tensor, " batch"]:
    """Return how many frames hear something: all but those at the end that are the same in every mel bin.

    Neither `generate()` nor a pipeline says how long the audio was that it padded; a frame of nothing but zeros shows
    it, as every bin is at the floor (or is 0, where a last segment was filled up). At least 1.
    """
    is_silent = input_features.amax(dim=1) == input_features.amin(dim=1)
    num_silent = is_silent.flip(1).long().cumprod(dim=1).sum(dim=1)
    return (input_features.shape[2] - num_silent).clamp_min(1)


def num_encoder_frames(num_features: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return how many frames the convolutions make of so many."""
    return (num_features - 1) // 2 + 1


def window_features(input_features: Float[Tensor, "batch mels frames"]) -> SpeechStates:
    """Return what transformers' feature extractor makes, as states that know how much of them is real."""
    num_rows, _, num_frames = input_features.shape
    everywhere = torch.full((num_rows,), num_frames, device=input_features.device)
    return SpeechStates(input_features.transpose(1, 2), everywhere, num_real_features(input_features))


def embed(model: WhisperForConditionalGeneration, features: SpeechStates) -> SpeechStates:
    """Return the conv embedding, before positions: what the encoder's plan is decided from."""
    encoder = model.model.encoder
    states = features.states.transpose(1, 2).contiguous().to(encoder.conv1.weight.dtype)
    states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(states)))).permute(0, 2, 1)
    return SpeechStates(states, num_encoder_frames(features.num_frames), num_encoder_frames(features.num_real_frames))


def encode(model: WhisperForConditionalGeneration, embedded: SpeechStates, gates: EncoderGates = None) -> SpeechStates:
    """Return the encoder's states for the output of `embed`; sites that `gates` does not name are open."""
    encoder = model.model.encoder
    hidden = embedded.states + encoder.embed_positions.weight[: embedded.states.shape[1]]
    hidden = F.dropout(hidden, p=encoder.dropout, training=encoder.training)
    followed = stack_gates(gates, "encoder", hidden, len(encoder.layers))
    for index, layer in enumerate(encoder.layers):
        assert isinstance(layer, WhisperEncoderLayer)
        of_layer = gates_of_layer(followed, index, embedded.with_states(hidden).pooled)
        hidden = run_encoder_layer(layer, hidden, of_layer)
    return embedded.with_states(encoder.layer_norm(hidden))


def decode(
    model: WhisperForConditionalGeneration,
    tokens: Int[Tensor, "batch length"],
    encoded: SpeechStates,
    gates: DecoderGates = None,
    *,
    cache: EncoderDecoderCache | None = None,
) -> Float[Tensor, "batch length vocab"]:
    """Return the logits after each of `tokens`: whole prefixes, or what follows those that `cache` has seen."""
    decoder = model.model.decoder
    embedded = decoder.embed_tokens(tokens)
    if isinstance(gates, StepPlanner):
        gates = _step_plan(model, tokens, gates)
    if isinstance(gates, StepSampler):
        gates = gates.draw(*said(model, tokens))
    num_before = 0 if cache is None else int(cache.get_seq_length())
    position_ids = (torch.arange(tokens.shape[1], device=tokens.device) + num_before).expand(tokens.shape)
    positions = decoder.embed_positions(tokens, past_key_values_length=num_before, position_ids=position_ids)
    hidden = F.dropout(embedded + positions, p=decoder.dropout, training=decoder.training)
    mask = create_causal_mask(
        config=model.config,
        inputs_embeds=embedded,
        attention_mask=None,
        past_key_values=cache,
        position_ids=position_ids,
    )
    followed = stack_gates(gates, "decoder", hidden, len(decoder.layers))
    deciding = prompt_positions(tokens, int(model.config.decoder_start_token_id or 0))
    for index, layer in enumerate(decoder.layers):
        assert isinstance(layer, WhisperDecoderLayer)
        of_layer = gates_of_layer(followed, index, lambda hidden=hidden: mean_over(hidden, deciding))
        hidden = run_decoder_layer(layer, hidden, of_layer, encoded.states, attention_mask=mask, cache=cache)
    return model.proj_out(decoder.layer_norm(hidden))


def said(
    model: WhisperForConditionalGeneration, tokens: Int[Tensor, "batch length"]
) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length dim"]]:
    """Return the embeddings of tokens, without positions, and their means from the start token to each."""
    embedded = model.model.decoder.embed_tokens(tokens)
    return embedded, PrefixMeans().extend(embedded, tokens == model.config.decoder_start_token_id)


def _step_plan(
    model: WhisperForConditionalGeneration, tokens: Int[Tensor, "batch length"], planner: StepPlanner
) -> GatePlan:
    """The gates that a step planner decides for each position of whole prefixes."""
    embedded, means = said(model, tokens)
    return GatePlan(planner.sites, planner.gates(embedded[:, None], means[:, None])[:, 0])
