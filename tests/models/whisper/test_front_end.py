"""What a Whisper hears in training is what transformers' feature extractor makes of the same audio."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import WhisperFeatureExtractor

from skipwise.models.whisper.family import FAMILY
from skipwise.models.whisper.front_end import WhisperFrontEnd
from skipwise.models.whisper.network import num_real_features
from tests.tiny import tone
from tests.tiny_whisper import tiny_whisper

SECONDS = 3.0
SAMPLES = torch.from_numpy(tone(SECONDS, seed=4))


def extracted(samples: Tensor, *, bins: int = 80, window_s: int = 5) -> Float[Tensor, "frames mels"]:
    made: Any = WhisperFeatureExtractor(feature_size=bins, chunk_length=window_s)(
        samples.numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    return made.input_features[0].T


def heard(front_end: WhisperFrontEnd, cut: Float[Tensor, "frames mels"]) -> Float[Tensor, "frames mels"]:
    features = front_end.of_window(cut)[: front_end.window_frames]
    missing = front_end.window_frames - len(features)
    return torch.nn.functional.pad(features, (0, 0, 0, missing), value=front_end.silence(front_end.of_window(cut)))


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("volume", [1.0, 1e-4], ids=["loud", "hardly audible"])
def test_a_whole_recording_is_heard_as_the_extractor_has_it_padding_and_all(bins: int, volume: float) -> None:
    front_end = WhisperFrontEnd(bins=bins, frames=500)
    found = heard(front_end, front_end.of_recording(volume * SAMPLES))
    expected = extracted(volume * SAMPLES, bins=bins)
    assert found.shape == expected.shape == (500, bins)
    # the last frame of audio sees its mirror image here, and zeros there
    torch.testing.assert_close(found[:298], expected[:298], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[302:], expected[302:], rtol=0, atol=1e-5)
    assert int(num_real_features(found.T[None])) == 300


def test_a_window_of_a_recording_is_scaled_by_its_own_loudest_bin() -> None:
    front_end = WhisperFrontEnd(bins=80, frames=500)
    louder = SAMPLES.clone()
    louder[:16_000] *= 20
    whole = front_end.of_recording(louder)
    window = heard(front_end, whole[150:])
    torch.testing.assert_close(window[2:148], extracted(louder[24_000:])[2:148], rtol=0, atol=1e-4)
    assert not torch.allclose(window[2:148], front_end.of_window(whole)[152:298], atol=0.1)


def test_audio_shorter_than_a_spectrum_is_filled_up() -> None:
    assert WhisperFrontEnd(bins=80, frames=500).of_recording(SAMPLES[:100]).shape == (2, 80)


def test_a_models_own_window_and_bins_are_what_it_hears() -> None:
    front_end = FAMILY.front_end(tiny_whisper(num_mel_bins=128))
    assert (front_end.window_frames, front_end.num_mel_bins) == (100, 128)
    assert pickle.loads(pickle.dumps(front_end)) == front_end
    assert front_end.key != FAMILY.front_end(tiny_whisper()).key
