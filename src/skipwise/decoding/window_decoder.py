"""A batch of windows on its way through the model: features -> plans -> encoder -> decoder -> segments.

Shapes: B windows decoded together.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch

from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.language import predict_language
from skipwise.decoding.long_form import Cut
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Alternative, Segment
from skipwise.decoding.search import search
from skipwise.decoding.sentences import Sentence, sentences_of
from skipwise.decoding.work import Job, Part, Stretch, audio_label, shared_timings
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.features import SpeechStates
from skipwise.gating import Context, GatePlan, Planner
from skipwise.gating.steps import StepPlanner
from skipwise.memory import is_out_of_memory
from skipwise.models.attach import device_of
from skipwise.models.family import Vocabulary
from skipwise.models.planned import decoder_gates, encode_planned
from skipwise.models.speech_engine import SpeechEngine

_NOTHING_FOUND = Hypothesis(tokens=(), score=0.0, finished=False)


@final
class WindowDecoder:
    """Decodes windows under the plans of one planner. Holds no state of a call: threads may share it."""

    def __init__(self, engine: SpeechEngine, vocabulary: Vocabulary, planner: Planner, options: DecodeOptions) -> None:
        self._engine, self._vocabulary = engine, vocabulary
        self._planner, self._options = planner, options

    def decode(self, batch: Sequence[Job]) -> list[Part]:
        """Return the results of windows that are not silent, in order; what does not fit into memory is halved.

        Raises:
            SkipwiseError: if one window alone does not fit.
        """
        if not batch:
            return []
        try:
            return self._together(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                stretch = batch[0].stretch
                raise SkipwiseError(
                    f"out of memory with {audio_label(stretch.request.audio)}, {stretch.start_s:.1f} to "
                    f"{stretch.end_s:.1f} s, alone. Use a smaller beam_size, a smaller dtype, or a smaller model."
                ) from error
        # outside of the handler: the error holds on to what filled the memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(batch) // 2
        warnings.warn(
            f"out of memory with {len(batch)} windows at once: they are decoded in two halves. A smaller batch_s is "
            "faster.",
            SkipwiseWarning,
            stacklevel=2,
        )
        return [*self.decode(batch[:half]), *self.decode(batch[half:])]

    def cut(self, segment: Segment, cut: Cut) -> Segment:
        """Return the segment as far as it holds; the next begins at its end. Alternatives, which end elsewhere, go."""
        if cut.advance_s is None:
            return segment
        tokens = segment.tokens[: cut.num_tokens]
        end_s = min(segment.end_s, segment.start_s + cut.advance_s)
        return replace(
            segment,
            end_s=end_s,
            tokens=tokens,
            finished=True,
            alternatives=(),
            text=self._vocabulary.decode(tokens).strip(),
            sentences=self._sentences(tokens, segment.start_s, end_s),
        )

    @torch.inference_mode()
    def _together(self, batch: Sequence[Job]) -> list[Part]:
        device = device_of(self._engine.network)
        contexts = [job.stretch.context for job in batch]
        clock = _Clock(device)

        features = self._engine.extract([job.samples.to(device) for job in batch if job.samples is not None])
        features_s = clock.lap()
        embedded = self._engine.embed(features)
        encoded, encoder_plan = encode_planned(self._engine.encode, self._planner, contexts, embedded)
        encoder_s = clock.lap()
        contexts = self._heard(contexts, encoded)
        prompts = [self._prompt(job, context) for job, context in zip(batch, contexts, strict=True)]
        gates = self._decoder_gates(contexts, encoded, prompts)
        found = search(self._engine, encoded, prompts, options=self._options, gates=gates)
        decoder_s = clock.lap()

        plan = encoder_plan.join(gates) if isinstance(gates, GatePlan) else encoder_plan
        batch_s = sum(job.stretch.duration_s for job in batch)
        seconds = (features_s, encoder_s, decoder_s)
        return [
            Part(
                job.stretch,
                self._segment(
                    job.stretch,
                    context,
                    hypotheses,
                    (plan.row(row), _step_plan(gates, hypotheses)),
                    len(prompts[row]),
                ),
                shared_timings(job.stretch, job.stretch.duration_s / batch_s, seconds),
            )
            for row, (job, context, hypotheses) in enumerate(zip(batch, contexts, found, strict=True))
        ]

    def _decoder_gates(
        self, contexts: Sequence[Context], encoded: SpeechStates, prompts: Sequence[Sequence[int]]
    ) -> GatePlan | StepPlanner:
        if self._options.method == "ctc":  # the decoder does not run
            return GatePlan.all_open((), len(contexts))
        return decoder_gates(self._engine.network, self._planner, contexts, encoded, prompts)

    def _heard(self, contexts: Sequence[Context], encoded: SpeechStates) -> list[Context]:
        """The contexts, with the likeliest language where none was given."""
        unknown = [row for row, context in enumerate(contexts) if context.language is None]
        heard, known = list(contexts), self._engine.config.languages
        if len(known) == 1:
            return [replace(context, language=known[0]) for context in contexts]
        if unknown:
            rows = encoded.select(torch.tensor(unknown, device=encoded.states.device))
            starts = [[self._engine.config.bos_token_id]] * len(unknown)
            asked = [contexts[row] for row in unknown]
            gates = decoder_gates(self._engine.network, self._planner, asked, rows, starts)
            best = predict_language(self._engine, rows, gates).argmax(dim=1).tolist()
            for row, language in zip(unknown, best, strict=True):
                heard[row] = replace(contexts[row], language=known[language])
        return heard

    def _prompt(self, job: Job, context: Context) -> list[int]:
        previous = None if job.previous_text is None else self._vocabulary.encode_previous(job.previous_text)
        return self._engine.config.prompt(
            str(context.language), str(context.task), timestamps=self._options.timestamps, previous=previous
        )

    def _segment(
        self,
        stretch: Stretch,
        context: Context,
        hypotheses: Sequence[Hypothesis],
        plans: tuple[GatePlan, GatePlan | None],
        num_prompt_tokens: int,
    ) -> Segment:
        if not hypotheses:
            warnings.warn(
                f"{audio_label(stretch.request.audio)}, {stretch.start_s:.1f} to {stretch.end_s:.1f} s: no hypothesis "
                f"is as long as min_length_ratio {self._options.min_length_ratio:g} asks for. Ask for less.",
                SkipwiseWarning,
                stacklevel=2,
            )
        best, *others = hypotheses or [_NOTHING_FOUND]
        return Segment(
            start_s=stretch.start_s,
            end_s=stretch.end_s,
            text=self._text(best),
            language=context.language,
            tokens=best.tokens,
            score=best.score,
            finished=best.finished,
            plan=plans[0],
            step_plan=plans[1],
            num_prompt_tokens=0 if self._options.method == "ctc" else num_prompt_tokens,
            sentences=self._sentences(best.tokens, stretch.start_s, stretch.end_s) if self._options.timestamps else (),
            alternatives=tuple(Alternative(text=self._text(other), score=other.score) for other in others),
        )

    def _sentences(self, tokens: Sequence[int], start_s: float, end_s: float) -> tuple[Sentence, ...]:
        return sentences_of(tokens, self._engine.config, self._vocabulary, start_s=start_s, end_s=end_s)

    def _text(self, hypothesis: Hypothesis) -> str:
        return self._vocabulary.decode(hypothesis.tokens).strip()


def _step_plan(gates: GatePlan | StepPlanner, hypotheses: Sequence[Hypothesis]) -> GatePlan | None:
    """The gates of the best hypothesis at all its positions."""
    if isinstance(gates, GatePlan) or not hypotheses or hypotheses[0].gates is None:
        return None
    return GatePlan(gates.sites, hypotheses[0].gates[None])


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
