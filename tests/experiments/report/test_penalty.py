"""The script behind results/penalty: its numbers are those of the sweep's rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from benchmarks.penalty import main

from skipwise.experiments.sweep.rows import TidyRow, read_rows, write_rows
from tests.experiments.conftest import wer_of

RUNS = {"ctx": "both_sparsity-0.5", "static": "absolute_sparsity-0.5"}


@pytest.fixture(scope="module")
def sweep(finished_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sweep, as if its runs had been two penalties."""
    folder = tmp_path_factory.mktemp("penalties") / "sweep"
    shutil.copytree(finished_sweep.parent / "sweep", folder)
    for run, called in RUNS.items():
        rows = folder / "runs" / f"{run}_seed3" / "rows.jsonl"
        write_rows(rows, [row | {"run": called} for row in list(read_rows(rows))])
    return folder


def test_penalties_are_compared_by_what_they_reach(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(sweep, output=tmp_path / "results")
    assert "absolute" in capsys.readouterr().out
    record = json.loads((tmp_path / "results" / "penalty.json").read_text())
    rows: dict[tuple[str, str], dict[str, Any]] = {(row["run"], row["task"]): row for row in record["rows"]}
    assert set(rows) == {(run, task) for run in ("both", "absolute") for task in ("asr", "st_eng")}
    assert record["runs_missing"] == [] and record["settings"]["batch_s"] == 8

    def heard(run: str, condition: str) -> list[TidyRow]:
        found = read_rows(sweep / "runs" / f"{run}_seed3" / "rows.jsonl")
        return [row for row in found if (row["condition"], row["task"]) == (condition, "asr")]

    pruned = heard("ctx", "pruned")
    bits = [bit for row in pruned for plan in row["plans"] for bit in plan]
    row = rows["both", "asr"]
    assert row["achieved"]["value"] == pytest.approx(100 * bits.count("0") / len(bits))
    assert row["score"]["value"] == pytest.approx(wer_of(pruned))
    dense = min(wer_of(heard("ctx", "open")), wer_of(heard("dense", "open")))
    assert row["change"]["value"] == pytest.approx(100 * (wer_of(pruned) / dense - 1))
    missed = {row["run"]: row for row in record["missed"]}["both"]
    shares = [rows["both", task]["achieved"]["value"] for task in ("asr", "st_eng")]
    assert missed["missed"]["value"] == pytest.approx(sum(shares) / 2 - 100 * missed["target"])
    assert missed["spread"] is None, "of one seed"
    for name in ("targets", "quality"):
        assert (tmp_path / "results" / f"{name}.png").stat().st_size > 10_000
