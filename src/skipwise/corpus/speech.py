"""Sentences to samples with espeak-ng, in a forked process per speech.

What espeak-ng returns depends on what the process said before, so every speech is said by a fresh copy of a process
that never spoke. A fork of a small process costs a few milliseconds; a process with torch asks a `CleanProcess`.
"""

import ctypes
import os
import struct
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipwise.corpus.clean_process import clean_process, is_needed, read_requests, write_answer
from skipwise.corpus.own_voice import espeak_loader, language_files, variant_path
from skipwise.corpus.voices import Speaker, variants_of
from skipwise.errors import SkipwiseError

SAMPLE_RATE = 22050
"""espeak-ng's only rate, in Hz."""

_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


# espeak-ng crashes now and then; the samples do not depend on the attempt
_ATTEMPTS = 5


@cache
def _library() -> ctypes.CDLL:
    loader = espeak_loader()
    library = ctypes.CDLL(loader.get_library_path())
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0)
    if rate != SAMPLE_RATE:
        raise SkipwiseError(
            f"espeak-ng did not start (it answered {rate}). "
            "Reinstall it: pip install --force-reinstall espeakng-loader."
        )
    language_files()  # looked for once, here, and not by every fork
    return library


@cache
def espeak_version() -> str:
    """The version of the espeak-ng library, e.g. "1.52.0"."""
    _library().espeak_Info.restype = ctypes.c_char_p
    return _library().espeak_Info(None).decode().split()[0]


def check_voice(voice: str) -> None:
    """Raise SkipwiseError if espeak-ng has no such dialect or variant (it would silently use another)."""
    for name in variants_of(voice):
        variant_path(name)
    dialect = voice.partition("+")[0]
    if _library().espeak_SetVoiceByName(dialect.encode()) != 0:
        raise SkipwiseError(f"espeak-ng has no voice {dialect!r}. Reinstall it: pip install espeakng-loader.")


def say(texts: Sequence[str], speaker: Speaker) -> list[NDArray[np.float32]]:
    """The samples of each text at SAMPLE_RATE, in [-1, 1]. The same call gives the same samples in any process."""
    _library()
    for _ in range(_ATTEMPTS):
        status, answer = _said(texts, speaker)
        if status == 0:
            return _unpack(answer, len(texts))
        if not os.WIFSIGNALED(status):
            break
    raise SkipwiseError(f"espeak-ng failed on voice {speaker.voice!r} (status {status}). Is the voice installed?")


def serve() -> None:
    """Speak what is asked for on standard input: the life of a `CleanProcess`."""
    _library()
    for texts, speaker in read_requests(sys.stdin.buffer):
        write_answer(sys.stdout.buffer, *_said_by_a_child(texts, speaker))


def _said(texts: Sequence[str], speaker: Speaker) -> tuple[int, bytes]:
    return clean_process().say(texts, speaker) if is_needed() else _said_by_a_child(texts, speaker)


def _said_by_a_child(texts: Sequence[str], speaker: Speaker) -> tuple[int, bytes]:
    """The wait status of a process that speaks, and what it wrote."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns when a process with (BLAS) threads forks; the child calls nothing but espeak-ng.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            status = _speak(texts, speaker, writing)
        finally:
            # No clean-up: the buffers and handlers of the parent are not the child's to flush.
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    return os.waitpid(child, 0)[1], answer


def _unpack(answer: bytes, count: int) -> list[NDArray[np.float32]]:
    sentences, offset = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from("<q", answer, offset)
        offset += 8
        samples = np.frombuffer(answer, dtype="<i2", count=length // 2, offset=offset)
        sentences.append(samples.astype(np.float32) / 32768)
        offset += length
    return sentences


def _speak(texts: Sequence[str], speaker: Speaker, pipe: int) -> int:
    """Write each text's samples to `pipe`, after their length in bytes; returns the exit status of the child."""
    library = _library()
    chunks: list[bytes] = []

    @_CALLBACK
    def collect(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    # Breathy voices (f2, f3, f5) use random numbers, its own (which it seeds with the time) and the C library's.
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    ctypes.CDLL(None).srand(1)
    library.espeak_SetSynthCallback(collect)
    if _choose_voice(library, speaker) != 0:
        return 2
    for parameter, value in ((_RATE, speaker.rate_wpm), (_PITCH, speaker.pitch), (_RANGE, speaker.pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    with open(pipe, "wb") as out:
        for text in texts:
            chunks.clear()
            raw = text.encode() + b"\0"
            library.espeak_Synth(raw, len(raw), 0, 1, 0, _UTF8, None, None)
            library.espeak_Synchronize()
            said = b"".join(chunks)
            out.write(struct.pack("<q", len(said)) + said)
    return 0


def _choose_voice(library: ctypes.CDLL, speaker: Speaker) -> int:
    """Status 0, or espeak-ng has no such voice."""
    if not speaker.own_voice:
        return library.espeak_SetVoiceByName(speaker.voice.encode())
    language = language_files().get(speaker.voice.partition("+")[0])
    if language is None:
        return 1
    # the lines of an own voice after those of its language make a whole one
    with NamedTemporaryFile("w", encoding="utf-8", suffix=".voice") as file:
        file.write(language.read_text(encoding="utf-8") + "\n" + speaker.own_voice)
        file.flush()
        return library.espeak_ng_SetVoiceByFile(file.name.encode())
