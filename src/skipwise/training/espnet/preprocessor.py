"""ESPnet's S2T preprocessor, which also says how much of each window is real. Needs ESPnet."""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np
from espnet2.train.preprocessor import S2TPreprocessor

from skipwise.errors import SkipwiseError

NUM_REAL_SAMPLES: Final = "num_real_samples"
"""The name of that in a batch: numbers of samples [B, 1], those that ESPnet pads a window with left out."""


@final
class RealLengthPreprocessor(S2TPreprocessor):
    """Pads or cuts speech to a window, as ESPnet does, and keeps the number of samples that are not behind its end."""

    def _pad_or_trim_speech(self, data: dict[str, Any]) -> tuple[dict[str, Any], int]:
        if self.speech_name not in data:
            return super()._pad_or_trim_speech(data)
        num_samples = len(data[self.speech_name])
        data, num_before = super()._pad_or_trim_speech(data)  # in training ESPnet puts up to 1 s of silence before it
        data[NUM_REAL_SAMPLES] = np.array([min(num_before + num_samples, self.speech_length)], dtype=np.int64)
        return data, num_before


def with_real_lengths(preprocessor: object) -> RealLengthPreprocessor:
    """Return the very preprocessor, which from now on tells real lengths.

    Raises:
        SkipwiseError: if it is not ESPnet's for S2T.
    """
    if type(preprocessor) is not S2TPreprocessor:
        raise SkipwiseError(
            f"gates need the preprocessor s2t, got {type(preprocessor).__name__}. Set preprocessor: s2t, or give "
            f"{NUM_REAL_SAMPLES} in each batch yourself."
        )
    preprocessor.__class__ = RealLengthPreprocessor
    assert isinstance(preprocessor, RealLengthPreprocessor)
    return preprocessor
