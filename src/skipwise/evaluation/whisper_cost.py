"""Multiply-accumulates (MACs) of a Whisper: the formulas stand in `skipwise.evaluation.cost`."""

from __future__ import annotations

from functools import partial

from transformers import WhisperConfig

from skipwise.evaluation.cost import StackMacs, decoder_layer_macs
from skipwise.models.whisper.network import sites_of

_KERNEL = 3


def whisper_macs(config: WhisperConfig) -> StackMacs:
    """Return the work of one window, which is as long as the model's whatever was said."""
    width, num_frames = config.d_model, config.max_source_positions
    first = 2 * num_frames * _KERNEL * config.num_mel_bins * width
    return StackMacs(
        sites=sites_of(config),
        conv_embedding=first + num_frames * _KERNEL * width * width,
        encoder={
            "self_attn": num_frames * (4 * width * width + 2 * num_frames * width),
            "ffn": num_frames * 2 * width * config.encoder_ffn_dim,
        },
        decoder=partial(decoder_layer_macs, width, config.decoder_ffn_dim, num_frames),
        output=width * int(config.vocab_size),
    )
