"""`skipwise sweep` prints what it would do, and says with its exit code whether all runs came to their end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skipwise.cli.main import app, run
from skipwise.experiments.sweep.run import Failure, Outcome
from tests.experiments.conftest import write_sweep


def test_a_dry_run_prints_the_runs_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path, tmp_path / "data", seeds=[3, 4])
    monkeypatch.setattr(sys, "argv", ["skipwise", "sweep", str(path), "--dry-run"])
    assert run(app) == 0
    told = capsys.readouterr().out
    assert "6 trainings of 3 runs, 24 steps" in told
    assert any(line.split()[:4] == ["static", "static", "both", "asr+st_eng"] for line in told.splitlines())
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_failed_run_is_told_with_the_end_of_its_log(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = Failure(cell="ctx_seed3", log=tmp_path / "log.txt", tail="Error: out of memory")
    outcome = Outcome(done=("dense_seed3",), failed=(failure,) if fails else (), results=())
    monkeypatch.setattr("skipwise.experiments.sweep.run.run_sweep", lambda *_, **__: outcome)
    path = write_sweep(tmp_path, tmp_path / "data")
    monkeypatch.setattr(sys, "argv", ["skipwise", "sweep", str(path), "--jobs", "1"])
    assert run(app) == int(fails)
    told = capsys.readouterr().out
    assert ("ctx_seed3 failed" in told and "Error: out of memory" in told) == fails
