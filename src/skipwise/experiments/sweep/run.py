"""A sweep from its cells to its results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import Cell
from skipwise.experiments.sweep.config import SearchSection
from skipwise.experiments.sweep.executors import Executor
from skipwise.experiments.sweep.folder import SWEEP_FILE, CellFolder, only_one
from skipwise.experiments.sweep.results import write_results
from skipwise.experiments.sweep.search import (
    Candidate,
    adopt,
    check_dev,
    choose,
    plan_candidates,
    with_choices,
    write_search,
)
from skipwise.experiments.sweep.systems import check_data

OnProgress = Callable[[float, str], None]
"""(steps of all trainings that are done or as good as, what runs now)"""

_KEYS_TOLD = 4


@final
@dataclass(frozen=True, kw_only=True)
class Failure:
    """A cell that did not come to its end."""

    cell: str
    log: Path
    tail: str
    """The end of its log."""


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a sweep."""

    done: tuple[str, ...]
    """Names of cells that are done, before or now."""
    failed: tuple[Failure, ...]
    results: tuple[Path, ...]
    """Files of results."""
    chosen: tuple[Candidate, ...] = ()
    """What was chosen on dev, a candidate a run."""


def run_sweep(
    cells: Sequence[Cell],
    executor: Executor,
    *,
    search: SearchSection | None = None,
    redo_changed: bool = False,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Train and evaluate what is left of the cells of one sweep, and write the results of all that are done.

    With `search` the candidates of each run come first, and its cells take the values of the best. With `redo_changed`
    cells whose config has changed since they were begun are done again.

    Raises:
        SkipwiseError: if a cell has changed and `redo_changed` is not set, there is no data to evaluate on, or another
            process runs this sweep. Nothing has been run then, but for a search that now chooses other values.
    """
    root = cells[0].folder.parent.parent
    with only_one(root / "lock", f"another `skipwise sweep` is at work in {root}. Wait for it, or end it."):
        candidates = plan_candidates(cells, search)
        check_dev(candidates)
        check_data(cells)
        tried = [candidate.cell for candidate in candidates]
        codes, results, chosen = {}, [], {}

        def look() -> None:
            if on_progress is not None:
                on_progress(*_progress([*tried, *cells]))

        if search is not None:
            codes |= _run(tried, executor, look, redo=redo_changed)
            done, chosen = choose(candidates, search)
            results += [write_search(root, done, chosen, search)] if done else []
        searched = with_choices(cells, candidates, chosen)
        _begin(searched, redo=redo_changed)
        adopt(searched, chosen)
        with atomic_write(root / SWEEP_FILE) as file:
            json.dump({"cells": [cell.name for cell in cells]}, file, indent=1)
        codes |= _run_left(searched, executor, look)
        done_cells = [cell for cell in searched if CellFolder(cell.folder).state() == "done"]
        results += write_results(root, [cell.folder for cell in done_cells]) if done_cells else []
    return Outcome(
        done=tuple(cell.name for cell in done_cells),
        failed=tuple(_failures([*tried, *searched], codes)),
        results=tuple(results),
        chosen=tuple(chosen.values()),
    )


def _run(cells: Sequence[Cell], executor: Executor, look: Callable[[], None], *, redo: bool) -> dict[Path, int]:
    _begin(cells, redo=redo)
    return _run_left(cells, executor, look)


def _begin(cells: Sequence[Cell], *, redo: bool) -> None:
    _settle_changes(cells, redo=redo)
    for cell in cells:
        CellFolder(cell.folder).write(cell)


def _run_left(cells: Sequence[Cell], executor: Executor, look: Callable[[], None]) -> dict[Path, int]:
    # a seed after the other: a sweep that is interrupted has every run once before it has one twice
    by_seed = sorted(cells, key=lambda cell: cell.training.seed)
    left = [cell.folder for cell in by_seed if CellFolder(cell.folder).state() != "done"]
    look()
    return executor.run(left, look) if left else {}


def _settle_changes(cells: Sequence[Cell], *, redo: bool) -> None:
    changed = {cell.name: (cell, keys) for cell in cells if (keys := CellFolder(cell.folder).changes(cell))}
    if changed and not redo:
        name, (_, keys) = next(iter(changed.items()))
        told = ", ".join(keys[:_KEYS_TOLD]) + (f" and {len(keys) - _KEYS_TOLD} more" if len(keys) > _KEYS_TOLD else "")
        raise SkipwiseError(
            f"{len(changed)} of {len(cells)} runs have changed since they were begun; {name} in {told}. Do them again "
            "with --redo-changed, or give the sweep another output."
        )
    for cell, keys in changed.values():
        CellFolder(cell.folder).forget(keys)


def _progress(cells: Sequence[Cell]) -> tuple[float, str]:
    """Steps that are as good as done over all cells, and how many cells are."""
    steps = num_done = 0.0
    for cell in cells:
        max_steps = cell.training.optimisation.max_steps
        share = CellFolder(cell.folder).progress(max_steps)
        steps += share * max_steps
        num_done += share == 1.0
    return steps, f"{num_done:.0f} of {len(cells)} runs"


def _failures(cells: Sequence[Cell], codes: dict[Path, int]) -> list[Failure]:
    return [
        Failure(cell=cell.name, log=folder.log, tail=folder.log_tail() or f"no log; exit code {codes[cell.folder]}")
        for cell in cells
        if cell.folder in codes and (folder := CellFolder(cell.folder)).state() != "done"
    ]
