"""The whole flow: audio -> windows -> features -> plans -> encoder -> decoder -> text.

Shapes: B windows decoded together.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from skipwise.audio import SAMPLE_RATE, AudioSource, load_audio, stream_audio
from skipwise.data.languages import to_iso639_3
from skipwise.decoding.long_form import SHORTEST_S, RollingAudio, cut_at_last_sentence
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Transcript
from skipwise.decoding.window_decoder import WindowDecoder
from skipwise.decoding.windows import is_silence, quiet_windows
from skipwise.decoding.work import (
    Job,
    Part,
    Request,
    Stretch,
    make_batches,
    to_transcript,
)
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import Budget, Context, GateSite, Planner
from skipwise.gating.adapter_files import base_named_in
from skipwise.models.attach import device_of
from skipwise.models.extractors import ContextExtractors
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.loading import load_model
from skipwise.models.planners import Gates, budget_of, check_request, model_for, planner_for
from skipwise.models.precision import Dtype, check_dtype
from skipwise.models.registry import family_of

REFERENCE = "reference"
"""What the model that comes with the package is called in recipes and results."""


@final
class Transcriber:
    """Turns audio into text with one model and its gates. Holds no state of a call: threads may share it."""

    def __init__(
        self,
        model: SpeechModel[nn.Module, Vocabulary] | str | Path | None = None,
        *,
        gates: Gates = "auto",
        sparsity: float | Budget | None = None,
        exact: bool = False,
        device: str | torch.device = "cpu",
        dtype: Dtype | Literal["auto"] = "auto",
        options: DecodeOptions | None = None,
    ) -> None:
        """Load `model`: a folder, a Hub name, or one in memory, which stays where it is.

        None is the base that the folder of `gates` names, and without gates of one's own the reference model.
        `sparsity` is the share to skip of each gated stack, in [0, 1), if gates follow one; with `exact` as much is
        skipped as that says, rounded, whatever the gates were trained for. A `Budget` says in which unit, too. `gates`
        may be several by name, `{"fast": "gates/fast", "dense": None}`, of which each request names one. `dtype`
        is the precision that is computed in; auto is the fastest on this machine that leaves the texts as they are. The
        weights are packed here: make another Transcriber after they changed.

        Raises:
            SkipwiseError: if the model or its gates cannot be read, do not belong together, or know no such budget, or
                the device does not compute in `dtype`.
        """
        if not isinstance(model, SpeechModel):
            model = _loaded(model or base_of(gates), _checked_device(device))
        if model.network.training:
            raise SkipwiseError(
                "this model is in training mode, so its dropout is on. Call model.network.eval() first."
            )
        family = family_of(model.network)
        config = family.config(model.network)
        self.planner: Planner = planner_for(model, gates, budget_of(sparsity, exact=exact))
        self.model = model_for(model, self.planner)
        self._extractors = ContextExtractors.of_planner(self.planner, num_mel_bins=config.num_mel_bins)
        num_weights = sum(parameter.numel() for parameter in family.decoder_parameters(model.network))
        packed = check_dtype(dtype, device_of(model.network), num_weights=num_weights)
        self.engine = family.engine(self.model.network, packed)
        self.options = (options or DecodeOptions()).for_windows(padded=config.window_s is not None)
        self._decoder = WindowDecoder(self.engine, model.vocabulary, self.planner, self.options)
        if self.options.timestamps and not config.timestamps_share:
            _warn_untrained(model, "timestamps")
        if self.options.condition_on_previous and not config.previous_text_share:
            _warn_untrained(model, "previous text")

    @property
    def sites(self) -> tuple[GateSite, ...]:
        """All sites of the model."""
        return family_of(self.model.network).describe(self.model.network).sites

    @property
    def sizes(self) -> Any:
        """The config of the network, as its family has it: what costs are counted from."""
        return self.model.network.config

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the model knows, ISO 639-3."""
        return self.engine.config.languages

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the model knows."""
        return self.engine.config.tasks

    def context(
        self, language: str | None, task: str = "asr", *, sparsity: float | None = None, gates: str | None = None
    ) -> Context:
        """Return the context that a request's gates are decided from; a language of None is to be predicted.

        Raises:
            SkipwiseError: if the model does not know the language or the task, the options do not suit the task, there
                are no gates of that name, or they do not follow that sparsity.
        """
        config = self.engine.config
        named = None if language is None else _language(language)
        context = Context(language=named, task=task, budget=sparsity, gates=gates)
        config.prompt(context.language or config.languages[0], task)
        self.options.check_task(task)
        check_request(self.planner, context)
        return context

    def transcribe(
        self,
        audio: AudioSource,
        *,
        language: str | None = None,
        task: str = "asr",
        previous_text: str | None = None,
        sparsity: float | None = None,
        gates: str | None = None,
    ) -> Transcript:
        """Return the text of one file, stream or (samples, sample_rate) of any length, in bounded memory.

        Without a `language` the model says for each window which one it hears. `previous_text` is what was said before.
        `sparsity` and `gates`, the name of one of several, are for this request alone: see `Request`.

        Raises:
            SkipwiseError: if there is no sound in it, or the model or its gates do not know what is asked for.
        """
        request = Request(audio, language, task, previous_text=previous_text, sparsity=sparsity, gates=gates)
        return next(self.transcribe_many([request]))

    def transcribe_many(self, requests: Iterable[Request], *, batch_s: float = 120.0) -> Iterator[Transcript]:
        """Yield a transcript a request, in their order, decoding together what fits into `batch_s` padded seconds.

        Requests are read as they are needed. Put those of similar length side by side: less padding. Where each window
        is told the text of the one before it, windows are decoded one by one. Raises as `transcribe`, when it comes to
        the request in question.
        """
        if self.options.long_form == "timestamps":
            parts = (part for index, request in enumerate(requests) for part in self._followed(index, request))
        elif self.options.condition_on_previous:
            parts = (part for index, request in enumerate(requests) for part in self._chained(index, request))
        else:
            jobs = (job for index, request in enumerate(requests) for job in self._jobs(index, request))
            batches = make_batches(jobs, batch_s, window_s=self.engine.config.window_s)
            parts = (part for batch in batches for part in self._parts(batch))
        for _, group in groupby(parts, key=lambda part: part.stretch.index):
            yield to_transcript(list(group))

    def _jobs(self, index: int, request: Request) -> Iterator[Job]:
        """The windows of a request, cut at quiet points, each with what decoding starts from."""
        context, previous_text = self._start(request)
        for window in quiet_windows(_blocks(request), max_window_s=self._max_window_s):
            start_s, end_s = (request.start_s + second for second in (window.start_s, window.end_s))
            own = self._extractors.complete(context, torch.tensor(window.samples))
            yield _job(Stretch(index, request, own, start_s, end_s), window.samples, previous_text)
            previous_text = None

    def _start(self, request: Request) -> tuple[Context, str | None]:
        """What is known of a request before it is read."""
        if request.previous_text is not None and not self.engine.config.previous_text_share:
            _warn_untrained(self.model, "previous text")
        context = self.context(request.language, request.task, sparsity=request.sparsity, gates=request.gates)
        return replace(context, speaker=request.speaker, event=request.event), request.previous_text

    def _chained(self, index: int, request: Request) -> Iterator[Part]:
        """The results of a request's windows, each decoded with the text of the last one that was not silent."""
        previous_text = request.previous_text
        for job in self._jobs(index, request):
            (part,) = self._parts([replace(job, previous_text=previous_text)])
            if not part.segment.is_silent:
                previous_text = part.segment.text
            yield part

    def _followed(self, index: int, request: Request) -> Iterator[Part]:
        """The results of windows of which each begins where the last sentence of the one before it ended."""
        context, previous_text = self._start(request)
        audio = RollingAudio(_blocks(request))
        while len(samples := audio.window(round(self._max_window_s * SAMPLE_RATE))):
            if audio.start and len(samples) < SHORTEST_S * SAMPLE_RATE:
                break
            start_s, window_s = request.start_s + audio.start / SAMPLE_RATE, len(samples) / SAMPLE_RATE
            own = self._extractors.complete(context, torch.tensor(samples))
            stretch = Stretch(index, request, own, start_s, start_s + window_s)
            (part,) = self._parts([_job(stretch, samples, previous_text)])
            cut = cut_at_last_sentence(part.segment.tokens, self.engine.config)
            segment = self._decoder.cut(part.segment, cut)
            timings = replace(part.timings, audio_s=segment.end_s - segment.start_s)
            audio.advance(len(samples) if cut.advance_s is None else round(cut.advance_s * SAMPLE_RATE))
            if not self.options.condition_on_previous:
                previous_text = None
            elif not segment.is_silent:
                previous_text = "".join(sentence.text for sentence in segment.sentences)  # without spaces, as in ESPnet
            yield Part(stretch, segment, timings)

    @property
    def _max_window_s(self) -> float:
        config = self.engine.config
        return min(config.max_window_s, config.window_s or config.max_window_s)

    def _parts(self, batch: Sequence[Job]) -> Iterator[Part]:
        """The batch's jobs with their results, in order; silence is not decoded."""
        decoded = iter(self._decoder.decode([job for job in batch if job.samples is not None]))
        return (Part.silent(job.stretch) if job.samples is None else next(decoded) for job in batch)


