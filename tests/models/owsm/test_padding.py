"""The padding of a fixed window is silence: what follows from it is computed once, and is what all of it would give."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from skipwise.features import SpeechStates, extract_features
from skipwise.features.log_mel import log_mel
from skipwise.models.owsm.encoder import OwsmEncoder, num_heard_features
from skipwise.models.owsm.network import OwsmNetwork
from tests.tiny import tiny_network, tone

DURATIONS_S = (0.03, 0.5, 1.234, 9.0, 29.99, 30.0, 31.0)


@pytest.mark.parametrize("duration_s", DURATIONS_S)
@pytest.mark.parametrize("num_mel_bins", [80, 128])
def test_features_of_a_padded_window_are_those_of_the_whole_window(duration_s: float, num_mel_bins: int) -> None:
    waveform = torch.tensor(tone(duration_s))
    found = extract_features([waveform], num_mel_bins=num_mel_bins, window_s=30.0, min_frames=8).states[0]
    whole = torch.nn.functional.pad(waveform[:480_000], (0, max(0, 480_000 - waveform.numel())))
    torch.testing.assert_close(found, log_mel(whole, num_mel_bins=num_mel_bins), rtol=0, atol=2e-5)


@torch.no_grad()
def embedded(network: OwsmNetwork, *, durations_s: tuple[float, ...]) -> tuple[SpeechStates, SpeechStates, list[int]]:
    """The embedding as it is, as computed from the whole window, and how many feature frames it took."""
    waveforms = [torch.tensor(tone(duration_s, seed=i)) for i, duration_s in enumerate(durations_s)]
    features, taken = network.extract(waveforms), []
    conv = network.encoder.conv_embedding
    handle = conv.register_forward_pre_hook(lambda _, args: taken.append(args[0].shape[1]))
    found = network.embed(features)
    handle.remove()
    network.config.window_s = None
    whole = network.embed(features)
    network.config.window_s = 30.0
    return found, whole, taken


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("durations_s", [(0.03,), (1.234,), (0.5, 9.0), (29.9,), (30.0, 2.0)], ids=str)
def test_the_embedding_of_a_padded_window_is_that_of_the_whole_window(factor: int, durations_s: Any) -> None:
    network = tiny_network(window_s=30.0, subsampling_factor=factor)
    found, whole, taken = embedded(network, durations_s=durations_s)
    assert found.states.shape == whole.states.shape
    torch.testing.assert_close(found.states, whole.states, rtol=0, atol=1e-5)
    assert torch.equal(found.num_frames, whole.num_frames)
    longest = min(3001, round(max(durations_s) * 100) + 1)
    assert longest <= taken[0] <= min(3001, longest + 4 * factor)


@torch.no_grad()
def test_a_frame_less_would_be_wrong() -> None:
    """The bound is tight: the two frames behind the real ones hear real samples."""
    network = tiny_network(window_s=30.0)
    features = network.extract([torch.tensor(tone(1.2399))])
    real = int(features.num_real_frames)
    silence = features.states[0, -1]
    differs = (features.states[0] != silence).any(dim=1).nonzero().max()
    assert real <= int(differs) < real + 2
    assert isinstance(network.encoder, OwsmEncoder)
    assert num_heard_features(network.config, real, 3001) < real + 16
