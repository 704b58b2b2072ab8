"""The whole flow: audio -> windows -> features -> plans -> encoder -> decoder -> text.

Shapes: B windows decoded together, P prompt tokens.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from skipwise.audio import AudioSource, load_audio, stream_audio
from skipwise.data.languages import to_iso639_3
from skipwise.decoding.greedy import greedy_search
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Segment, Timings, Transcript
from skipwise.decoding.windows import is_silence, quiet_windows
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, Context, FixedPlanner, GateAdapter, GatePlan, Planner
from skipwise.models.attach import check_base, describe_base
from skipwise.models.owsm.loading import GATES_FOLDER, OwsmModel, load_owsm

Gates = Literal["auto", "none"] | str | Path | GateAdapter | GatePlan | None
"""Those beside the model if it has some; none (`none` or None); a folder or Hub name; an adapter; one fixed plan."""

_SPANS_NAMED = 3


@final
@dataclass(frozen=True)
class Request:
    """One thing to transcribe or to translate."""

    audio: AudioSource
    """A path, the bytes of a file, a binary file object, or (samples, sample_rate)."""
    language: str
    """Language of the speech: `de` or `deu`."""
    task: str = "asr"
    """`asr`, or a translation: `st_eng`."""
    start_s: float = 0.0
    """Where to begin in the audio."""
    end_s: float | None = None
    """Where to stop; None is its end. A part of a file is held in memory as a whole."""


@final
class Transcriber:
    """Turns audio into text with one model and its gates. Holds no state of a call: threads may share it."""

    def __init__(
        self,
        model: OwsmModel | str | Path | None = None,
        *,
        gates: Gates = "auto",
        device: str | torch.device = "cpu",
        options: DecodeOptions | None = None,
    ) -> None:
        """Load `model`: a folder, a Hub name, or None for the reference model; one in memory stays where it is.

        Raises:
            SkipwiseError: if the model or its gates cannot be read, or do not belong together.
        """
        if model is None:  # by its role, not by where this installation keeps it: results name their model
            model = replace(load_owsm(reference_model(), device=_checked_device(device)), name="reference")
        elif not isinstance(model, OwsmModel):
            model = load_owsm(model, device=_checked_device(device))
        if model.network.training:
            raise SkipwiseError(
                "this model is in training mode, so its dropout is on. Call model.network.eval() first."
            )
        self.model = model
        self.planner: Planner = _planner(model, gates)
        self.options = options or DecodeOptions()

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the model knows, ISO 639-3."""
        return self.model.network.config.languages

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the model knows."""
        return self.model.network.config.tasks

    def context(self, language: str, task: str = "asr") -> Context:
        """Return the context that a request's gates are decided from.

        Raises:
            SkipwiseError: if the model does not know the language or the task.
        """
        context = Context(language=_language(language), task=task)
        self.model.network.config.prompt(str(context.language), task)
        return context

    def transcribe(self, audio: AudioSource, *, language: str, task: str = "asr") -> Transcript:
        """Return the text of one file, stream or (samples, sample_rate) of any length, in bounded memory.

        Raises:
            SkipwiseError: if there is no sound in it, or the model does not know the language or the task.
        """
        return next(self.transcribe_many([Request(audio, language, task)]))

    def transcribe_many(self, requests: Iterable[Request], *, batch_s: float = 120.0) -> Iterator[Transcript]:
        """Yield a transcript a request, in their order, decoding together what fits into `batch_s` padded seconds.

        Requests are read as they are needed. Put those of similar length side by side: less padding. Raises as
        `transcribe`, when it comes to the request in question.
        """
        jobs = (job for index, request in enumerate(requests) for job in self._jobs(index, request))
        parts = (part for batch in _batches(jobs, batch_s, self.model) for part in self._parts(batch))
        for _, group in groupby(parts, key=lambda part: part.stretch.index):
            yield _transcript(list(group))

    def _jobs(self, index: int, request: Request) -> Iterator[_Job]:
        """The windows of a request, cut at quiet points, each with what decoding starts from."""
        config, context = self.model.network.config, self.context(request.language, request.task)
        prompt = config.prompt(str(context.language), str(context.task))
        max_window_s = min(config.max_window_s, config.window_s or config.max_window_s)
        for window in quiet_windows(_blocks(request), max_window_s=max_window_s):
            samples = None if is_silence(window.samples) else torch.tensor(window.samples)
            start_s, end_s = (request.start_s + second for second in (window.start_s, window.end_s))
            yield _Job(_Stretch(index, request, context, start_s, end_s), prompt, samples)

    def _parts(self, batch: Sequence[_Job]) -> Iterator[_Part]:
        """The batch's jobs with their results, in order; silence is not decoded."""
        decoded = iter(self._decoded([job for job in batch if job.samples is not None]))
        return (_silent(job.stretch) if job.samples is None else next(decoded) for job in batch)

    @torch.inference_mode()
    def _decoded(self, batch: Sequence[_Job]) -> list[_Part]:
        if not batch:
            return []
        network, vocabulary = self.model.network, self.model.vocabulary
        device = network.feature_mean.device
        contexts = [job.stretch.context for job in batch]
        prompts_BP = torch.tensor([job.prompt for job in batch], device=device)
        clock = _Clock(device)

        features = network.extract([job.samples.to(device) for job in batch if job.samples is not None])
        features_s = clock.lap()
        embedded = network.embed(features)
        encoder_plan = self.planner.encoder(contexts, embedded.pooled())
        encoded = network.encode(embedded, encoder_plan)
        encoder_s = clock.lap()
        decoder_plan = self.planner.decoder(contexts, encoded.pooled())
        found = greedy_search(network, encoded, prompts_BP, options=self.options, gates=decoder_plan)
        decoder_s = clock.lap()

        plan, batch_s = encoder_plan.join(decoder_plan), sum(job.stretch.duration_s for job in batch)
        return [
            _Part(
                job.stretch,
                Segment(
                    start_s=job.stretch.start_s,
                    end_s=job.stretch.end_s,
                    text=vocabulary.decode(hypothesis.tokens).strip(),
                    tokens=hypothesis.tokens,
                    score=hypothesis.score,
                    finished=hypothesis.finished,
                    plan=plan.row(row),
                ),
                _timings(job.stretch, job.stretch.duration_s / batch_s, (features_s, encoder_s, decoder_s)),
            )
            for row, (job, hypothesis) in enumerate(zip(batch, found, strict=True))
        ]


