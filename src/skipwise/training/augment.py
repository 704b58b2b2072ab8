"""SpecAugment: bands of mel bins and stretches of frames are hidden.

Shapes: F feature frames, M mel bins.
Source: Park et al. 2019; OWSM's recipe: two bands of up to 27 of 80 bins, ten stretches of up to 5 % of the frames.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """How much is hidden."""

    num_bands: int = 2
    """Bands of mel bins."""
    widest_band: float = 0.3375
    """The widest band, as a share of the bins."""
    num_stretches: int = 10
    """Stretches of frames."""
    longest_stretch: float = 0.05
    """The longest stretch, as a share of the frames."""

    def __call__(
        self, features: Float[Tensor, "frames mels"], fill: Float[Tensor, " mels"], rng: random.Random
    ) -> Float[Tensor, "frames mels"]:
        """Return features in which the hidden parts are `fill`: the mean, which is 0 after normalisation."""
        masked = features.clone()
        num_frames, num_bins = features.shape
        for _ in range(self.num_bands):
            first, end = _span(num_bins, self.widest_band, rng)
            masked[:, first:end] = fill[first:end]
        for _ in range(self.num_stretches):
            first, end = _span(num_frames, self.longest_stretch, rng)
            masked[first:end] = fill
        return masked


def _span(size: int, widest: float, rng: random.Random) -> tuple[int, int]:
    """A part of 0 to `widest * size` places, anywhere in `size`."""
    width = rng.randint(0, int(widest * size))
    first = rng.randint(0, size - width)
    return first, first + width