def base_of(gates: Gates) -> str | None:
    """Return the base that an adapter's folder or Hub name names; None for other gates, and for the reference model.

    Raises:
        SkipwiseError: if there is no adapter.
    """
    if not isinstance(gates, str | Path) or gates in ("auto", "none"):
        return None
    named = base_named_in(gates)
    return None if named == REFERENCE else named


def _loaded(model: str | Path | None, device: torch.device) -> SpeechModel[nn.Module, Vocabulary]:
    if model is None:  # by its role, not by where this installation keeps it: results name their model
        return replace(load_model(reference_model(), device=device), name=REFERENCE)
    return load_model(model, device=device)


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


def shipped_clips() -> Path:
    """Return the manifest of the clips that come with the package.

    Raises:
        SkipwiseError: if this installation lacks them.
    """
    manifest = Path(str(files("skipwise"))) / "assets" / "clips" / "manifest.jsonl"
    if not manifest.is_file():
        raise SkipwiseError(
            f"this installation has no clips: {manifest} is missing. Name a manifest with --clips, or install it again."
        )
    return manifest


def _warn_untrained(model: SpeechModel[nn.Module, Vocabulary], what: str) -> None:
    warnings.warn(
        f"{model.name} was not trained with {what}: expect invented text. Use a model that was, such as an OWSM.",
        SkipwiseWarning,
        stacklevel=3,
    )


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


def _job(stretch: Stretch, samples: Float32[np.ndarray, " samples"], previous_text: str | None) -> Job:
    return Job(stretch, None if is_silence(samples) else torch.tensor(samples), previous_text)


def _blocks(request: Request) -> Iterator[Float32[np.ndarray, " samples"]]:
    if request.start_s == 0.0 and request.end_s is None:
        return stream_audio(request.audio)
    return iter([load_audio(request.audio, start_s=request.start_s, end_s=request.end_s)])
