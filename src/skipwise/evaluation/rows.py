"""One row a hypothesis: everything that scores, gate maps and paired tests need to know of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from skipwise.audio import audio_info
from skipwise.data.batching import batches_by_duration
from skipwise.data.manifest import Utterance
from skipwise.decoding.result import Segment, Timings, Transcript
from skipwise.errors import SkipwiseError
from skipwise.evaluation.cost import count_macs
from skipwise.evaluation.scores import TextPair, check_references
from skipwise.gating import GatePlan, Stack
from skipwise.pipeline import Request, Transcriber

LOOP_MAX_NGRAM = 4
LOOP_MIN_REPEATS = 4
UNKNOWN_DURATION_S = 30.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """What one system made of one utterance and task."""

    id: str
    """The utterance."""
    language: str
    """ISO 639-3 code of the speech."""
    task: str
    """`asr`, `st_eng`."""
    speaker: str
    """Who speaks; the utterance's id where that is not known."""
    reference: str
    """What was said, or its translation."""
    hypothesis: str
    """The system's text."""
    plans: tuple[GatePlan, ...]
    """The gates of each decoded window; one row each. Those of each step are in `step_plans`."""
    timings: Timings
    """A batch's seconds are shared out among its rows."""
    num_tokens: int
    """Tokens of the hypothesis."""
    hit_limit: bool
    """Some window ended at the length limit."""
    macs: Mapping[Stack, int]
    """MACs that ran, by stack."""
    dense_macs: Mapping[Stack, int]
    """MACs of the same windows and tokens with every site open."""
    step_plans: tuple[GatePlan, ...] = ()
    """Where every step had gates of its own: those of each window, at the positions that predicted a token."""

    @property
    def all_plans(self) -> tuple[GatePlan, ...]:
        """The plans of whole windows and of their steps; a site is in one of the two."""
        return self.plans + self.step_plans

    @property
    def pair(self) -> TextPair:
        return TextPair(id=self.id, reference=self.reference, hypothesis=self.hypothesis)

    @property
    def loops(self) -> bool:
        """Whether the hypothesis repeats itself: see `has_loop`."""
        return has_loop(self.hypothesis.lower().split())


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One utterance and task to be evaluated."""

    utterance: Utterance
    task: str
    pair: TextPair
    """Its reference, with no hypothesis yet."""
    cost_s: float
    """Seconds of audio that it takes up in a batch."""

    @property
    def request(self) -> Request:
        where = self.utterance
        return Request(
            where.audio,
            where.language,
            self.task,
            where.start_s,
            where.end_s,
            speaker=where.speaker_vector,
            event=where.event_vector,
        )


def has_loop(words: Sequence[str]) -> bool:
    """Return whether some n-gram of 1 to 4 words stands 4 times or more in a row."""
    for size in range(1, LOOP_MAX_NGRAM + 1):
        repeated = 0
        for position in range(size, len(words)):
            repeated = repeated + 1 if words[position] == words[position - size] else 0
            # a run of k matches at distance n is k / n repeats after the first
            if repeated == size * (LOOP_MIN_REPEATS - 1):
                return True
    return False


def make_batches(
    transcriber: Transcriber, utterances: Sequence[Utterance], tasks: Sequence[str], *, batch_s: float, seed: int
) -> list[list[Item]]:
    """Return every utterance and task that has a reference, in batches of one task and of similar durations.

    A batch holds at most `batch_s` seconds, padding included, or one item. The batches come in a random order, so that
    a run that is broken off has seen a fair sample.

    Raises:
        SkipwiseError: if a task has no reference at all, a reference has no word, or the model does not know a task or
            language.
    """
    batches: list[list[Item]] = []
    for task in tasks:
        items = _items(transcriber, utterances, task)
        costs_s = [item.cost_s for item in items]
        batches += [[items[i] for i in batch] for batch in batches_by_duration(costs_s, max_batch_s=batch_s, seed=seed)]
    random.Random(seed).shuffle(batches)
    return batches


def decode_rows(transcriber: Transcriber, batches: Iterable[Sequence[Item]]) -> Iterator[Row]:
    """Yield the rows of each batch as soon as it is decoded."""
    sizes = transcriber.sizes
    for batch in batches:
        # a little more than planned: a file may be some samples longer than its manifest says
        room_s = 1.1 * len(batch) * max(item.cost_s for item in batch)
        transcripts = transcriber.transcribe_many((item.request for item in batch), batch_s=room_s)
        for item, transcript in zip(batch, transcripts, strict=True):
            yield _row(item, transcript, sizes, transcriber.options.beam_size)


def spread(utterances: Sequence[Utterance], limit: int | None) -> list[Utterance]:
    """Return `limit` utterances, evenly spaced so that every language has its share; all of them without a limit."""
    count = min(limit or len(utterances), len(utterances))
    return [utterances[index * len(utterances) // count] for index in range(count)]


def has_reference(utterance: Utterance, task: str) -> bool:
    """Return whether an utterance says what the right answer to a task is."""
    return utterance.transcript is not None if task == "asr" else task.removeprefix("st_") in utterance.translations


def _items(transcriber: Transcriber, utterances: Sequence[Utterance], task: str) -> list[Item]:
    having = [utterance for utterance in utterances if has_reference(utterance, task)]
    for language in dict.fromkeys(utterance.language for utterance in having or utterances):
        transcriber.context(language, task)
    if not having:
        raise SkipwiseError(
            f"none of the {len(utterances)} utterances has a reference for the task {task}. Leave it out, or add "
            f"{'transcripts' if task == 'asr' else 'translations'} to the data."
        )
    pairs = [TextPair(id=utterance.id, reference=utterance.reference(task), hypothesis="") for utterance in having]
    check_references(pairs)
    window_s = transcriber.engine.config.window_s
    return [
        Item(utterance=utterance, task=task, pair=pair, cost_s=window_s or _duration_s(utterance))
        for utterance, pair in zip(having, pairs, strict=True)
    ]


def _duration_s(utterance: Utterance) -> float:
    if utterance.end_s is not None:
        return utterance.duration_s
    whole_s = audio_info(utterance.audio).duration_s
    return UNKNOWN_DURATION_S if whole_s is None else max(whole_s - utterance.start_s, 0.1)


def _row(item: Item, transcript: Transcript, sizes: Any, num_beams: int) -> Row:
    segments = [segment for segment in transcript.segments if not segment.is_silent]
    return Row(
        id=item.utterance.id,
        language=item.utterance.language,
        task=item.task,
        speaker=item.utterance.speaker or item.utterance.id,
        reference=item.pair.reference,
        hypothesis=transcript.text,
        plans=tuple(segment.plan for segment in segments),
        step_plans=tuple(plan for segment in segments if (plan := segment.predicting_plan) is not None),
        timings=transcript.timings,
        num_tokens=sum(len(segment.tokens) for segment in segments),
        hit_limit=any(not segment.finished for segment in segments),
        macs=_macs(segments, sizes, num_beams),
        dense_macs=_macs(segments, sizes, num_beams, dense=True),
    )


def _macs(segments: Sequence[Segment], sizes: Any, num_beams: int, *, dense: bool = False) -> dict[Stack, int]:
    counts = [
        count_macs(
            sizes,
            duration_s=segment.end_s - segment.start_s,
            num_prompt_tokens=segment.num_prompt_tokens,
            # the last token of a hypothesis is fed back only to find that it is the last
            num_fed_tokens=max(0, len(segment.tokens) - (not segment.finished)),
            num_beams=num_beams,
            closed=() if dense else segment.plan.closed(),
            steps=None if dense else segment.step_plan,
        )
        for segment in segments
    ]
    return {"encoder": sum(c.encoder for c in counts), "decoder": sum(c.decoder for c in counts)}
