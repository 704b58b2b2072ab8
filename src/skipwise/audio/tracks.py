"""Tracks: sound at its native rate and channels, from an array, from libsndfile or from FFmpeg."""

import io
import itertools
import math
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import soundfile
from jaxtyping import Float32, Shaped

from skipwise.errors import SkipwiseError, SkipwiseWarning

_READ_FRAMES = 4_096  # what a damaged block of a flac costs at most
_BREAK_S = 0.25  # codecs pad, containers round: only a file that lacks more than this broke off
INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # their time stamps and durations are exact
_UNKNOWN_SIZE = 0x7FFF_0000  # a wav written to a pipe claims (almost) the largest size
_OGG_PAGE = 65_307  # bytes at most
_MOST_CHANNELS = 64  # a second dimension beyond this is time

Frames = Float32[np.ndarray, "frames channels"]


@runtime_checkable
class BinaryFile(Protocol):
    """A file object opened in binary mode; one that cannot seek (a pipe) is copied to a temporary file first."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def seekable(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What the header of an audio file says."""

    sample_rate: int
    """Native rate in Hz."""
    num_channels: int
    duration_s: float | None
    """None where the container does not tell (raw AAC, streams)."""


class Track(ABC):
    """One opened source."""

    info: AudioInfo
    label: str

    @abstractmethod
    def blocks(self, first_frame: int) -> Iterator[Frames]:
        """Native frames from `first_frame` to the end; warns if the end comes too early."""


@final
class ArrayTrack(Track):
    """Samples that are in memory already."""

    def __init__(self, samples: Any, sample_rate: int) -> None:
        self.label = "the given array"
        self._frames = _as_frames(np.asarray(samples))
        rate = int(sample_rate)
        self.info = AudioInfo(
            sample_rate=rate, num_channels=self._frames.shape[1], duration_s=len(self._frames) / max(rate, 1)
        )

    def blocks(self, first_frame: int) -> Iterator[Frames]:
        for start in range(first_frame, len(self._frames), _READ_FRAMES):
            yield _as_float(self._frames[start : start + _READ_FRAMES])


@final
class SoundfileTrack(Track):
    """What libsndfile reads (but for mp3, see `source`)."""

    def __init__(self, file: soundfile.SoundFile, raw: BinaryFile, label: str) -> None:
        self.label = label
        self._file = file
        self._raw = raw
        duration_s = file.frames / file.samplerate
        self.info = AudioInfo(sample_rate=file.samplerate, num_channels=file.channels, duration_s=duration_s)

    def blocks(self, first_frame: int) -> Iterator[Frames]:
        position, damaged = first_frame, False
        try:
            if first_frame:
                self._file.seek(first_frame)
            while len(block := self._file.read(_READ_FRAMES, dtype="float32", always_2d=True)):
                position += len(block)
                yield block
        except soundfile.LibsndfileError:
            damaged = True
        self._check_end(position / self.info.sample_rate, damaged)

    def _check_end(self, decoded_s: float, damaged: bool) -> None:
        present_s = self._file.frames / self.info.sample_rate
        claimed_s = present_s * _claimed_share(self._file.extra_info)
        if self._file.format == "OGG":  # its header claims nothing
            if damaged or not _ogg_is_complete(self._raw):
                _warn_break(self.label, decoded_s, None)
        elif damaged or claimed_s > present_s or claimed_s - decoded_s > _BREAK_S:
            _warn_break(self.label, decoded_s, claimed_s)


