"""From a sweep to its cells: one training with one seed each."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.config import EvaluationSection, Overrides, SweepConfig
from skipwise.training.config import TrainConfig, load_config

RUNS_FOLDER = "runs"
RESERVED = "features"
"""Trainings keep the features that they share in a folder of this name beside them."""

_LISTS = frozenset(
    {"context", "tasks", "languages", "sparsity_range", "layers", "decoder_layers", "sparsities", "shuffle"}
)
"""Last parts of keys whose value is a list: one value, not several."""


_ASKED = "evaluation."
"""Begins the keys of a run that change how it is evaluated, not how it is trained."""


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run with one seed."""

    run: str
    """Name of the run, the same for all its seeds."""
    training: TrainConfig
    """What is trained, into the cell's own folder."""
    evaluation: EvaluationSection

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.training.output.name

    @property
    def folder(self) -> Path:
        return self.training.output

    def labels(self) -> dict[str, Any]:
        """Return what tells its rows apart from those of other cells: the key columns of the results."""
        training = self.training.model_dump(mode="json")
        gates: Mapping[str, Any] = training["gates"] or {}
        return {
            "run": self.run,
            "seed": self.training.seed,
            "scope": gates.get("scope", "none"),
            "target": gates.get("sparsity"),
            "elastic": gates.get("sparsity_range") is not None,
            "predictor": gates["predictor"]["kind"] if gates else "none",
            "granularity": gates.get("granularity", "utterance") if gates else "none",
            "base": training["model"]["base"],
            "trained_tasks": "+".join(training["data"]["tasks"]),
        }


def plan_cells(sweep: SweepConfig) -> tuple[Cell, ...]:
    """Return every cell: the grid's, then the other runs', each with its seeds.

    Raises:
        SkipwiseError: if a run's config is wrong (names the run), two runs have one name, or are the same training.
    """
    cells: dict[str, Cell] = {}
    same: dict[str, str] = {}
    for run, seed, overrides in _runs(sweep):
        name = f"{run}_seed{seed}"
        if name in cells or name == RESERVED:
            raise SkipwiseError(f"two runs of the sweep are called {name}. Give one of them another name.")
        cell = _cell(sweep, run, name, overrides | {"seed": seed})
        record = cell.training.model_dump(mode="json", exclude={"output"})
        twin = same.setdefault(json.dumps(record, sort_keys=True), name)
        if twin != name:
            raise SkipwiseError(f"the runs {twin} and {name} are the same training. Leave one of them out.")
        cells[name] = cell
    return tuple(cells.values())


def _runs(sweep: SweepConfig) -> Iterator[tuple[str, int, Overrides]]:
    """Name, seed and overrides of each cell."""
    if sweep.grid:
        yield from _varied("", sweep.grid, sweep)
    for name, overrides in sweep.runs.items():
        choices = {key: value if _is_varied(key, value) else [value] for key, value in overrides.items()}
        yield from _varied(name, choices, sweep)


def _is_varied(key: str, value: Any) -> bool:
    return isinstance(value, list) and key.rpartition(".")[2] not in _LISTS


def _varied(name: str, choices: Mapping[str, list[Any]], sweep: SweepConfig) -> Iterator[tuple[str, int, Overrides]]:
    seeds = choices.get("seed", list(sweep.seeds))
    keys = [key for key in choices if key != "seed"]
    for values in itertools.product(*(choices[key] for key in keys)):
        told = [_told(key, value) for key, value in zip(keys, values, strict=True) if len(choices[key]) > 1 or not name]
        for seed in seeds:
            yield "_".join([*([name] if name else []), *told]) or "base", seed, dict(zip(keys, values, strict=True))


def _told(key: str, value: Any) -> str:
    """A choice as a part of a folder's name: `sparsity-0.5`."""
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key.rpartition('.')[2]}-{re.sub(r'[^A-Za-z0-9.]+', '-', text).strip('-')}"


def _cell(sweep: SweepConfig, run: str, name: str, overrides: Overrides) -> Cell:
    asked = {key.removeprefix(_ASKED): value for key, value in overrides.items() if key.startswith(_ASKED)}
    own = {key: value for key, value in overrides.items() if not key.startswith(_ASKED)}
    chosen = sweep.overrides | own | {"output": str(sweep.output / RUNS_FOLDER / name)}
    try:  # JSON is YAML
        training = load_config(sweep.base, [f"{key}={json.dumps(value)}" for key, value in chosen.items()])
        evaluation = sweep.evaluation.changed(asked)
    except SkipwiseError as error:
        raise SkipwiseError(f"run {run} of the sweep: {error}") from error
    data = evaluation.data or training.data.root
    return Cell(run=run, training=training, evaluation=evaluation.model_copy(update={"data": data}))
