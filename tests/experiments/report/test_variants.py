"""The script behind results/beyond: its numbers are those of the sweep's rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.variants import main

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.rows import read_rows
from tests.experiments.conftest import wer_of


def test_runs_are_set_beside_one_of_them(
    finished_sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = finished_sweep.parent / "sweep"
    main(sweep, against="static", output=tmp_path / "results")
    assert "static" in capsys.readouterr().out
    record = json.loads((tmp_path / "results" / "variants.json").read_text())
    rows: dict[tuple[str, str], dict[str, Any]] = {(row["run"], row["task"]): row for row in record["rows"]}

    def heard(run: str, condition: str) -> float:
        found = read_rows(sweep / "runs" / f"{run}_seed3" / "rows.jsonl")
        return wer_of([row for row in found if (row["condition"], row["task"]) == (condition, "asr")])

    own, base = heard("ctx", "pruned"), heard("static", "pruned")
    changes = rows["ctx", "asr"]["change"]
    assert rows["ctx", "asr"]["score"]["value"] == pytest.approx(own)
    assert changes["against"]["value"] == pytest.approx(100 * (own / base - 1))
    assert changes["dense"]["value"] == pytest.approx(
        100 * (own / min(heard("ctx", "open"), heard("dense", "open")) - 1)
    )
    assert rows["static", "asr"]["change"]["against"] is None
    assert (tmp_path / "results" / "variants.png").stat().st_size > 10_000


def test_the_run_to_compare_with_must_be_done(finished_sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"no run 'plain' is done in .*Set --against to one of: ctx.*static"):
        main(finished_sweep.parent / "sweep", output=tmp_path / "results")