def reference_model() -> Path:
    """Return the folder of the model that comes with the package.

    Raises:
        SkipwiseError: if this installation lacks it.
    """
    folder = Path(str(files("skipwise"))) / "assets" / "reference"
    if not folder.is_dir():
        raise SkipwiseError(
            f"this installation has no reference model: {folder} is missing. Name a model (a folder or a Hub name), or "
            "install skipwise again."
        )
    return folder


@final
@dataclass(frozen=True, eq=False)
class _Stretch:
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
class _Job:
    """One window to decode."""

    stretch: _Stretch
    prompt: list[int]
    samples: Tensor | None
    """None for silence."""


@final
@dataclass(frozen=True, eq=False)
class _Part:
    """One window's result; it does not hold on to the samples, or all of a long file would be in memory at its end."""

    stretch: _Stretch
    segment: Segment
    timings: Timings
    is_silent: bool = False


@final
class _Clock:
    """Seconds between laps, with the work that was launched before a lap counted in it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> float:
        last, self._last = self._last, self._now()
        return self._last - last

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _planner(model: OwsmModel, gates: Gates) -> Planner:
    network, beside = model.network, model.folder / GATES_FOLDER
    if gates == "auto":
        gates = network.gate_adapter or (beside if beside.is_dir() else None)
    match gates:
        case None | "none":
            return OPEN_PLANNER
        case GatePlan():
            return FixedPlanner(_checked_plan(gates, model))
        case GateAdapter():
            adapter = gates
        case _:
            adapter = GateAdapter.from_pretrained(gates)
    if adapter is not network.gate_adapter:  # an attached one was checked, and its base may be in training since
        check_base(adapter, describe_base(network))
    return AdapterPlanner(adapter.to(network.feature_mean.device))


def _checked_plan(plan: GatePlan, model: OwsmModel) -> GatePlan:
    sites = model.network.config.gate_sites()
    unknown = [str(site) for site in plan.sites if site not in sites]
    if unknown:
        raise SkipwiseError(f"the model has no site {', '.join(unknown)}. Its sites: {', '.join(map(str, sites))}.")
    if plan.num_rows != 1:
        raise SkipwiseError(f"a fixed plan must have one row, which every input follows; got {plan.num_rows}.")
    return plan


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA raises the latter
        reason = str(error).splitlines()[0]
        raise SkipwiseError(
            f"cannot compute on device {str(device)!r}: {reason}. Use cpu, or cuda with a GPU."
        ) from error


def _language(code: str) -> str:
    """The three-letter code; one that is in no list is left to the model, which names those that it knows."""
    try:
        return to_iso639_3(code)
    except SkipwiseError:
        return code.strip()


def _blocks(request: Request) -> Iterator[Float32[np.ndarray, " samples"]]:
    if request.start_s == 0.0 and request.end_s is None:
        return stream_audio(request.audio)
    return iter([load_audio(request.audio, start_s=request.start_s, end_s=request.end_s)])


def _batches(jobs: Iterable[_Job], batch_s: float, model: OwsmModel) -> Iterator[list[_Job]]:
    """Consecutive jobs, padded to the longest, within `batch_s` seconds; a longer job makes a batch of its own."""
    if not batch_s > 0:
        raise SkipwiseError(f"batch_s must be above 0 seconds, got {batch_s}. The default is 120.")
    batch: list[_Job] = []
    rows, longest_s = 0, 0.0
    for job in jobs:
        if job.samples is not None:
            job_s = model.network.config.window_s or job.stretch.duration_s
            if rows and (rows + 1) * max(longest_s, job_s) > batch_s:
                yield batch
                batch, rows, longest_s = [], 0, 0.0
            rows, longest_s = rows + 1, max(longest_s, job_s)
        batch.append(job)
    if batch:
        yield batch


def _silent(stretch: _Stretch) -> _Part:
    segment = Segment(
        start_s=stretch.start_s,
        end_s=stretch.end_s,
        text="",
        tokens=(),
        score=0.0,
        finished=True,
        plan=GatePlan.all_open(()),
    )
    return _Part(stretch, segment, _timings(stretch, 0.0, (0.0, 0.0, 0.0)), is_silent=True)


def _timings(stretch: _Stretch, share: float, seconds: tuple[float, float, float]) -> Timings:
    """The part of a batch's seconds that falls to one of its windows."""
    features_s, encoder_s, decoder_s = (share * value for value in seconds)
    return Timings(audio_s=stretch.duration_s, features_s=features_s, encoder_s=encoder_s, decoder_s=decoder_s)


def _transcript(parts: Sequence[_Part]) -> Transcript:
    """One request's windows, put together."""
    first = parts[0].stretch
    _warn_of_silence(first.request.audio, [part.stretch for part in parts if part.is_silent])
    return Transcript(
        text=" ".join(part.segment.text for part in parts if part.segment.text),
        language=str(first.context.language),
        task=first.request.task,
        segments=tuple(part.segment for part in parts),
        timings=Timings.sum_of([part.timings for part in parts]),
    )


def _warn_of_silence(audio: AudioSource, silent: Sequence[_Stretch]) -> None:
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
            f"{_label(audio)} is silent from {named}{more}: nothing was decoded there. If there is speech in it, check "
            "the recording's level and channels.",
            SkipwiseWarning,
            stacklevel=2,
        )


def _label(audio: AudioSource) -> str:
    if isinstance(audio, str | os.PathLike):
        return os.fspath(audio)
    return str(getattr(audio, "name", "the given audio"))