@final
class AvTrack(Track):
    """What FFmpeg reads."""

    def __init__(self, container: Any, label: str, *, duration_is_exact: bool) -> None:
        self.label = label
        self._container = container
        self._stream = container.streams.audio[0]
        self._origin_s = float((self._stream.start_time or 0) * self._stream.time_base)
        self._indexed = container.format.name in INDEXED
        self._damaged = False
        context = self._stream.codec_context
        self.info = AudioInfo(
            sample_rate=context.sample_rate,
            num_channels=context.layout.nb_channels,
            duration_s=self._duration_s() if duration_is_exact else None,
        )

    def _duration_s(self) -> float | None:
        stream, container = self._stream, self._container
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        tag = re.fullmatch(
            r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")
        )  # Matroska: 00:00:09.195000000
        if tag is not None:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        return container.duration / 1e6 if container.duration is not None and len(container.streams) == 1 else None

    def blocks(self, first_frame: int) -> Iterator[Frames]:
        rate = self.info.sample_rate
        frames = self._decoded()
        first = self._sought(frames, first_frame)
        position = self._position(first) if first is not None and first_frame else 0
        if position > first_frame:
            yield np.zeros((position - first_frame, 1), np.float32)  # the seek came too late: keep the time
        for frame in itertools.chain([] if first is None else [first], frames):
            samples = frame.to_ndarray().T
            yield samples[max(0, first_frame - position) :]
            position += len(samples)
        claimed_s = self.info.duration_s
        if self._damaged or (claimed_s is not None and claimed_s - position / rate > _BREAK_S):
            _warn_break(self.label, position / rate, claimed_s)

    def _sought(self, frames: Iterator[Any], first_frame: int) -> Any:
        """The first frame after a seek; without an index, time stamps are guesses: the first frame of all."""
        import av

        if first_frame and self._indexed:
            start_s = first_frame / self.info.sample_rate + self._origin_s
            try:
                self._container.seek(math.floor(start_s / self._stream.time_base), stream=self._stream)
            except av.FFmpegError:  # a damaged index: from the start, then
                self._damaged = True
        return next(frames, None)

    def _position(self, frame: Any) -> int:
        if frame.pts is None or not self._indexed:
            return 0
        return round((float(frame.pts * frame.time_base) - self._origin_s) * self.info.sample_rate)

    def _decoded(self) -> Iterator[Any]:
        """Frames as planar float32 at the track's rate; packets that cannot be decoded are left out."""
        import av

        resampler, rate = av.AudioResampler(format="fltp", rate=self.info.sample_rate), self.info.sample_rate
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError:
                self._damaged = True
                continue
            for frame in frames:
                try:
                    yield from resampler.resample(frame)
                except ValueError:  # rate or channels change within the track
                    resampler = av.AudioResampler(format="fltp", rate=rate)
                    yield from resampler.resample(frame)


def _as_frames(samples: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "frames channels"]:
    frames = samples[:, None] if samples.ndim == 1 else samples
    if frames.ndim != 2 or frames.shape[1] > _MOST_CHANNELS or frames.dtype.kind not in "iuf":
        raise SkipwiseError(
            "an array of audio must be numbers of shape [samples] or [samples, channels], "
            f"got {samples.dtype} {list(samples.shape)}. Transpose [channels, samples] first."
        )
    return frames


def _as_float(frames: Shaped[np.ndarray, "frames channels"]) -> Frames:
    """Full scale 1.0; unsigned integers are centred on half their range, as in wav files."""
    if frames.dtype.kind == "f":
        return frames.astype(np.float32)
    full_scale = 2.0 ** (8 * frames.dtype.itemsize - 1)
    centre = full_scale if frames.dtype.kind == "u" else 0.0
    return ((frames.astype(np.float64) - centre) / full_scale).astype(np.float32)


def _claimed_share(log: str) -> float:
    """Sample bytes that a wav or aiff header promises per byte that is there: libsndfile only logs it."""
    found = re.search(r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", log)
    if found is None or int(found[1]) >= _UNKNOWN_SIZE:
        return 1.0
    return max(1.0, int(found[1]) / max(1, int(found[2])))


def _ogg_is_complete(file: BinaryFile) -> bool:
    """Whether the last page is whole and carries the end-of-stream flag. Source: RFC 3533, section 6."""
    file.seek(-min(_OGG_PAGE, file.seek(0, io.SEEK_END)), io.SEEK_END)
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27:
        return False
    size = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return bool(page[5] & 4) and len(page) >= size


def _warn_break(label: str, decoded_s: float, claimed_s: float | None) -> None:
    claimed = "" if claimed_s is None else f" of {claimed_s:.2f} s"
    warn(
        f"{label} breaks off or is damaged: read as far as it goes, to second {decoded_s:.2f}{claimed}. "
        "Copy it again if it should be whole."
    )


def warn(message: str) -> None:
    """Tells the user something and goes on."""
    warnings.warn(message, SkipwiseWarning, stacklevel=2)
