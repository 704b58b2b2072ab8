"""A tiny sweep, run, killed, resumed, changed and broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from skipwise.data.manifest import read_manifest, write_manifest
from skipwise.errors import SkipwiseError
from skipwise.evaluation.scores import BLEU, WER, TextPair
from skipwise.experiments.sweep import executors
from skipwise.experiments.sweep.cells import Cell, plan_cells
from skipwise.experiments.sweep.config import load_sweep
from skipwise.experiments.sweep.executors import Executor, ProcessExecutor, RayExecutor, Share
from skipwise.experiments.sweep.folder import CellFolder, only_one
from skipwise.experiments.sweep.rows import read_rows
from skipwise.experiments.sweep.run import run_sweep
from skipwise.experiments.sweep.systems import OPEN, CellSystems, System
from skipwise.experiments.sweep.worker import run_cell
from skipwise.gating import AdapterPlanner
from tests.experiments.conftest import RUNS, InlineExecutor, write_sweep


def cells_of(path: Path) -> tuple[Cell, ...]:
    return plan_cells(load_sweep(path))


def results_of(sweep: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sweep.parent / "sweep" / "results.jsonl").read_text().splitlines()]


def copied(sweep: Path, folder: Path) -> Path:
    """The same finished sweep in a folder of its own."""
    text = sweep.read_text().replace(str(sweep.parent), str(folder))
    shutil.copytree(sweep.parent, folder, dirs_exist_ok=True)
    (folder / "sweep.yaml").write_text(text)
    for file in (folder / "sweep" / "runs").glob("*/cell.json"):
        file.write_text(file.read_text().replace(str(sweep.parent), str(folder)))
    return folder / "sweep.yaml"


def test_every_run_leaves_rows_of_all_its_systems(finished_sweep: Path) -> None:
    found = {(r["run"], r["condition"]) for r in results_of(finished_sweep)}
    shuffles = {("ctx", f"shuffle_{level}") for level in ("speech", "language", "task")}
    assert found == {(run, "open") for run in ("dense", "ctx", "static")} | shuffles | {
        ("ctx", "pruned"),
        ("static", "pruned"),
    }
    rows = list(read_rows(finished_sweep.parent / "sweep" / "runs" / "ctx_seed3" / "rows.jsonl"))
    assert len(rows) == 5 * 2 * 8, "systems, tasks, utterances"
    pruned = [row for row in rows if row["condition"] == "pruned"]
    assert any("0" in row["plans"][0] for row in pruned) and all("-" not in row["plans"][0] for row in pruned)
    assert all(set(row["plans"][0]) == {"-"} for row in rows if row["condition"] == "open")


def test_results_are_the_scores_of_the_rows(finished_sweep: Path) -> None:
    rows = list(read_rows(finished_sweep.parent / "sweep" / "runs" / "ctx_seed3" / "rows.jsonl"))
    for task, metric in (("asr", WER), ("st_eng", BLEU)):
        pairs = [
            TextPair(id=row["id"], reference=row["reference"], hypothesis=row["hypothesis"])
            for row in rows
            if (row["condition"], row["task"]) == ("pruned", task)
        ]
        (result,) = [
            r
            for r in results_of(finished_sweep)
            if (r["run"], r["condition"], r["task"], r["language"]) == ("ctx", "pruned", task, "all")
        ]
        assert result["score"] == metric.corpus_score(metric.count(pairs))
        assert result["score_low"] <= result["score"] <= result["score_high"]
        shares = [row["plans"][0][-6:].count("0") / 6 for row in rows if row["condition"] == "pruned"]
        assert sum(shares) > 0 and 0 < result["sparsity_decoder"] < 1
        assert result["time_ratio"] > 0 and result["macs_share"] < 1


def test_tables_for_other_tools_hold_the_same(finished_sweep: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = finished_sweep.parent / "sweep"
    results = parquet.read_table(folder / "results.parquet").to_pylist()
    assert results == results_of(finished_sweep)
    utterances = parquet.read_table(folder / "utterances.parquet")
    assert utterances.num_rows == sum(
        len((cell / "rows.jsonl").read_text().splitlines()) for cell in folder.glob("runs/*_seed3")
    )


def test_what_is_done_is_not_done_again(finished_sweep: Path) -> None:
    executor = InlineExecutor()
    told: list[tuple[float, str]] = []
    outcome = run_sweep(cells_of(finished_sweep), executor, on_progress=lambda steps, what: told.append((steps, what)))
    assert executor.seen == [] and len(outcome.done) == 3
    assert told == [(12.0, "3 of 3 runs")]
    assert not list((finished_sweep.parent / "sweep" / "runs").glob("*/checkpoints")), "they are large"


def test_every_run_comes_once_before_any_comes_twice(spoken: Path, tmp_path: Path) -> None:
    class Listing(Executor):
        def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
            seen.extend(path.name for path in folders)
            return dict.fromkeys(folders, 0)

    seen: list[str] = []
    run_sweep(cells_of(write_sweep(tmp_path, spoken, seeds=[4, 3])), Listing())
    assert seen == [f"{run}_seed{seed}" for seed in (3, 4) for run in sorted(RUNS)]


def test_a_run_that_changed_is_refused_or_done_again(finished_sweep: Path, tmp_path: Path) -> None:
    path = copied(finished_sweep, tmp_path)
    text = path.read_text()
    path.write_text(text.replace("    gates.scope: both\n", "    gates.scope: decoder\n", 1))
    with pytest.raises(SkipwiseError, match=r"1 of 3 runs have changed.*; ctx_seed3 in training.gates.scope. Do them"):
        run_sweep(cells_of(path), InlineExecutor())
    kept = (tmp_path / "sweep" / "runs" / "ctx_seed3" / "rows.jsonl").read_text()
    executor = InlineExecutor()
    outcome = run_sweep(cells_of(path), executor, redo_changed=True)
    assert executor.seen == ["ctx_seed3"] and not outcome.failed
    assert (tmp_path / "sweep" / "runs" / "ctx_seed3" / "rows.jsonl").read_text() != kept


def test_a_changed_evaluation_keeps_the_training(
    finished_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(finished_sweep, tmp_path)
    path.write_text(path.read_text().replace("  batch_s: 8\n", "  batch_s: 8\n  limit: 4\n"))
    monkeypatch.setattr("skipwise.experiments.sweep.worker.train", lambda *_, **__: pytest.fail("trained again"))
    with pytest.raises(SkipwiseError, match=r"3 of 3 runs have changed.*; ctx_seed3 in evaluation.limit"):
        run_sweep(cells_of(path), InlineExecutor())
    run_sweep(cells_of(path), InlineExecutor(), redo_changed=True)
    rows = list(read_rows(tmp_path / "sweep" / "runs" / "dense_seed3" / "rows.jsonl"))
    assert len({row["id"] for row in rows}) == 4


def test_exact_closes_as_much_as_gates_were_trained_for(finished_sweep: Path) -> None:
    cell = next(cell for cell in cells_of(finished_sweep) if cell.run == "static")
    exact = replace(cell, evaluation=cell.evaluation.model_copy(update={"exact": True}))
    for own, asked in ((cell, None), (exact, 0.5)):
        systems = CellSystems(own).main()
        assert list(systems) == [OPEN, System("pruned", asked)]
        planner = systems[System("pruned", asked)].planner
        assert isinstance(planner, AdapterPlanner) and planner.budget.exact == (asked is not None)


def test_a_run_that_fails_is_told_and_the_others_go_on(spoken: Path, tmp_path: Path) -> None:
    runs = {"broken": {"gates": None, "model.init": "no/such/folder"}, "dense": {"gates": None}}
    outcome = run_sweep(cells_of(write_sweep(tmp_path, spoken, runs=runs)), InlineExecutor())
    assert outcome.done == ("dense_seed3",)
    (failure,) = outcome.failed
    assert failure.cell == "broken_seed3" and "no/such/folder" in failure.tail


def test_data_that_are_not_there_are_told_before_the_training(spoken: Path, tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"there is no data .*nothing to evaluate on. Set evaluation.data"):
        run_sweep(cells_of(write_sweep(tmp_path, tmp_path / "nothing")), InlineExecutor())
    write_manifest(tmp_path / "one_split.jsonl", read_manifest(spoken))
    overrides = {"data.root": str(tmp_path / "one_split.jsonl"), "data.dev_root": None}
    needs_dev = write_sweep(tmp_path, spoken, overrides=overrides, evaluation={"knock_out": {"utterances": 2}})
    with pytest.raises(SkipwiseError, match=r"is one split, that to train on, so there is no dev data"):
        run_sweep(cells_of(needs_dev), InlineExecutor())


def test_two_sweeps_in_one_folder_are_refused(finished_sweep: Path) -> None:
    with only_one(finished_sweep.parent / "sweep" / "lock", "held"):
        with pytest.raises(SkipwiseError, match="another `skipwise sweep` is at work in"):
            run_sweep(cells_of(finished_sweep), InlineExecutor())


def test_a_cell_that_another_process_runs_is_refused(finished_sweep: Path) -> None:
    folder = finished_sweep.parent / "sweep" / "runs" / "dense_seed3"
    with only_one(folder / "lock", "held"):
        with pytest.raises(SkipwiseError, match=r"another process is at work on .*dense_seed3. Wait for it, or end it"):
            run_cell(folder, 1)


def test_damaged_files_are_told_with_what_to_remove(tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text('{"labels": {}')
    with pytest.raises(SkipwiseError, match=r"cell.json cannot be read: .* Remove its folder and call the sweep again"):
        CellFolder(tmp_path).read()
    (tmp_path / "rows.jsonl").write_text('{"run": "a"}\n{"run"')
    with pytest.raises(SkipwiseError, match=r"rows.jsonl, line 2, is not JSON: .* Remove the file and call the sweep"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_the_end_of_a_log_leaves_out_what_progress_bars_wrote_over(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b" 10%|#\r 20%|##\n\nTraceback:\n" + b"line\n" * 3)
    assert CellFolder(tmp_path).log_tail(4) == "Traceback:\nline\nline\nline"
    assert CellFolder(tmp_path).log_tail(5).startswith(" 20%|##\nTraceback")


def test_a_killed_sweep_goes_on_as_if_nothing_had_been(spoken: Path, tmp_path: Path) -> None:
    """SIGKILL of the sweep after the first checkpoint: its process ends too, and the rest is done from there."""
    changes = {"runs": {"dense": {"gates": None, "optimisation.max_steps": 10}}, "seeds": [3]}
    whole = write_sweep(tmp_path / "whole", spoken, **changes)
    killed = write_sweep(tmp_path / "killed", spoken, **changes)
    run_sweep(cells_of(whole), InlineExecutor())
    command = [sys.executable, "-m", "skipwise.cli.main", "sweep", str(killed), "--jobs", "1"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    folder = tmp_path / "killed" / "sweep" / "runs" / "dense_seed3"
    deadline = time.monotonic() + 240
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while True:  # the cell's own process holds the lock for as long as it lives
        try:
            with only_one(folder / "lock", "still there"):
                break
        except SkipwiseError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert CellFolder(folder).state() == "training", "killed too late"
    run_sweep(cells_of(killed), InlineExecutor())
    first, second = (
        load_file(tmp_path / name / "sweep" / "runs" / "dense_seed3" / "model" / "model.safetensors")
        for name in ("whole", "killed")
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_processes_run_side_by_side_and_their_exit_codes_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(path: Path, share: Share, *, slot: int = 0) -> subprocess.Popen[bytes]:
        code = f"import sys, time; time.sleep(0.2); sys.exit({path.name})"
        started.append((path.name, slot))
        return subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)

    started: list[tuple[str, int]] = []
    monkeypatch.setattr(executors, "start_cell", start)
    folders = [tmp_path / name for name in ("0", "3", "0" * 2)]
    assert ProcessExecutor(2, Share()).run(folders, lambda: None) == dict(zip(folders, (0, 3, 0), strict=True))
    assert started[:2] == [("0", 0), ("3", 1)] and len(started) == 3


class FakeRay:
    """As much of Ray as the executor uses, in this process."""

    class exceptions:  # noqa: N801 as Ray calls it
        class RayError(Exception):
            pass

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def init(self, **options: Any) -> None:
        assert options["ignore_reinit_error"]

    def remote(self, **options: Any) -> Any:
        self.asked = options
        return lambda function: SimpleNamespace(remote=lambda *arguments: (function, *arguments))

    def wait(self, waiting: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return waiting[:1], waiting[1:]

    def get(self, reference: Any) -> Any:
        function, path, *rest = reference
        if path.endswith("lost"):
            raise self.exceptions.RayError
        return function(path, *rest)


def test_rays_workers_run_cells_and_one_that_is_lost_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)  # type: ignore[arg-type]
    monkeypatch.setattr(
        executors,
        "start_cell",
        lambda path, share: subprocess.Popen(
            [sys.executable, "-S", "-c", "raise SystemExit(7)"], stdin=subprocess.PIPE
        ),
    )
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / "a", tmp_path / "lost"]
    assert RayExecutor(Share(threads=2, gpus=1)).run(folders, lambda: None) == {folders[0]: 7, folders[1]: 1}
    assert ray.asked == {"num_cpus": 2, "num_gpus": 1, "max_retries": 0}


def test_ray_is_only_needed_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SkipwiseError, match=r'needs Ray. Install it: pip install "skipwise\[scale\]", or leave --ray'):
        RayExecutor(Share())


def test_no_jobs_is_an_error() -> None:
    with pytest.raises(SkipwiseError, match="jobs must be at least 1, got 0"):
        ProcessExecutor(0, Share())
