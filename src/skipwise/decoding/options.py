"""What a caller may choose about decoding; ESPnet's name stands beside each field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from skipwise.errors import SkipwiseError


@final
@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How hypotheses are searched for."""

    max_length_ratio: float = 0.4
    """`maxlenratio`: most tokens per encoder frame, at least 1 in all; 0: one a frame; -n: n for every length."""

    def __post_init__(self) -> None:
        ratio = self.max_length_ratio
        if not math.isfinite(ratio) or (ratio < 0 and ratio != int(ratio)):
            raise SkipwiseError(
                f"max_length_ratio must be tokens per encoder frame (0.4), 0 for one a frame, or minus a whole number "
                f"of tokens (-50); got {ratio}."
            )

    def max_tokens(self, num_frames: int) -> int:
        """Return the most tokens, `<eos>` not counted, that a row of `num_frames` encoder frames may get."""
        if self.max_length_ratio < 0:
            return -int(self.max_length_ratio)
        return num_frames if self.max_length_ratio == 0 else max(1, int(self.max_length_ratio * num_frames))
