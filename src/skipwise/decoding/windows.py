"""Long audio as consecutive windows that a model can take, cut where it is quiet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from skipwise.audio import MIN_SAMPLES, SAMPLE_RATE
from skipwise.errors import SkipwiseError

_PAUSE_S = 0.2  # energy is taken over this span: shorter dips are closures inside a word ("ap-ple")
_STEP_S = 0.01
_FRAME_S = 0.1
_SILENCE_RMS = 1e-3  # -60 dBFS: below the hiss of a microphone in a quiet room, above dither and codec noise


@dataclass(frozen=True, kw_only=True, eq=False)
class AudioWindow:
    """A piece of a stream and where it lies in it."""

    samples: Float[np.ndarray, "samples"]
    start_s: float
    end_s: float
    """Where the next window starts."""


def quiet_windows(
    blocks: Iterable[Float[np.ndarray, "_"]],
    *,
    max_window_s: float,
    sample_rate: int = SAMPLE_RATE,
    search_s: float = 5.0,
) -> Iterator[AudioWindow]:
    """Windows of at most `max_window_s` that cover a stream without gap or overlap; blocks are read as they are needed.

    A cut lies at the quietest point of a window's last `search_s` seconds (of its last half, if that is shorter). A
    stream that fits into a window comes back whole. No window is shorter than 25 ms, unless that is all there is.
    Memory is one window and one block. Raises SkipwiseError for a window under 0.1 s.
    """
    if not max_window_s >= 0.1:
        raise SkipwiseError(f"max_window_s must be at least 0.1 s, got {max_window_s}. Models take 30 s.")
    if not search_s > 0:
        raise SkipwiseError(f"search_s must be more than 0 s, got {search_s}. The default is 5 s.")
    size = round(max_window_s * sample_rate)
    reach = min(round(search_s * sample_rate), size // 2)
    shortest = round(MIN_SAMPLES / SAMPLE_RATE * sample_rate)
    return _windows(blocks, size, reach, shortest, sample_rate)


def is_silence(samples: Float[np.ndarray, "samples"], *, sample_rate: int = SAMPLE_RATE) -> bool:
    """Whether even the loudest 100 ms stay below -60 dBFS RMS, a constant offset aside: a quiet word is no silence."""
    frame = max(1, round(_FRAME_S * sample_rate))
    centred = samples - samples.mean(dtype=np.float64) if len(samples) else samples
    starts = range(0, max(1, len(centred) - frame // 2), frame)
    frames = (centred[start : start + frame] for start in starts)
    return all(np.sqrt(np.mean(np.square(frame, dtype=np.float64))) < _SILENCE_RMS for frame in frames if len(frame))


def _windows(
    blocks: Iterable[Float[np.ndarray, "_"]], size: int, reach: int, shortest: int, sample_rate: int
) -> Iterator[AudioWindow]:
    held, position = np.empty(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= size + shortest:  # whatever is cut off now, enough is left over
            cut = _quietest(held, size - reach, size, sample_rate)
            yield _window(held[:cut].copy(), position, sample_rate)
            held, position = held[cut:], position + cut
    if len(held) > size:
        last = min(size, len(held) - shortest)
        cut = _quietest(held, min(size - reach, last), last, sample_rate)
        yield _window(held[:cut].copy(), position, sample_rate)
        held, position = held[cut:], position + cut
    if len(held):
        yield _window(held, position, sample_rate)


def _window(samples: Float[np.ndarray, "samples"], position: int, sample_rate: int) -> AudioWindow:
    return AudioWindow(samples=samples, start_s=position / sample_rate, end_s=(position + len(samples)) / sample_rate)


def _quietest(samples: Float[np.ndarray, "samples"], first: int, last: int, sample_rate: int) -> int:
    """The index in [first, last] with the least power around it; the latest of several."""
    half = max(1, round(_PAUSE_S / 2 * sample_rate))
    start, stop = max(0, first - half), min(len(samples), last + half)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples[start:stop], dtype=np.float64))])
    candidates = np.arange(last, first - 1, -max(1, round(_STEP_S * sample_rate))) - start
    left, right = np.maximum(candidates - half, 0), np.minimum(candidates + half, stop - start)
    power = (energy[right] - energy[left]) / (right - left)
    return int(candidates[power.argmin()]) + start
