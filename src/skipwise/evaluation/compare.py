"""`compare`: a dense and a pruned system on the same batches, taking turns, so that drift of the machine hits both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.intervals import Difference, Interval, median_interval
from skipwise.evaluation.rows import Row, decode_rows, make_batches
from skipwise.evaluation.run import DEFAULT_BATCH_S, Evaluation
from skipwise.evaluation.summary import METRICS, grouped, interval_record
from skipwise.pipeline import Transcriber

TIMED_PARTS = ("encoder", "decoder", "total")


@final
@dataclass(frozen=True, kw_only=True)
class TimeRatio:
    """Pruned seconds over dense seconds of the same batch: below 1 is faster."""

    median: float
    """Over batches."""
    interval: Interval | None
    """Of the median, at 95 %, by a bootstrap over batches; None with a single batch."""
    num_batches: int


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """One batch, decoded by both systems."""

    dense: tuple[Row, ...]
    pruned: tuple[Row, ...]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two systems on the same utterances."""

    turns: tuple[Turn, ...]
    """The batches in the order in which they ran."""
    dense: Evaluation
    pruned: Evaluation

    def time_ratio(self, part: str, task: str | None = None) -> TimeRatio | None:
        """Return the ratio of seconds in `part` (encoder, decoder or total), over the batches of a task or of all."""
        turns = [turn for turn in self.turns if task in (None, turn.dense[0].task) and _seconds(turn.dense, part) > 0]
        if not turns:  # silence takes no time at all
            return None
        ratios = np.array([_seconds(turn.pruned, part) / _seconds(turn.dense, part) for turn in turns])
        return TimeRatio(
            median=float(np.median(ratios)),
            interval=median_interval(ratios, seed=self.dense.seed),
            num_batches=len(turns),
        )

    def time_ratios(self) -> dict[str, Any]:
        """Return the ratios of all batches and of each task, as values for JSON."""
        tasks = sorted({turn.dense[0].task for turn in self.turns})
        return {"all": self._ratio_records(None), "per_task": {task: self._ratio_records(task) for task in tasks}}

    def to_dict(self) -> dict[str, Any]:
        """Return both evaluations, what pruning changes in each group, and the ratios of time, as values for JSON."""
        return {
            "dense": self.dense.to_dict(),
            "pruned": self.pruned.to_dict(),
            "differences": differences(self.dense, self.pruned),
            "time_ratios": self.time_ratios(),
        }

    def _ratio_records(self, task: str | None) -> dict[str, Any]:
        return {part: _ratio_record(self.time_ratio(part, task)) for part in TIMED_PARTS}


def compare(
    dense: Transcriber,
    pruned: Transcriber,
    utterances: Sequence[Utterance],
    tasks: Sequence[str],
    *,
    batch_s: float = DEFAULT_BATCH_S,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
    on_turn: Callable[[Turn], None] | None = None,
) -> Comparison:
    """Return two systems side by side: after a warm-up each batch is decoded by both, and who begins changes each time.

    `on_turn` is told of each finished batch. The other arguments are those of `evaluate`.

    Raises:
        SkipwiseError: if there is nothing to score, or a reference has no word.
    """
    turns = []
    for turn in take_turns(dense, pruned, utterances, tasks, batch_s=batch_s, seed=seed):
        turns.append(turn)
        if on_turn is not None:
            on_turn(turn)
    notes = {"batch_s": batch_s, "timing": "interleaved"} | dict(notes or {})
    return Comparison(
        turns=tuple(turns),
        dense=Evaluation.of((row for turn in turns for row in turn.dense), dense, seed=seed, notes=notes),
        pruned=Evaluation.of((row for turn in turns for row in turn.pruned), pruned, seed=seed, notes=notes),
    )


def take_turns(
    dense: Transcriber,
    pruned: Transcriber,
    utterances: Sequence[Utterance],
    tasks: Sequence[str],
    *,
    batch_s: float,
    seed: int,
) -> Iterator[Turn]:
    """Yield each batch as decoded by both; the first one is decoded once before, which is not counted."""
    batches = make_batches(dense, utterances, tasks, batch_s=batch_s, seed=seed)
    for transcriber in (dense, pruned):
        list(decode_rows(transcriber, batches[:1]))
    for index, batch in enumerate(batches):
        order = (dense, pruned) if index % 2 == 0 else (pruned, dense)
        first, second = (tuple(decode_rows(transcriber, [batch])) for transcriber in order)
        if index % 2:
            first, second = second, first
        yield Turn(dense=first, pruned=second)


def differences(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Return the paired difference of every score (second minus first) in each group, as values for JSON.

    Raises:
        SkipwiseError: if the two are not of the same utterances and tasks.
    """
    paired = in_order_of(first, second)

    def of_group(condition: Callable[[Row], bool]) -> dict[str, Any]:
        selected = first.counted.where(condition)
        found = {metric.name: first.counted.difference(paired.counted, metric, selected) for metric in METRICS}
        return {name: None if value is None else _difference_record(value) for name, value in found.items()}

    return grouped(first.rows, of_group)


def in_order_of(first: Evaluation, second: Evaluation) -> Evaluation:
    """Return the second evaluation with its rows in the order of the first one's.

    Raises:
        SkipwiseError: if the two are not of the same utterances and tasks.
    """
    wanted = [(row.id, row.task) for row in first.rows]
    rows = {(row.id, row.task): row for row in second.rows}
    if wanted == list(rows):
        return second
    if set(wanted) != set(rows) or len(first.rows) != len(second.rows):
        raise SkipwiseError(
            f"two evaluations can only be paired on the same utterances and tasks; got {len(first.rows)} and "
            f"{len(second.rows)} rows that differ. Evaluate both on the same data."
        )
    return replace(second, rows=tuple(rows[key] for key in wanted))


def _seconds(rows: Sequence[Row], part: str) -> float:
    return sum(getattr(row.timings, f"{part}_s") for row in rows)


def _ratio_record(ratio: TimeRatio | None) -> dict[str, Any] | None:
    if ratio is None:
        return None
    return {"median": ratio.median, "interval": interval_record(ratio.interval), "batches": ratio.num_batches}


def _difference_record(difference: Difference) -> dict[str, Any]:
    return {
        "absolute": difference.absolute,
        "absolute_interval": interval_record(difference.absolute_interval),
        "relative": difference.relative,
        "relative_interval": interval_record(difference.relative_interval),
    }
