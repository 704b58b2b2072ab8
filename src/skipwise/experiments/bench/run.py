"""Runs benchmarks one after the other and keeps each as soon as it is there, so that a stopped run goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.cell import Workbench
from skipwise.experiments.bench.journal import read_lines
from skipwise.experiments.bench.settings import BenchSettings, describe_machine
from skipwise.experiments.bench.table import CELLS

QUICK = ("dtypes", "sparsity", "planner")

Report = Callable[[str, float], None]
"""(name, share that is done)"""


@final
class BenchRun:
    """A folder of records: one JSON file a benchmark, and notes of one that is not done yet."""

    def __init__(self, settings: BenchSettings, output: Path, *, resume: bool, command: str) -> None:
        """Use a folder; what it holds is taken for done with `resume`, and refused without.

        Raises:
            SkipwiseError: if it holds records or notes and `resume` is not set, or such of other settings.
        """
        self.settings, self.output, self._command = settings, output, command
        self._bench = Workbench(settings, output)
        for name in CELLS:
            found = self.record(name) or next(iter(read_lines(self._bench.part_file(name))), None)
            if found is None:
                continue
            if not resume:
                raise SkipwiseError(
                    f"{output} holds {name} already, or a part of it. Add --resume to keep what is done, or name "
                    "another --output."
                )
            if found["settings"] != json.loads(json.dumps(settings.to_dict())):
                raise SkipwiseError(
                    f"{self.place(name)} was measured with other settings. Name another --output, or remove it."
                )

    def place(self, name: str) -> Path:
        """Return the file of a benchmark."""
        return self.output / f"{name}.json"

    def record(self, name: str) -> dict[str, Any] | None:
        """Return what was measured; None if it was not yet."""
        try:
            return dict(json.loads(self.place(name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def run(self, names: Sequence[str], report: Report) -> dict[str, dict[str, Any]]:
        """Measure what is not done yet, and return the records of all names.

        Raises:
            SkipwiseError: for an unknown name, or a peer that is needed and not there.
        """
        unknown = [name for name in names if name not in CELLS]
        if unknown:
            raise SkipwiseError(f"there is no benchmark {unknown[0]!r}; known are {', '.join(CELLS)}.")
        torch.set_num_threads(self.settings.threads)
        records = {}
        for name in names:
            record, cell = self.record(name), CELLS[name]
            if record is None:
                on_round = _counter(name, report, cell.num_rounds(self.settings))
                record = {
                    "benchmark": name,
                    "command": self._command,
                    "settings": self.settings.to_dict(),
                    "machine": describe_machine(),
                    **cell.measure(self._bench, on_round),
                }
                with atomic_write(self.place(name)) as file:
                    json.dump(record, file, indent=1, ensure_ascii=False)
                self._bench.part_file(name).unlink(missing_ok=True)
            report(name, 1.0)
            records[name] = record
        return records


def _counter(name: str, report: Report, total: int) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(name, min(0.99, done / max(1, total)))

    return count


def command_line() -> str:
    """Return how this was called, without where it is installed."""
    import shlex

    return shlex.join(["skipwise", *sys.argv[1:]])
