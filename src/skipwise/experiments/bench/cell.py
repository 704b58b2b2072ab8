"""What a benchmark is to the run that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.subject import Subject

OnRound = Callable[[], None]
"""Is told that a round is done."""


@final
class Workbench:
    """What benchmarks measure with: one model for all of them, made when the first one asks for it."""

    def __init__(self, settings: BenchSettings, output: Path) -> None:
        self.settings = settings
        self.output = output
        """Folder for what lies beside the record."""

    @cached_property
    def subject(self) -> Subject:
        """The model that is measured."""
        return Subject.of(self.settings)

    def part_file(self, name: str) -> Path:
        """Return where a benchmark notes what it has measured until it is done."""
        return self.output / f"{name}.part.jsonl"


@final
@dataclass(frozen=True)
class Cell:
    """One benchmark."""

    about: str
    """What it measures, in a line."""
    measure: Callable[[Workbench, OnRound], Mapping[str, Any]]
    """Returns the record for JSON."""
    num_rounds: Callable[[BenchSettings], int]
    """Rounds that it will tell of."""


def of_subject(
    measure: Callable[[Subject, BenchSettings, OnRound], Mapping[str, Any]],
) -> Callable[[Workbench, OnRound], Mapping[str, Any]]:
    """Return the measurement of a cell that needs nothing but the model and the settings."""

    def of_workbench(bench: Workbench, on_round: OnRound) -> Mapping[str, Any]:
        return measure(bench.subject, bench.settings, on_round)

    return of_workbench
