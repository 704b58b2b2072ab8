"""Requests on their way through a model: cut into windows, decoded in batches, put together again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float32
from torch import Tensor

from skipwise.audio import AudioSource
from skipwise.decoding.result import Segment, Timings, Transcript
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import Context, GatePlan

UNDETERMINED = "und"
"""ISO 639-3 for a language that is not known."""

_SPANS_NAMED = 3


@final
@dataclass(frozen=True)
class Request:
    """One thing to transcribe or to translate."""

    audio: AudioSource
    """A path, the bytes of a file, a binary file object, or (samples, sample_rate)."""
    language: str | None = None
    """Language of the speech: `de` or `deu`; None has the model say it, for each window."""
    task: str = "asr"
    """`asr`, or a translation: `st_eng`."""
    start_s: float = 0.0
    """Where to begin in the audio."""
    end_s: float | None = None
    """Where to stop; None is its end. A part of a file is held in memory as a whole."""
    previous_text: str | None = None
    """What was said before, in the language of the output; None says that nothing is known of it."""
    speaker: tuple[float, ...] | None = None
    """Speaker embedding for gates that were trained with them; None has it computed, where the gates know how."""
    event: tuple[float, ...] | None = None
    """Embedding of the acoustic events, likewise."""
    sparsity: float | None = None
    """Share to skip of each gated stack, in [0, 1), for gates that follow any; None: what the transcriber asks for."""
    gates: str | None = None
    """Which of the transcriber's gates decide, by name; None: the first."""


@final
@dataclass(frozen=True, eq=False)
class Stretch:
    """Where a window lies: in which request, and when."""

    index: int
    request: Request
    context: Context
    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@final
@dataclass(frozen=True, eq=False)
class Job:
    """One window to decode."""

    stretch: Stretch
    samples: Float32[Tensor, " samples"] | None
    """None for silence."""
    previous_text: str | None


@final
@dataclass(frozen=True, eq=False)
class Part:
    """One window's result; it does not hold on to the samples, or all of a long file would be in memory at its end."""

    stretch: Stretch
    segment: Segment
    timings: Timings

    @classmethod
    def silent(cls, stretch: Stretch) -> Part:
        """Return the result of a window without sound, which is not decoded."""
        segment = Segment(
            start_s=stretch.start_s,
            end_s=stretch.end_s,
            text="",
            language=stretch.context.language,
            tokens=(),
            score=0.0,
            finished=True,
            plan=GatePlan.all_open(()),
            num_prompt_tokens=0,
            is_silent=True,
        )
        nothing = Timings(audio_s=stretch.duration_s, features_s=0.0, encoder_s=0.0, decoder_s=0.0)
        return cls(stretch, segment, nothing)


def make_batches(jobs: Iterable[Job], batch_s: float, *, window_s: float | None) -> Iterator[list[Job]]:
    """Yield consecutive jobs, padded to the longest or to `window_s`, within `batch_s` seconds.

    A longer job makes a batch of its own; silence takes up nothing.

    Raises:
        SkipwiseError: if `batch_s` is not above 0.
    """
    if not batch_s > 0:
        raise SkipwiseError(f"batch_s must be above 0 seconds, got {batch_s}. The default is 120.")
    batch: list[Job] = []
    rows, longest_s = 0, 0.0
    for job in jobs:
        if job.samples is not None:
            job_s = window_s or job.stretch.duration_s
            if rows and (rows + 1) * max(longest_s, job_s) > batch_s:
                yield batch
                batch, rows, longest_s = [], 0, 0.0
            rows, longest_s = rows + 1, max(longest_s, job_s)
        batch.append(job)
    if batch:
        yield batch


def shared_timings(stretch: Stretch, share: float, seconds: tuple[float, float, float]) -> Timings:
    """Return the part of a batch's seconds (features, encoder, decoder) that falls to one of its windows."""
    features_s, encoder_s, decoder_s = (share * value for value in seconds)
    return Timings(audio_s=stretch.duration_s, features_s=features_s, encoder_s=encoder_s, decoder_s=decoder_s)


def to_transcript(parts: Sequence[Part]) -> Transcript:
    """Return one request's windows, put together; warns of silent ones."""
    first = parts[0].stretch
    _warn_of_silence(first.request.audio, [part.stretch for part in parts if part.segment.is_silent])
    return Transcript(
        text=" ".join(part.segment.text for part in parts if part.segment.text),
        language=_most_spoken(parts),
        task=first.request.task,
        segments=tuple(part.segment for part in parts),
        timings=Timings.sum_of([part.timings for part in parts]),
    )


def audio_label(audio: AudioSource) -> str:
    """Return what a message calls a piece of audio."""
    if isinstance(audio, str | os.PathLike):
        return os.fspath(audio)
    return str(getattr(audio, "name", "the given audio"))


def _most_spoken(parts: Sequence[Part]) -> str:
    seconds: dict[str, float] = {}
    for part in parts:
        language = part.segment.language
        if language is not None:
            seconds[language] = seconds.get(language, 0.0) + part.stretch.duration_s
    return max(seconds, key=seconds.__getitem__, default=UNDETERMINED)


def _warn_of_silence(audio: AudioSource, silent: Sequence[Stretch]) -> None:
    spans: list[tuple[float, float]] = []
    for stretch in silent:
        if spans and abs(spans[-1][1] - stretch.start_s) < 1e-3:
            spans[-1] = (spans[-1][0], stretch.end_s)
        else:
            spans.append((stretch.start_s, stretch.end_s))
    if spans:
        named = ", ".join(f"{start_s:.1f} to {end_s:.1f} s" for start_s, end_s in spans[:_SPANS_NAMED])
        more = f" and {len(spans) - _SPANS_NAMED} more stretches" if len(spans) > _SPANS_NAMED else ""
        warnings.warn(
            f"{audio_label(audio)} is silent from {named}{more}: nothing was decoded there. If there is speech in it, "
            "check the recording's level and channels.",
            SkipwiseWarning,
            stacklevel=2,
        )
