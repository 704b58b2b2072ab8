"""`tradeoff`: what each budget of some gates costs in quality and saves in time, beside the dense model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skipwise.data.manifest import Utterance
from skipwise.evaluation.achieved import achieved_shares
from skipwise.evaluation.compare import differences
from skipwise.evaluation.intervals import Interval, median_interval
from skipwise.evaluation.rows import Row, make_batches
from skipwise.evaluation.run import DEFAULT_BATCH_S, Evaluation
from skipwise.evaluation.summary import interval_record
from skipwise.evaluation.turns import decode_in_turns
from skipwise.gating import AdapterPlanner, Stack
from skipwise.pipeline import Transcriber

DENSE = None
"""As a budget: no gates at all."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One budget, and what it came to."""

    sparsity: float | None
    """Share that was asked for; None: the dense model."""
    evaluation: Evaluation
    achieved: Mapping[Stack, float]
    """Closed share of each gated stack, in the unit of the gates."""
    differences: Mapping[str, Any]
    """Paired differences of every score from the dense model's, of all rows and in each group."""
    time_ratio: float
    """Seconds over the dense model's for the same batch, the median over batches."""
    time_ratio_interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return {
            "sparsity": self.sparsity,
            "achieved": dict(self.achieved),
            "evaluation": self.evaluation.to_dict(),
            "differences": dict(self.differences),
            "time_ratio": self.time_ratio,
            "time_ratio_interval": interval_record(self.time_ratio_interval),
        }


def tradeoff(
    systems: Mapping[float | None, Transcriber],
    utterances: Sequence[Utterance],
    tasks: Sequence[str],
    *,
    batch_s: float = DEFAULT_BATCH_S,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> list[Point]:
    """Return a point for each system, by its budget; that of `DENSE` is what the others are compared with.

    All decode the same batches, in turns. `on_rows` is told how many rows are done, of how many. The other arguments
    are those of `evaluate`.

    Raises:
        SkipwiseError: if there is nothing to score, or a reference has no word.
    """
    assert DENSE in systems
    batches = make_batches(systems[DENSE], utterances, tasks, batch_s=batch_s, seed=seed)
    num_rows = len(systems) * sum(map(len, batches))
    rows: defaultdict[float | None, list[Row]] = defaultdict(list)
    seconds = {budget: np.zeros(len(batches)) for budget in systems}
    for done, (budget, batch, row) in enumerate(decode_in_turns(systems, batches), start=1):
        rows[budget].append(row)
        seconds[budget][batch] += row.timings.total_s
        if on_rows is not None:
            on_rows(done, num_rows)
    notes = {"batch_s": batch_s, "timing": "interleaved"} | dict(notes or {})
    evaluations = {
        budget: Evaluation.of(rows[budget], transcriber, seed=seed, notes=notes)
        for budget, transcriber in systems.items()
    }
    heard = seconds[DENSE] > 0  # silence takes no time at all
    points = []
    for budget, transcriber in systems.items():
        ratios = seconds[budget][heard] / seconds[DENSE][heard]
        planner = transcriber.planner
        points.append(
            Point(
                sparsity=budget,
                evaluation=evaluations[budget],
                achieved=achieved_shares(rows[budget], planner) if isinstance(planner, AdapterPlanner) else {},
                differences=differences(evaluations[DENSE], evaluations[budget]),
                time_ratio=float(np.median(ratios)) if ratios.size else 1.0,
                time_ratio_interval=median_interval(ratios, seed=seed) if ratios.size else None,
            )
        )
    return points
