"""A process that loads nothing but what speaks, for callers that have loaded much else.

espeak-ng (1.52) reads memory that it never wrote. Fresh memory is zero and does no harm; in a fork of a process whose
heap was used, by torch above all, it meets what others left: "Invalid instruction 0000 for phoneme", and a crash.
"""

from __future__ import annotations

import atexit
import json
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from threading import Lock
from typing import IO, final

from skipwise.corpus.voices import Speaker

_HEADER = struct.Struct("<iq")
_SERVE = "from skipwise.corpus.speech import serve; serve()"


def is_needed() -> bool:
    """Return whether this process is too full to speak by itself."""
    return "torch" in sys.modules


@final
class CleanProcess:
    """Speaks on request; ends with this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = subprocess.Popen([sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self._process.communicate)  # its input ends, and so does it

    def say(self, texts: Sequence[str], speaker: Speaker) -> tuple[int, bytes]:
        """Return the wait status of a fork of it that spoke, and what that wrote."""
        request, answer = self._process.stdin, self._process.stdout
        assert request is not None and answer is not None
        with self._lock:
            request.write(json.dumps([list(texts), asdict(speaker)]).encode() + b"\n")
            request.flush()
            status, length = _HEADER.unpack(answer.read(_HEADER.size))
            return status, answer.read(length)


@cache
def clean_process() -> CleanProcess:
    """Return this process's own, started at the first call."""
    return CleanProcess()


def read_requests(requests: IO[bytes]) -> Iterator[tuple[list[str], Speaker]]:
    """Yield what `CleanProcess.say` writes, until it ends."""
    for line in requests:
        texts, speaker = json.loads(line)
        yield texts, Speaker(**speaker)


def write_answer(answers: IO[bytes], status: int, answer: bytes) -> None:
    """Write what `CleanProcess.say` returns."""
    answers.write(_HEADER.pack(status, len(answer)) + answer)
    answers.flush()
