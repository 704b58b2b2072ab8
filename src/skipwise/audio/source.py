"""From what the caller gives (path, bytes, file object, array) to an opened track."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, cast

import soundfile

from skipwise.audio.tracks import INDEXED, ArrayTrack, AvTrack, BinaryFile, SoundfileTrack, Track
from skipwise.errors import SkipwiseError

AudioSource = str | os.PathLike[str] | bytes | BinaryFile | tuple[Any, int]
"""A path, the bytes of a file, a binary file object (read from its start), or (samples, sample_rate)."""

_MIN_RATE, _MAX_RATE = 4_000, 192_000
_KNOWN = "wav, flac, ogg, opus, mp3, m4a, mp4, webm and whatever FFmpeg decodes"
_CONVERT = "ffmpeg -i INPUT -ac 1 -ar 16000 OUTPUT.wav"


@contextlib.contextmanager
def opened(source: object) -> Iterator[Track]:
    """The track of a source, closed afterwards. Raises SkipwiseError if there is no sound in it."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, tuple) and len(source) == 2:
            track: Track = ArrayTrack(*source)
        else:
            track = _file_track(*_binary_file(source, stack), stack)
        rate = track.info.sample_rate
        if not _MIN_RATE <= rate <= _MAX_RATE:
            raise SkipwiseError(
                f"{track.label} has a sample rate of {rate} Hz; allowed are {_MIN_RATE} to {_MAX_RATE}. "
                f"If the header is wrong, convert the file: {_CONVERT}"
            )
        if track.info.duration_s == 0 or track.info.num_channels == 0:
            raise _no_samples(track.label)
        yield track


def _file_track(file: BinaryFile, label: str, stack: contextlib.ExitStack) -> Track:
    if file.seek(0, io.SEEK_END) == 0:
        raise SkipwiseError(f"{label} is empty (0 bytes). Give an audio file: {_KNOWN}.")
    if not _may_be_mp3(file):
        try:
            return SoundfileTrack(stack.enter_context(soundfile.SoundFile(cast("Any", file))), file, label)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: it takes *.raw for headerless samples
            pass
    return _av_track(file, label, stack)


def _av_track(file: BinaryFile, label: str, stack: contextlib.ExitStack) -> AvTrack:
    import av

    counted = _counts_its_frames(file)
    try:
        container = stack.enter_context(av.open(cast("Any", file), mode="r", metadata_errors="ignore"))
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(file, label) from error
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no track at all"
        raise SkipwiseError(f"{label} has no audio track, got {kinds}. Give a file with sound in it: {_KNOWN}.")
    if container.streams.audio[0].codec_context is None:
        raise SkipwiseError(f"{label} is coded in a way that FFmpeg cannot decode here. Convert it first: {_CONVERT}")
    name = container.format.name
    return AvTrack(container, label, duration_is_exact=name in INDEXED or (name == "mp3" and counted))


def _may_be_mp3(file: BinaryFile) -> bool:
    """Mp3 goes to FFmpeg: soundfile seeks after each block, which loses mp3's bit reservoir (silence and clicks)."""
    file.seek(0)
    head = file.read(3)
    file.seek(0)
    return head == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0)


def _counts_its_frames(file: BinaryFile) -> bool:
    """Whether an mp3 has a Xing or Info header; without one its duration is guessed from the first bit rate."""
    file.seek(0)
    head = file.read(10)
    tag_size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    file.seek(10 + tag_size if head.startswith(b"ID3") else 0)
    first_frame = file.read(2_048)
    file.seek(0)
    return b"Xing" in first_frame or b"Info" in first_frame


def _binary_file(source: object, stack: contextlib.ExitStack) -> tuple[BinaryFile, str]:
    """A file that can seek, and its name for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), "the given data"
    if isinstance(source, str | os.PathLike):
        return _seekable(_open_path(source, stack), stack), str(source)
    if isinstance(source, BinaryFile) and not isinstance(source, io.TextIOBase):
        return _seekable(source, stack), str(getattr(source, "name", "the given file object"))
    raise SkipwiseError(
        f"cannot read audio from {type(source).__name__}; allowed are a path, the bytes of a file, a file object "
        "opened in binary mode (sys.stdin.buffer), or a pair (samples, sample_rate). A bare array has no rate."
    )


def _open_path(path: str | os.PathLike[str], stack: contextlib.ExitStack) -> BinaryFile:
    try:
        return stack.enter_context(open(path, "rb"))
    except FileNotFoundError:
        raise SkipwiseError(f"there is no file {path}. Check the path (working directory: {os.getcwd()}).") from None
    except IsADirectoryError:
        raise SkipwiseError(
            f"{path} is a directory, not an audio file. Name the files in it, for example {path}/*.wav."
        ) from None
    except OSError as error:
        raise SkipwiseError(f"{path} cannot be opened: {error.strerror}. Check that it may be read.") from error


def _seekable(file: BinaryFile, stack: contextlib.ExitStack) -> BinaryFile:
    if file.seekable():
        return file
    copy = stack.enter_context(tempfile.TemporaryFile(prefix="skipwise-"))  # noqa: SIM115 the stack closes it
    shutil.copyfileobj(file, copy)
    return copy


def _unreadable(file: BinaryFile, label: str) -> SkipwiseError:
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp":
        return SkipwiseError(
            f"{label} is an MP4 file without its index (moov): the recording or the copy broke off. "
            "Allowed are complete files; copy it again, or restore the index with a repair tool."
        )
    if head[:4] in (b"RIFF", b"fLaC", b"OggS"):
        return _no_samples(label)
    return SkipwiseError(
        f"{label} is not audio that can be read; got a file that begins with {head!r}. "
        f"Known: {_KNOWN}. Convert others: {_CONVERT}"
    )


def _no_samples(label: str) -> SkipwiseError:
    return SkipwiseError(
        f"{label} has a header but no samples after it. Copy or record the file again: 25 ms is the least."
    )
