"""What scripts over a sweep write and print: numbers with their intervals, and which runs they are of."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from skipwise.evaluation.resamples import Estimate
from skipwise.evaluation.summary import interval_record
from skipwise.experiments.report.load import SweepData


def recorded(estimate: Estimate | None) -> dict[str, Any] | None:
    """Return a number and its interval as JSON has them."""
    return None if estimate is None else {"value": estimate.value, "interval": interval_record(estimate.interval)}


def shown(record: Mapping[str, Any] | None) -> str:
    """Return what `recorded` made as a cell of a table; empty for nothing."""
    if record is None:
        return ""
    interval = record["interval"]
    return f"{record['value']:.1f}" + (f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else "")


def sweep_record(data: SweepData, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows with the command that made them and how far the sweep is."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "runs_done": len(data.done),
        "runs_missing": list(data.missing),
        "settings": dict(data.evaluation),
        "rows": list(rows),
    }
