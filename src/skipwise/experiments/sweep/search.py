"""Choices on dev: candidates of every run at its first seed, how they did, and which one the run takes."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import Cell
from skipwise.experiments.sweep.config import Overrides, SearchSection
from skipwise.experiments.sweep.folder import SEARCH_FILE, CellFolder
from skipwise.experiments.sweep.results import ALL_LANGUAGES, cell_results, metric_of
from skipwise.experiments.sweep.rows import read_rows
from skipwise.training.config import TrainConfig, config_of, with_overrides
from skipwise.training.run import SUMMARY_FILE, result_folder
from skipwise.training.start import utterances_of

_LEARNS_NOTHING = ("random", "layer_drop")
"""Predictors without parameters: no learning rate of gates changes anything."""

_SCORES = ("score", "score_low", "score_high")


@final
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One combination of values for one run."""

    run: str
    choice: Overrides
    """Dotted key -> value."""
    cell: Cell
    """The run's first cell with these values, evaluated on dev."""


@final
@dataclass(frozen=True, kw_only=True)
class Tried:
    """A candidate that is done."""

    candidate: Candidate
    results: tuple[Mapping[str, Any], ...]
    """Of the system that the run is about, a task and budget each, over all languages."""
    error: float
    """What the search minimises."""


def plan_candidates(cells: Sequence[Cell], search: SearchSection | None) -> tuple[Candidate, ...]:
    """Return the candidates of every run for which some key of the search changes something.

    All runs, controls and dense baselines too, have the same values to choose from.

    Raises:
        SkipwiseError: if a value cannot be that of its key, or a run has no task that the metric scores.
    """
    if search is None:
        return ()
    first: dict[str, Cell] = {}
    for cell in cells:
        first.setdefault(cell.run, cell)
    return tuple(candidate for cell in first.values() for candidate in _candidates(cell, search))


def check_dev(candidates: Sequence[Candidate]) -> None:
    """Raise a SkipwiseError if there are no dev data to choose on."""
    seen = set()
    for candidate in candidates:
        data = candidate.cell.training.data
        if data not in seen:
            seen.add(data)
            utterances_of(data, "dev")


def choose(candidates: Sequence[Candidate], search: SearchSection) -> tuple[list[Tried], dict[str, Candidate]]:
    """Return how all candidates that are done did, and the best of each run that has no other left to do.

    Of two that are equally good it is the one that stands first.
    """
    tried: dict[str, list[Tried]] = {}
    left = {candidate.run for candidate in candidates if CellFolder(candidate.cell.folder).state() != "done"}
    for candidate in candidates:
        if CellFolder(candidate.cell.folder).state() == "done":
            tried.setdefault(candidate.run, []).append(_tried(candidate, search))
    best = {run: min(group, key=lambda one: one.error).candidate for run, group in tried.items() if run not in left}
    return [one for group in tried.values() for one in group], best


def with_choices(
    cells: Sequence[Cell], candidates: Sequence[Candidate], best: Mapping[str, Candidate]
) -> tuple[Cell, ...]:
    """Return the cells with the values of the best candidates; those of runs whose search is not done are left out."""
    searched = {candidate.run for candidate in candidates}
    return tuple(
        _changed(cell, best[cell.run].choice) if cell.run in best else cell
        for cell in cells
        if cell.run in best or cell.run not in searched
    )


def adopt(cells: Sequence[Cell], best: Mapping[str, Candidate]) -> None:
    """Give each run's first cell the training of its best candidate, which is the same, if it has none of its own."""
    for run, candidate in best.items():
        cell = next(cell for cell in cells if cell.run == run)
        source, folder = CellFolder(candidate.cell.folder), CellFolder(cell.folder)
        if folder.state() != "new":
            continue
        made = result_folder(candidate.cell.training)
        target = result_folder(cell.training)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target, copy_function=_linked)
        if source.log.exists():
            shutil.copy2(source.log, folder.log)
        # the last: it says that the training is done
        shutil.copy2(source.path / SUMMARY_FILE, folder.path / SUMMARY_FILE)


