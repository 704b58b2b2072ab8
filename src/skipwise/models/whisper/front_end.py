"""Whisper's log-mel features for training: of whole recordings first, of windows cut out of them then.

What a window becomes is what transformers' feature extractor makes of its audio, but for the frames at its edges.

Shapes: F feature frames, M mel bins, N samples.
Source: transformers 5.23, `WhisperFeatureExtractor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import WhisperFeatureExtractor

from skipwise.models.trainable import FrontEnd

FRAMES_A_SECOND = 100
_FFT_SIZE = 400
_HOP_LENGTH = 160
_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0
"""Decades below the loudest bin of a window under which nothing is told apart."""


@final
@dataclass(frozen=True, kw_only=True)
class WhisperFrontEnd(FrontEnd):
    """The base-10 logarithm of the mel power; clipped and scaled for each window by its loudest bin."""

    bins: int
    """M."""
    frames: int
    """Frames of a padded window."""

    @property
    def num_mel_bins(self) -> int:
        return self.bins

    @property
    def key(self) -> str:
        return f"whisper {self.bins}"

    @property
    def window_frames(self) -> int:
        return self.frames

    @property
    def is_natural_log(self) -> bool:
        return False

    def of_recording(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames mels"]:
        missing = max(0, _FFT_SIZE - samples.numel())  # a reflection needs something to mirror
        spectrum = torch.stft(
            torch.nn.functional.pad(samples, (0, missing)),
            n_fft=_FFT_SIZE,
            hop_length=_HOP_LENGTH,
            window=torch.hann_window(_FFT_SIZE),
            return_complex=True,
        )
        power = spectrum[:, :-1].abs().square().T
        return (power @ _mel_filters(self.bins)).clamp_min(_FLOOR).log10()

    def of_window(self, cut: Float[Tensor, "frames mels"]) -> Float[Tensor, "frames mels"]:
        return (cut.maximum(cut.max() - _DYNAMIC_RANGE) + 4.0) / 4.0

    def silence(self, window: Float[Tensor, "frames mels"]) -> float:
        floor = (math.log10(_FLOOR) + 4.0) / 4.0
        return max(floor, float(window.max()) - _DYNAMIC_RANGE / 4.0)


@lru_cache(maxsize=2)
def _mel_filters(num_mel_bins: int) -> Float[Tensor, "bins {num_mel_bins}"]:
    filters = WhisperFeatureExtractor(feature_size=num_mel_bins).mel_filters
    return torch.from_numpy(filters).float()
