"""OWSM's log-mel features for training: those of windows are those of their recording, cut.

Shapes: F feature frames, M mel bins, N samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from skipwise.features import extract_features
from skipwise.features.log_mel import FLOOR, SAMPLE_RATE, num_feature_frames
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.trainable import FrontEnd


@final
@dataclass(frozen=True, kw_only=True)
class OwsmFrontEnd(FrontEnd):
    """The natural logarithm of the mel power; the network normalises it."""

    bins: int
    """M."""
    min_frames: int
    """The shortest audio is filled up to as many."""
    window_s: float | None = None
    """Windows are filled up to it."""

    @classmethod
    def of(cls, config: OwsmArchitecture) -> OwsmFrontEnd:
        """Return what a network of these sizes hears."""
        return cls(bins=config.num_mel_bins, min_frames=2 * config.subsampling_factor, window_s=config.window_s)

    @property
    def num_mel_bins(self) -> int:
        return self.bins

    @property
    def key(self) -> str:
        return f"{self.bins} {self.min_frames}"

    @property
    def is_natural_log(self) -> bool:
        return True

    @property
    def window_frames(self) -> int | None:
        return None if self.window_s is None else num_feature_frames(round(self.window_s * SAMPLE_RATE))

    def of_recording(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames mels"]:
        found = extract_features([samples], num_mel_bins=self.bins, window_s=None, min_frames=self.min_frames)
        return found.states[0]

    def of_window(self, cut: Float[Tensor, "frames mels"]) -> Float[Tensor, "frames mels"]:
        return cut

    def silence(self, window: Float[Tensor, "frames mels"]) -> float:
        return math.log(FLOOR)
