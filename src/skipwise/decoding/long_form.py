"""Long recordings by the model's own timestamps: each window begins where the last one's last sentence ended.

Source: ESPnet 202511, `espnet2.bin.s2t_inference.Speech2Text.decode_long`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32

from skipwise.models.speech_engine import TIMESTAMP_STEP_S, SpeechConfig

SHORTEST_S = 0.2
"""`skip_last_chunk_threshold`: less than this at the end is not decoded, and no window begins less than this after the
one before it."""

_UNSURE_S = 29.0
"""`end_time_threshold`: a last sentence that ends later than this in its window is taken for cut off."""


@final
@dataclass(frozen=True, kw_only=True)
class Cut:
    """How much of a window holds."""

    num_tokens: int
    """Tokens of whole sentences."""
    advance_s: float | None
    """Where the next window begins, in seconds from this one's begin; None: behind this one."""


def cut_at_last_sentence(tokens: Sequence[int], config: SpeechConfig) -> Cut:
    """Return which of a window's tokens hold, and where to go on.

    A sentence without an end, or one of several that ends after 29 s, is left to the next window. Where that would lead
    nowhere, or nearly (ESPnet would go in circles), all holds.
    """
    first, last = config.first_timestamp_token_id, config.last_timestamp_token_id
    times = [position for position, token in enumerate(tokens) if first <= token <= last]
    if len(times) < 2:
        return Cut(num_tokens=len(tokens), advance_s=None)

    def at_s(position: int) -> float:
        return (tokens[position] - first) * TIMESTAMP_STEP_S

    if len(times) % 2:
        num_tokens, advance_s = times[-1], at_s(times[-1])
    elif len(times) > 2 and at_s(times[-1]) > _UNSURE_S:
        num_tokens, advance_s = times[-2], at_s(times[-2])
    else:
        num_tokens, advance_s = times[-1] + 1, at_s(times[-1])
    if advance_s < SHORTEST_S:
        return Cut(num_tokens=len(tokens), advance_s=None)
    return Cut(num_tokens=num_tokens, advance_s=advance_s)


@final
class RollingAudio:
    """A stream of blocks, of which a window's worth is held at a time."""

    def __init__(self, blocks: Iterator[Float32[np.ndarray, " _samples"]]) -> None:
        self._blocks = blocks
        self._held = np.zeros(0, np.float32)
        self.start = 0
        """Samples that lie behind."""

    def window(self, max_samples: int) -> Float32[np.ndarray, " samples"]:
        """Return the samples from here on: fewer than `max_samples` at the end, none behind it."""
        while len(self._held) < max_samples:
            block = next(self._blocks, None)
            if block is None:
                break
            self._held = np.concatenate([self._held, block])
        return self._held[:max_samples]

    def advance(self, num_samples: int) -> None:
        """Go on by so many samples of the last window."""
        self._held, self.start = self._held[num_samples:], self.start + num_samples
