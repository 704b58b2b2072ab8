"""From rows to numbers: corpus-level scores, sparsity, cost and time of a group of rows.

Shapes: U rows, K counts of a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Int

from skipwise.evaluation.intervals import Difference, Interval, paired_difference, score_interval
from skipwise.evaluation.rows import Row
from skipwise.evaluation.scores import BLEU, BLEU_NORMALISED, CHRF, WER, Metric
from skipwise.gating import GateSite
from skipwise.gating.sites import STACKS

METRICS: tuple[Metric, ...] = (WER, BLEU, BLEU_NORMALISED, CHRF)

Selection = Bool[np.ndarray, " rows"]


def metrics_of(task: str) -> tuple[Metric, ...]:
    """Return what a task is scored by: WER for transcription, BLEU and chrF for translation."""
    return (WER,) if task == "asr" else (BLEU, BLEU_NORMALISED, CHRF)


def best_at(task: str, scores: Mapping[str, float]) -> str:
    """Return who does a task best, from the score of each by name: the lowest WER, or the highest BLEU."""
    return min(scores, key=scores.__getitem__) if task == "asr" else max(scores, key=scores.__getitem__)


@final
class CountedRows:
    """Rows with each metric's counts, made once for all the groups that they are summed over."""

    def __init__(self, rows: Sequence[Row], sites: Sequence[GateSite], *, seed: int) -> None:
        self.rows = tuple(rows)
        self.sites = tuple(sites)
        self.seed = seed

    @cached_property
    def counts(self) -> dict[str, Int[np.ndarray, "rows counts"]]:
        """Each metric's counts; zeros in rows that it does not score."""
        found = {}
        for metric in METRICS:
            scored = self.scored_by(metric)
            some = metric.count([row.pair for row, counted in zip(self.rows, scored, strict=True) if counted])
            found[metric.name] = np.zeros((len(self.rows), some.shape[1]), dtype=np.int64)
            found[metric.name][scored] = some
        return found

    def scored_by(self, metric: Metric) -> Selection:
        """Return the rows whose task a metric scores."""
        return self.where(lambda row: metric in metrics_of(row.task))

    def where(self, condition: Callable[[Row], bool]) -> Selection:
        """Return the rows that meet a condition."""
        return np.array([condition(row) for row in self.rows], dtype=bool)

    def groups(self) -> dict[str, Any]:
        """Return the summary of all rows and of each language, task, and language and task."""
        return grouped(self.rows, lambda condition: self.summary(self.where(condition)))

    def summary(self, selected: Selection) -> dict[str, Any]:
        """Return everything known of some rows; null where it does not apply."""
        rows = [row for row, keep in zip(self.rows, selected, strict=True) if keep]
        return {
            "utterances": len(rows),
            "speakers": len({row.speaker for row in rows}),
            **self._quality(selected),
            **self._word_errors(selected),
            "loops": _share(row.loops for row in rows),
            "length_limit": _share(row.hit_limit for row in rows),
            "tokens": sum(row.num_tokens for row in rows),
            **self._sparsity(rows),
            "macs": _macs(rows),
            **_seconds(rows),
        }

    def difference(self, other: CountedRows, metric: Metric, selected: Selection) -> Difference | None:
        """Return how `other`, with the same rows in the same order, differs in some; None where nothing is scored."""
        selected = selected & self.scored_by(metric)
        if not selected.any():
            return None
        first, second = (rows.counts[metric.name][selected] for rows in (self, other))
        return paired_difference(metric, first, second, self._speakers(selected), seed=self.seed)

    def _quality(self, selected: Selection) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for metric in METRICS:
            scored = selected & self.scored_by(metric)
            counts = self.counts[metric.name][scored]
            interval = score_interval(metric, counts, self._speakers(scored), seed=self.seed) if scored.any() else None
            record[metric.name] = metric.corpus_score(counts) if scored.any() else None
            record[f"{metric.name}_interval"] = interval_record(interval)
        return record

    def _word_errors(self, selected: Selection) -> dict[str, int | None]:
        scored = selected & self.scored_by(WER)
        total = self.counts[WER.name][scored].sum(axis=0).tolist() if scored.any() else [None] * 4
        return dict(zip(("substitutions", "deletions", "insertions", "words"), total, strict=True))

    def _speakers(self, selected: Selection) -> list[str]:
        return [row.speaker for row, keep in zip(self.rows, selected, strict=True) if keep]

    def _sparsity(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Achieved arg-max sparsity: the share of (window, site) pairs that were skipped; of a step plan its mean."""
        num_windows = sum(len(row.plans) for row in rows)
        closed = dict.fromkeys(self.sites, 0.0)
        for row in rows:
            for plan in row.all_plans:
                for site, share in zip(plan.sites, plan.open_shares().tolist(), strict=True):
                    closed[site] += 1 - share

        def share(sites: Sequence[GateSite]) -> float | None:
            return sum(closed[site] for site in sites) / (num_windows * len(sites)) if num_windows and sites else None

        kinds = dict.fromkeys((site.stack, site.kind) for site in self.sites)
        run = len(self.sites) - sum(closed.values()) / num_windows if num_windows else None
        return {
            "sparsity": {stack: share([site for site in self.sites if site.stack == stack]) for stack in STACKS},
            "sparsity_by_kind": {
                f"{stack}.{kind}": share([site for site in self.sites if (site.stack, site.kind) == (stack, kind)])
                for stack, kind in kinds
            },
            "modules": {"run": run, "all": len(self.sites)},
        }


def grouped(rows: Sequence[Row], summarise: Callable[[Callable[[Row], bool]], Any]) -> dict[str, Any]:
    """Return `summarise` of all rows, and of the rows of each language, task, and language and task."""
    keys = sorted({(row.language, row.task) for row in rows})
    languages, tasks = sorted({language for language, _ in keys}), sorted({task for _, task in keys})
    return {
        "all": summarise(lambda row: True),
        "per_language": {name: summarise(lambda row, name=name: row.language == name) for name in languages},
        "per_task": {name: summarise(lambda row, name=name: row.task == name) for name in tasks},
        "per_language_task": {
            name: {
                key[1]: summarise(lambda row, key=key: (row.language, row.task) == key)
                for key in keys
                if key[0] == name
            }
            for name in languages
        },
    }


def interval_record(interval: Interval | None) -> list[float] | None:
    """Return an interval as JSON has it."""
    return None if interval is None else [interval.low, interval.high]


def _macs(rows: Sequence[Row]) -> dict[str, int]:
    def total(of: Callable[[Row], Mapping[Any, int]]) -> dict[str, int]:
        return {stack: sum(of(row)[stack] for row in rows) for stack in STACKS}

    run, dense = total(lambda row: row.macs), total(lambda row: row.dense_macs)
    return (
        run
        | {"total": sum(run.values())}
        | {f"dense_{name}": n for name, n in dense.items()}
        | {"dense_total": sum(dense.values())}
    )


def _seconds(rows: Sequence[Row]) -> dict[str, Any]:
    parts = ("audio", "features", "encoder", "decoder", "total")
    seconds = {part: sum(getattr(row.timings, f"{part}_s") for row in rows) for part in parts}
    return {"seconds": seconds, "rtf": seconds["total"] / seconds["audio"] if seconds["audio"] else None}


def _share(values: Any) -> float | None:
    found = [bool(value) for value in values]
    return sum(found) / len(found) if found else None
