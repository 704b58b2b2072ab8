"""A packed sweep says what the sweep said, and goes on where it was."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from benchmarks.pack_sweep import main

from skipwise.errors import SkipwiseError
from skipwise.experiments.report.claims import claims_of
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.load import load_sweep_data
from skipwise.experiments.sweep.folder import CellFolder
from skipwise.experiments.sweep.rows import read_rows


def test_what_is_brought_back_says_the_same(
    finished_sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, again = finished_sweep.parent / "sweep", tmp_path / "again"
    main(sweep, tmp_path / "results" / "cells.tar.xz")
    assert capsys.readouterr().out.startswith("3 cells, ")
    with tarfile.open(tmp_path / "results" / "cells.tar.xz") as packed:
        packed.extractall(again, filter="data")
    before, after = (claims_of(Finder(load_sweep_data(folder))) for folder in (sweep, again))
    for own, other in zip(before, after, strict=True):
        assert own.verdict == other.verdict
        for part, kept in zip(own.parts, other.parts, strict=True):
            if part.estimate is not None and kept.estimate is not None:
                assert kept.estimate.value == pytest.approx(part.estimate.value, rel=1e-2, abs=1e-6)
    cells = json.loads((again / "sweep.json").read_text())["cells"]
    assert len(cells) == 3
    for name in cells:
        assert CellFolder(again / "runs" / name).state() == "done", "a sweep goes on after it"
        rows = list(read_rows(again / "runs" / name / "rows.jsonl"))
        assert rows and all(row["hypothesis"] == row["reference"] == "" for row in rows)


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"is no folder of a sweep: it has no sweep\.json"):
        main(tmp_path, tmp_path / "cells.tar.xz")
    assert not list(tmp_path.iterdir())
