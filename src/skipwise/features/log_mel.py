"""OWSM's log-mel front end, as pure functions of tensors.

Shapes: F feature frames, M mel bins, N samples.
Source: ESPnet 202511, `espnet2.asr.frontend.default` with librosa's Slaney mel scale.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

SAMPLE_RATE = 16_000
FFT_SIZE = 512
WIN_LENGTH = 400
HOP_LENGTH = 160
FLOOR = 1e-10

# Slaney's mel scale: linear below 1 kHz, logarithmic above
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = 27.0 / torch.tensor(6.4, dtype=torch.float64).log().item()


def num_feature_frames(num_samples: int) -> int:
    """Return F for a waveform of `num_samples`: frames are centred, so there is one more than whole hops."""
    return num_samples // HOP_LENGTH + 1


def log_mel(waveform: Float[Tensor, " samples"], *, num_mel_bins: int) -> Float[Tensor, "frames {num_mel_bins}"]:
    """Return the natural log of the mel power spectrum of a mono 16 kHz waveform with at least 257 samples."""
    spectrum = torch.stft(
        waveform,
        n_fft=FFT_SIZE,
        hop_length=HOP_LENGTH,
        win_length=WIN_LENGTH,
        window=_window(waveform.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power.T @ mel_filters(num_mel_bins).to(waveform.device)
    return mel.clamp_min(FLOOR).log()


@lru_cache(maxsize=8)
def mel_filters(num_mel_bins: int) -> Float[Tensor, "bins {num_mel_bins}"]:
    """Return Slaney-normalised triangular filters over 0-8 kHz, a column a mel bin. Do not change it: it is shared."""
    top_mel = hz_to_mel(torch.tensor(SAMPLE_RATE / 2, dtype=torch.float64))
    edges = mel_to_hz(torch.linspace(0.0, float(top_mel), num_mel_bins + 2, dtype=torch.float64))
    frequencies = torch.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64)
    distance = edges[:, None] - frequencies[None, :]
    width = edges.diff()[:, None]
    rising = -distance[:-2] / width[:-1]
    falling = distance[2:] / width[1:]
    triangles = torch.minimum(rising, falling).clamp_min(0.0)
    area = 2.0 / (edges[2:] - edges[:-2])
    return (triangles * area[:, None]).T.float().contiguous()


@lru_cache(maxsize=8)
def _window(device: torch.device) -> Float[Tensor, " taps"]:
    return torch.hann_window(WIN_LENGTH, periodic=True, device=device)


def hz_to_mel(hz: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return where frequencies in Hz are on Slaney's mel scale."""
    above = _BREAK_MEL + (hz.clamp_min(1e-9) / _BREAK_HZ).log() * _LOG_STEP
    return torch.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the frequencies in Hz of points of Slaney's mel scale."""
    above = _BREAK_HZ * ((mel - _BREAK_MEL) / _LOG_STEP).exp()
    return torch.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