def write_search(root: Path, tried: Sequence[Tried], best: Mapping[str, Candidate], search: SearchSection) -> Path:
    """Write a tidy row a candidate, task and budget: its values, its scores on dev, and whether it was chosen."""
    path = root / SEARCH_FILE
    with atomic_write(path) as file:
        for one in tried:
            candidate = one.candidate
            values = {key: candidate.choice.get(key) for key in search.keys}
            told = {"criterion": search.metric, "error": one.error, "chosen": best.get(candidate.run) is candidate}
            for result in one.results:
                names = ("task", "asked", "utterances", "metric", *_SCORES)
                row = {"run": candidate.run, "seed": candidate.cell.training.seed, **values}
                file.write(json.dumps(row | {name: result[name] for name in names} | told, ensure_ascii=False) + "\n")
    return path


def _candidates(cell: Cell, search: SearchSection) -> Iterator[Candidate]:
    keys = [key for key in search.keys if _matters(key, cell.training)]
    tasks = [task for task in cell.training.data.tasks if _is_scored(task, search)]
    if keys and not tasks:
        raise SkipwiseError(
            f"search.metric is {search.metric}, which scores none of the tasks of run {cell.run}, "
            f"{', '.join(cell.training.data.tasks)}. Choose mean_error, or give that run another sweep."
        )
    for values in itertools.product(*(search.keys[key] for key in keys)) if keys else ():
        choice = dict(zip(keys, values, strict=True))
        changed = _changed(cell, choice)
        name = "_".join([cell.name, "search", *(_told(key, value) for key, value in choice.items())])
        data = changed.training.data
        evaluation = cell.evaluation.model_copy(
            update={
                "data": data.dev_root or data.root,
                "split": "dev",
                "limit": search.limit,
                "exact": True,  # else those would win that skip less than they were to
                "shuffle": (),
                "knock_out": None,
                "yardstick": None,
            }
        )
        training = changed.training.model_copy(update={"output": cell.folder.parent / name})
        yield Candidate(run=cell.run, choice=choice, cell=replace(cell, training=training, evaluation=evaluation))


def _matters(key: str, training: TrainConfig) -> bool:
    """Whether a key changes what is trained; for a run without gates none of theirs does."""
    if key == "optimisation.learning_rate":
        return training.model.base != "frozen"
    if not key.startswith("gates."):
        return True
    gates = training.gates
    return gates is not None and not (key == "gates.learning_rate" and gates.predictor["kind"] in _LEARNS_NOTHING)


def _is_scored(task: str, search: SearchSection) -> bool:
    return search.metric in ("mean_error", metric_of(task).name)


def _changed(cell: Cell, choice: Overrides) -> Cell:
    told = [f"{key}={json.dumps(value)}" for key, value in choice.items()]  # JSON is YAML
    record = with_overrides(cell.training.model_dump(mode="json"), told)
    return replace(cell, training=config_of(record, f"search of run {cell.run}"))


def _told(key: str, value: Any) -> str:
    """A choice as a part of a folder's name: `gates.learning_rate-0.001`."""
    return f"{key}-{re.sub(r'[^A-Za-z0-9.]+', '-', str(value)).strip('-')}"


def _tried(candidate: Candidate, search: SearchSection) -> Tried:
    condition = "open" if candidate.cell.training.gates is None else "pruned"
    results = tuple(
        result
        for result in cell_results(list(read_rows(CellFolder(candidate.cell.folder).rows)))
        if (result["condition"], result["language"]) == (condition, ALL_LANGUAGES)
    )
    errors = [
        result["score"] if result["metric"] == "wer" else 100 - result["score"]
        for result in results
        if _is_scored(result["task"], search)
    ]
    return Tried(candidate=candidate, results=results, error=sum(errors) / len(errors))


def _linked(source: str, target: str) -> str:
    """A second name for a file that nobody changes in place; a copy where the disk knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        return str(shutil.copy2(source, target))
    return target
