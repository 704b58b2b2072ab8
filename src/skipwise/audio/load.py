"""Any audio source as mono 16 kHz float32, whole or in blocks.

A source passes through generators, block by block, so that its length never shows in memory:
track (native rate and channels) -> mono -> checked -> 16 kHz -> the asked-for segment -> blocks.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Float32

from skipwise.audio.source import AudioSource, opened
from skipwise.audio.tracks import AudioInfo, Frames, warn
from skipwise.errors import SkipwiseError

SAMPLE_RATE = 16_000
"""Samples per second of everything this package computes on."""

MIN_SAMPLES = 400
"""One analysis window (25 ms): less than this cannot be turned into features."""

_BATCH_FRAMES = 16_384  # an AAC frame has 1,024: one resampler call for each would be slow
_PREROLL_S = 0.3  # decoders (Opus: 80 ms) and the resampler settle before the first sample that counts
_LOUD = 4.0  # floats beyond 12 dB over full scale are most likely unscaled integers

Mono = Float32[np.ndarray, "samples"]


def load_audio(source: AudioSource, *, start_s: float = 0.0, end_s: float | None = None) -> Mono:
    """The samples between two times, mono (mean of the channels) at 16 kHz, full scale 1.0.

    `end_s` beyond the end reads to the end. A seek gives the samples that the whole file has there, to within the time
    stamps of the container (1 ms in webm). Integer arrays are scaled; 2-D arrays are [samples, channels].

    Raises SkipwiseError: no file, not audio, no samples, fewer than 400, NaN or infinite ones, a start beyond the end.
    Warns (SkipwiseWarning) when a file breaks off or is damaged: what could be decoded comes back.
    """
    _check_times(start_s, end_s)
    return np.concatenate(list(_segment(source, start_s, end_s)))


def stream_audio(source: AudioSource, *, block_s: float = 10.0) -> Iterator[Mono]:
    """The samples of `load_audio(source)` in blocks of `block_s` seconds (the last one is shorter), in bounded memory.

    Opening happens with the first block; so do its errors.
    """
    block_size = round(block_s * SAMPLE_RATE)
    if block_size < MIN_SAMPLES:
        raise SkipwiseError(
            f"block_s must be at least {MIN_SAMPLES / SAMPLE_RATE} s, got {block_s}. The default is 10 s."
        )
    return _blocks_of(_segment(source, 0.0, None), block_size)


def audio_info(source: AudioSource) -> AudioInfo:
    """Rate, channels and duration as the header states them, undecoded. Raises SkipwiseError as `load_audio`."""
    with opened(source) as track:
        return track.info


def _segment(source: object, start_s: float, end_s: float | None) -> Iterator[Mono]:
    """Mono 16 kHz pieces of [start_s, end_s), at least 400 samples in all.

    A seek starts early, and where samples of both rates coincide, so that it finds the grid that the whole file has.
    """
    with opened(source) as track:
        rate, duration_s = track.info.sample_rate, track.info.duration_s
        if start_s > 0 and duration_s is not None and start_s >= duration_s:
            raise _start_beyond_end(track.label, start_s, duration_s)
        grid = rate // math.gcd(rate, SAMPLE_RATE)
        first_frame = max(0, math.floor((start_s - _PREROLL_S) * rate / grid)) * grid
        origin = first_frame * SAMPLE_RATE // rate
        start = round(start_s * SAMPLE_RATE) - origin
        stop = None if end_s is None else round(end_s * SAMPLE_RATE) - origin
        mono = _finite(_batched_mono(track.blocks(first_frame)), rate, first_frame, track.label)
        held, num_samples = [], 0
        for piece in _sliced(_resampled(mono, rate), start, stop):
            num_samples += len(piece)
            held.append(piece)
            if num_samples >= MIN_SAMPLES:
                yield from held
                held = []
        if num_samples < MIN_SAMPLES:
            raise _too_short(track.label, num_samples, start_s, end_s)


def _batched_mono(blocks: Iterable[Frames]) -> Iterator[Mono]:
    held, num_frames = [], 0
    for block in blocks:
        held.append(block.mean(axis=1, dtype=np.float32))
        num_frames += len(block)
        if num_frames >= _BATCH_FRAMES:
            yield np.concatenate(held)
            held, num_frames = [], 0
    if held:
        yield np.concatenate(held)


def _finite(blocks: Iterable[Mono], rate: int, first_frame: int, label: str) -> Iterator[Mono]:
    """The same blocks; checked here, because the resampler would smear one NaN over its whole filter."""
    position, warned = first_frame, False
    for block in blocks:
        peak = float(np.abs(block).max(initial=0.0))  # NaN and inf survive a maximum
        if not math.isfinite(peak):
            index = int(np.flatnonzero(~np.isfinite(block))[0])
            raise SkipwiseError(
                f"{label} holds a sample that is NaN or infinite at second {(position + index) / rate:.3f}: "
                f"got {block[index]}, allowed are finite numbers (full scale is 1.0). Export the file again, "
                "or repair the samples with numpy.nan_to_num."
            )
        if peak > _LOUD and not warned:
            warned = True
            warn(
                f"{label} reaches {peak:.4g} where full scale is 1.0. "
                "If these are unscaled integers, divide by 32768 (16 bit) first."
            )
        position += len(block)
        yield block


def _resampled(blocks: Iterable[Mono], rate: int) -> Iterator[Mono]:
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _sliced(pieces: Iterable[Mono], start: int, stop: int | None) -> Iterator[Mono]:
    position = 0
    for piece in pieces:
        wanted = piece[max(0, start - position) : None if stop is None else max(0, stop - position)]
        position += len(piece)
        if len(wanted):
            yield wanted
        if stop is not None and position >= stop:
            return


def _blocks_of(pieces: Iterable[Mono], block_size: int) -> Iterator[Mono]:
    held = np.empty(0, np.float32)
    for piece in pieces:
        held = np.concatenate([held, piece])
        while len(held) >= block_size:
            yield held[:block_size].copy()
            held = held[block_size:]
    if len(held):
        yield held


def _check_times(start_s: float, end_s: float | None) -> None:
    if not 0 <= start_s < math.inf:
        raise SkipwiseError(f"start_s must be 0 or more seconds, got {start_s}. Leave it out to read from the start.")
    if end_s is not None and not end_s > start_s:
        raise SkipwiseError(f"end_s must lie after start_s = {start_s}, got {end_s}. Leave it out to read to the end.")


def _start_beyond_end(label: str, start_s: float, duration_s: float) -> SkipwiseError:
    return SkipwiseError(
        f"start_s = {start_s} lies beyond the end of {label}: allowed is less than its {duration_s:.3f} s. "
        "Check the segment's times."
    )


def _too_short(label: str, num_samples: int, start_s: float, end_s: float | None) -> SkipwiseError:
    segment = "" if start_s == 0 and end_s is None else f" between start_s = {start_s} and end_s = {end_s}"
    if num_samples == 0:
        return SkipwiseError(
            f"{label} has no samples that can be decoded{segment}: it ends earlier, or is damaged. "
            f"Allowed are {MIN_SAMPLES} (25 ms at 16 kHz) or more: check the times, or copy the file again."
        )
    return SkipwiseError(
        f"{label} holds {num_samples} samples at 16 kHz{segment}, less than one analysis window. "
        f"Allowed are {MIN_SAMPLES} (25 ms) or more: give a longer recording or segment."
    )
