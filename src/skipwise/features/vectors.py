"""Embeddings of a stretch of audio for the context of gates: the interface, and two that need no weights.

Shapes: N samples, F feature frames, M mel bins, E numbers of an embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.features.log_mel import FFT_SIZE, log_mel

_NUM_BANDS = 16
_FLOOR_QUANTILE, _TOP_QUANTILE = 0.1, 0.9
_NEAR_FLOOR = 1.0
"""Nats above a frame's quiet level within which it counts as quiet."""


class VectorExtractor(ABC):
    """Makes one embedding of a stretch of audio: of its speaker, or of what else there is to hear."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of an embedding."""

    @abstractmethod
    def __call__(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, " size"]:
        """Return the embedding of mono 16 kHz samples."""


class FeatureVectorExtractor(VectorExtractor):
    """One that needs no more than the log-mel features, which training has already."""

    def __init__(self, num_mel_bins: int) -> None:
        self._num_mel_bins = num_mel_bins

    def __call__(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, " size"]:
        missing = max(0, FFT_SIZE - waveform.numel())
        return self.of_features(
            log_mel(torch.nn.functional.pad(waveform, (0, missing)), num_mel_bins=self._num_mel_bins)
        )

    @abstractmethod
    def of_features(self, features: Float[Tensor, "frames mels"]) -> Float[Tensor, " size"]:
        """Return the embedding of log-mel features that are not normalised."""


@final
class LogMelStatistics(FeatureVectorExtractor):
    """Mean and standard deviation of every mel bin over time, without the overall level: voice and channel."""

    @property
    def size(self) -> int:
        return 2 * self._num_mel_bins

    def of_features(self, features: Float[Tensor, "frames mels"]) -> Float[Tensor, " size"]:
        features = features.float()
        mean_M = features.mean(dim=0)
        return torch.cat([mean_M - mean_M.mean(), features.std(dim=0, correction=0)])


@final
class NoiseStatistics(FeatureVectorExtractor):
    """What the pauses sound like: the quiet level of 16 bands, how far speech rises above it, and how it all moves."""

    @property
    def size(self) -> int:
        return 2 * _NUM_BANDS + 3

    def of_features(self, features: Float[Tensor, "frames mels"]) -> Float[Tensor, " size"]:
        bands_FB = torch.nn.functional.adaptive_avg_pool1d(features.float(), _NUM_BANDS)
        floor_B = bands_FB.quantile(_FLOOR_QUANTILE, dim=0)
        level_F = bands_FB.mean(dim=1)
        moving = bands_FB.diff(dim=0).abs().mean() if len(bands_FB) > 1 else bands_FB.new_zeros(())
        quiet = (level_F < level_F.quantile(_FLOOR_QUANTILE) + _NEAR_FLOOR).float().mean()
        whole = torch.stack([level_F.mean(), moving, quiet])
        return torch.cat([floor_B, bands_FB.quantile(_TOP_QUANTILE, dim=0) - floor_B, whole])
