"""Speech on its way through a model: padded sequences that know how long each row is and how much of it is real.

Shapes: B rows, T frames, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from skipwise.features.log_mel import FFT_SIZE, FLOOR, HOP_LENGTH, SAMPLE_RATE, log_mel, num_feature_frames


@final
@dataclass(frozen=True, eq=False)
class SpeechStates:
    """Features, embeddings or encoder states of a batch. Immutable."""

    states: Float[Tensor, "batch time dim"]
    """Rows padded to the longest."""
    num_frames: Int[Tensor, " batch"]
    """Frames of each row that take part; a fixed window's padding takes part, a batch's does not."""
    num_real_frames: Int[Tensor, " batch"]
    """Frames of each row that stem from real samples: only these are pooled."""

    def mask(self) -> Bool[Tensor, "batch time"]:
        """Return True for the frames that take part."""
        return _up_to(self.num_frames, self.states.shape[1])

    def is_padded(self) -> bool:
        """Return whether some row is shorter than the batch (one device sync)."""
        return bool((self.num_frames < self.states.shape[1]).any())

    def pooled(self) -> Float[Tensor, "batch dim"]:
        """Return the mean over the frames of real samples."""
        real = _up_to(self.num_real_frames, self.states.shape[1])[..., None]
        return self.states.masked_fill(~real, 0).sum(dim=1) / self.num_real_frames[:, None]

    def with_states(self, states: Float[Tensor, "batch time other_dim"]) -> SpeechStates:
        """Return other states of the same frames."""
        return SpeechStates(states, self.num_frames, self.num_real_frames)

    def select(self, rows: Int[Tensor, " rows"]) -> SpeechStates:
        """Return the given rows, in that order; a row may be named twice."""
        return SpeechStates(self.states[rows], self.num_frames[rows], self.num_real_frames[rows])


def extract_features(
    waveforms: Sequence[Float[Tensor, " _samples"]],
    *,
    num_mel_bins: int,
    window_s: float | None,
    min_frames: int,
) -> SpeechStates:
    """Return the log-mel features of mono 16 kHz waveforms of any lengths.

    Each row is computed from its own samples, so that it does not depend on the batch. With `window_s` each is padded
    with zeros, or cut, to that many seconds, and the padding takes part, as in OWSM. Without, a row too short for
    `min_frames` frames is padded with zeros, which count as real.
    """
    rows, num_real = [], []
    for waveform in waveforms:
        num_samples = max(waveform.numel(), (min_frames - 1) * HOP_LENGTH)
        if window_s is not None:
            num_samples = round(window_s * SAMPLE_RATE)
        rows.append(_padded_log_mel(waveform[:num_samples], num_samples, num_mel_bins))
        real_samples = min(waveform.numel(), num_samples) if window_s is not None else num_samples
        num_real.append(num_feature_frames(real_samples))
    return pad_features(rows, num_real_frames=num_real)


def _padded_log_mel(
    waveform: Float[Tensor, " samples"], num_samples: int, num_mel_bins: int
) -> Float[Tensor, "frames mels"]:
    """The features of a waveform with zeros behind it; frames that hear nothing but zeros are not computed."""
    needed = min(num_samples, -(-(waveform.numel() + FFT_SIZE) // HOP_LENGTH) * HOP_LENGTH)
    heard = log_mel(torch.nn.functional.pad(waveform, (0, needed - waveform.numel())), num_mel_bins=num_mel_bins)
    num_silent = num_feature_frames(num_samples) - heard.shape[0]
    return torch.nn.functional.pad(heard, (0, 0, 0, num_silent), value=math.log(FLOOR))


def pad_features(
    rows: Sequence[Float[Tensor, "_frames mels"]], *, num_real_frames: Sequence[int] | None = None
) -> SpeechStates:
    """Return feature rows of any lengths as one padded batch; all frames are real unless told otherwise."""
    device = rows[0].device
    num_frames = torch.tensor([row.shape[0] for row in rows], device=device)
    real = num_frames if num_real_frames is None else torch.tensor(list(num_real_frames), device=device)
    return SpeechStates(pad_sequence(list(rows), batch_first=True), num_frames, real)


def _up_to(lengths: Int[Tensor, " batch"], size: int) -> Bool[Tensor, "batch time"]:
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]
