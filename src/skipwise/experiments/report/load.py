"""The rows of a sweep as arrays: a sample a cell, system and task.

Shapes: U utterances, K counts, N sites of the base, B bins of a hypothesis's positions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import RUNS_FOLDER
from skipwise.experiments.sweep.folder import CELL_FILE, SEARCH_FILE, SWEEP_FILE, SYSTEMS_FILE, CellFolder
from skipwise.experiments.sweep.results import counts_of, metric_of, seconds_of
from skipwise.experiments.sweep.rows import CLOSED_BIT, OPEN_BIT, TidyRow, read_rows
from skipwise.gating import GateSite

NUM_BINS = 10
"""Positions of a hypothesis, from its first token to its end, are counted in as many bins."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What one system of one cell made of a task, in the order of the utterances' ids."""

    labels: Mapping[str, Any]
    """`Cell.labels()`, and `num_sites` of its base."""
    condition: str
    asked: float | None
    task: str
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    languages: tuple[str, ...]
    snr_db: Float[np.ndarray, " utterances"]
    """NaN where it is not known."""
    counts: Int[np.ndarray, "utterances counts"]
    """Of the task's metric."""
    gates: Int[np.ndarray, "utterances sites 2"]
    """How often each site was open, and how often that was decided."""
    steps: Int[np.ndarray, "utterances bins sites 2"] | None
    """The same by position, where every step had its plan."""
    micros: Int[np.ndarray, "utterances 2"]
    """Microseconds that it took, and that the dense system did."""
    macs: Int[np.ndarray, "utterances 2"]
    """MACs that ran, in thousands, and those with everything open."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SweepData:
    """All of a sweep that is done."""

    root: Path
    sites: tuple[GateSite, ...]
    samples: tuple[Sample, ...]
    done: tuple[str, ...]
    """Names of the cells with rows."""
    missing: tuple[str, ...]
    """Names of the cells without."""
    settings: Mapping[str, Any]
    """How the first cell was evaluated: `describe_settings`."""
    evaluation: Mapping[str, Any]
    """The section `evaluation` of the sweep."""
    search: tuple[Mapping[str, Any], ...] = ()
    """What was tried on dev: rows of `search.jsonl`."""


def load_sweep_data(root: Path) -> SweepData:
    """Return the rows of a sweep's folder.

    Raises:
        SkipwiseError: if it is none, nothing is done yet, or its runs have bases with different sites.
    """
    try:
        names = json.loads((root / SWEEP_FILE).read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        raise SkipwiseError(
            f"{root} is no folder of a sweep: {SWEEP_FILE} is missing or damaged. Run one first."
        ) from error
    cells = [root / RUNS_FOLDER / name for name in names]
    done = [path for path in cells if CellFolder(path).state() == "done"]
    if not done:
        raise SkipwiseError(f"none of the {len(cells)} runs in {root} is done yet. Go on: skipwise sweep.")
    described = [json.loads((path / SYSTEMS_FILE).read_text(encoding="utf-8")) for path in done]
    all_sites = {tuple(record["sites"]) for record in described}
    sites = max(all_sites, key=len)
    samples = []
    for path, record in zip(done, described, strict=True):
        own = tuple(record["sites"])
        samples += _samples(read_rows(CellFolder(path).rows), [sites.index(name) for name in own], len(sites))
    return SweepData(
        root=root,
        sites=tuple(GateSite.parse(name) for name in sites),
        samples=tuple(samples),
        done=tuple(path.name for path in done),
        missing=tuple(path.name for path in cells if path not in done),
        settings=described[0]["systems"][0]["settings"],
        evaluation=json.loads((done[0] / CELL_FILE).read_text(encoding="utf-8"))["evaluation"],
        search=_search_rows(root / SEARCH_FILE),
    )


def _search_rows(path: Path) -> tuple[Mapping[str, Any], ...]:
    return tuple(read_rows(path)) if path.is_file() else ()


def _samples(rows: Iterable[TidyRow], columns: Sequence[int], num_sites: int) -> list[Sample]:
    groups: defaultdict[tuple[str, float | None, str], list[TidyRow]] = defaultdict(list)
    for row in rows:
        groups[row["condition"], row["asked"], row["task"]].append(row)
    conditions = {condition for condition, _, _ in groups}
    dense = "yardstick" if "yardstick" in conditions else "open"
    dense_s = {
        (row["id"], task): seconds_of(row)
        for (condition, _, task), group in groups.items()
        if condition == dense
        for row in group
    }
    return [_sample(sorted(group, key=lambda row: row["id"]), dense_s, columns, num_sites) for group in groups.values()]


def _sample(
    rows: Sequence[TidyRow], dense_s: Mapping[tuple[str, str], float], columns: Sequence[int], num_sites: int
) -> Sample:
    first = rows[0]
    seconds = [(seconds_of(row), dense_s[row["id"], row["task"]]) for row in rows]
    macs = [[row[f"{of}macs_encoder"] + row[f"{of}macs_decoder"] for of in ("", "dense_")] for row in rows]
    counted = [_gate_counts([*row["plans"], *(bits for plan in row["step_plans"] for bits in plan)]) for row in rows]
    gates = np.zeros((len(rows), num_sites, 2), dtype=np.int64)
    gates[:, columns] = np.stack(counted)
    steps = None
    if any(row["step_plans"] for row in rows):
        steps = np.zeros((len(rows), NUM_BINS, num_sites, 2), dtype=np.int64)
        steps[:, :, columns] = np.stack([_by_position(row["step_plans"], len(columns)) for row in rows])
    labels = ("run", "seed", "scope", "target", "elastic", "predictor", "granularity", "base", "trained_tasks")
    return Sample(
        labels={name: first[name] for name in labels} | {"num_sites": len(columns)},
        condition=first["condition"],
        asked=first["asked"],
        task=first["task"],
        ids=tuple(row["id"] for row in rows),
        speakers=tuple(row["speaker"] for row in rows),
        languages=tuple(row["language"] for row in rows),
        snr_db=np.array([np.nan if row["snr_db"] is None else row["snr_db"] for row in rows], dtype=np.float64),
        counts=counts_of(rows, metric_of(first["task"])),
        gates=gates,
        steps=steps,
        micros=(1e6 * np.array(seconds)).round().astype(np.int64),
        macs=np.array(macs, dtype=np.int64) // 1000,
    )


def _gate_counts(plans: Sequence[str]) -> Int[np.ndarray, "sites 2"]:
    """How often each site is open, and how often that is decided, in plans that are written as texts."""
    bits = np.array([list(plan) for plan in plans])
    is_open, is_closed = bits == OPEN_BIT, bits == CLOSED_BIT
    return np.stack([is_open.sum(axis=0), (is_open | is_closed).sum(axis=0)], axis=-1).astype(np.int64)


def _by_position(step_plans: Sequence[Sequence[str]], num_sites: int) -> Int[np.ndarray, "bins sites 2"]:
    found = np.zeros((NUM_BINS, num_sites, 2), dtype=np.int64)
    for positions in step_plans:
        for place, plan in enumerate(positions):
            found[NUM_BINS * place // len(positions)] += _gate_counts([plan])
    return found
