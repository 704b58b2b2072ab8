"""An adapter is small beside the Whisper that it is for."""

from __future__ import annotations

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from skipwise.gating import GateAdapter, GateConfig
from skipwise.gating.adapter import GateBase, Granularity
from skipwise.models.whisper.network import gate_sites

PUBLISHED = {
    "tiny": (384, 4, 4, 80),
    "base": (512, 6, 6, 80),
    "small": (768, 12, 12, 80),
    "medium": (1024, 24, 24, 80),
    "large-v3": (1280, 32, 32, 128),
    "large-v3-turbo": (1280, 32, 4, 128),
    "distil-large-v3": (1280, 32, 2, 128),
}
"""Width, layers of encoder and decoder, mel bins."""
NUM_LANGUAGES = 100


@pytest.mark.parametrize("granularity", ["utterance", "step"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_an_adapter_adds_at_most_a_hundredth_to_a_published_whisper(name: str, granularity: Granularity) -> None:
    width, encoder_layers, decoder_layers, bins = PUBLISHED[name]
    config = WhisperConfig(
        d_model=width,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        num_mel_bins=bins,
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    num_base = sum(parameter.numel() for parameter in model.parameters())
    assert num_base > 3.7e7
    base = GateBase(
        family="whisper",
        fingerprint="",
        hidden_size=width,
        sites=gate_sites(model),
        languages=tuple(f"l{number:02d}" for number in range(NUM_LANGUAGES)),
        tasks=("asr", "st_eng"),
    )
    assert 0 < GateAdapter(GateConfig(scope="both", granularity=granularity), base).num_weights <= 0.01 * num_base
