"""The report of a real tiny sweep: every section is there, its numbers are the rows', and nothing is fetched."""

from __future__ import annotations

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from skipwise.cli.main import app, run
from skipwise.errors import SkipwiseError
from skipwise.evaluation.scores import BLEU, WER, TextPair
from skipwise.experiments.report.run import write_report
from skipwise.experiments.sweep.rows import read_rows, write_rows

FIGURES = {"quality_sparsity", "quality_time", "gate_map_both", "use_layers", "use_steps", "map_steps", "plans"}
_VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Ids, images, table rows, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.images: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values["id"] or ""} if "id" in values else set()
        if tag == "img":
            self.images.append(values["src"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def sweep(finished_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny sweep with its run on both stacks also as if it had been one on the decoder, by steps."""
    folder = tmp_path_factory.mktemp("reported") / "tiny"
    shutil.copytree(finished_sweep.parent / "sweep", folder)
    ctx, by_step = folder / "runs" / "ctx_seed3", folder / "runs" / "step_seed3"
    shutil.copytree(ctx, by_step)
    cells = json.loads((folder / "sweep.json").read_text())["cells"]
    (folder / "sweep.json").write_text(json.dumps({"cells": [*cells, "step_seed3"]}))
    write_rows(by_step / "rows.jsonl", [as_steps(row) for row in read_rows(ctx / "rows.jsonl")])
    return folder


def as_steps(row: dict[str, Any]) -> dict[str, Any]:
    plans = [plan[:-6] + "0" * 6 for plan in row["plans"]]
    steps = [["-" * (len(plan) - 6) + "0" * 6] * 5 + [plan] * 5 for plan in row["plans"]]
    changes = {"run": "step", "scope": "decoder", "granularity": "step"}
    if row["condition"] == "open":
        return row | changes
    return row | changes | {"plans": ["-" * len(plan) for plan in plans], "step_plans": steps}


@pytest.fixture(scope="module")
def page(sweep: Path) -> Page:
    path, _ = write_report(sweep)
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_has_every_section_and_figure_and_fetches_nothing(sweep: Path, page: Page) -> None:
    assert {"claims", "figures", "systems", "settings"} | FIGURES <= page.ids
    assert page.images and all(image.startswith("data:image/png;base64,") for image in page.images)
    text = (sweep / "report" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", text) and "url(" not in text and "<script" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert {path.stem for path in (sweep / "report").glob("*.png")} == FIGURES
    assert len(page.images) == len(FIGURES)


def test_sentences_have_no_holes_and_tables_have_heads_that_print_on_every_page(page: Page, sweep: Path) -> None:
    text = (sweep / "report" / "report.html").read_text(encoding="utf-8")
    assert text.count("<table><thead><tr>") == text.count("<table>") == 2
    assert not [cell for row in page.rows for cell in row if " ," in cell or "  " in cell]


def test_what_is_missing_says_which_run_would_give_it(page: Page, sweep: Path) -> None:
    text = (sweep / "report" / "report.html").read_text(encoding="utf-8")
    assert "a run with mlp gates on encoder at 50 %" in text
    assert any("needs" not in row[1] and "targets of 70 and 90 %" in row[1] for row in page.rows if len(row) == 4)


@pytest.mark.parametrize(("task", "metric"), [("asr", WER), ("st_eng", BLEU)])
def test_the_numbers_are_those_of_the_rows(sweep: Path, page: Page, task: str, metric: Any) -> None:
    rows = [
        row
        for row in read_rows(sweep / "runs" / "static_seed3" / "rows.jsonl")
        if (row["condition"], row["task"]) == ("pruned", task)
    ]
    pairs = [TextPair(id=row["id"], reference=row["reference"], hypothesis=row["hypothesis"]) for row in rows]
    score = metric.corpus_score(metric.count(pairs))
    gates = [bit for row in rows for plan in row["plans"] for bit in plan]
    (shown,) = [row for row in page.rows if row[:4] == ["static", "3", "pruned", task]]
    assert shown[4] == "50 %" and shown[5] == f"{100 * gates.count('0') / len(gates):.1f} %"
    assert shown[6].startswith(f"{metric.name.upper()} {score:.1f} [")


def test_every_system_of_every_run_is_listed(sweep: Path, page: Page) -> None:
    wanted = {
        (row["run"], row["condition"], row["task"])
        for path in sweep.glob("runs/*/rows.jsonl")
        for row in read_rows(path)
    }
    assert {(row[0], row[2], row[3]) for row in page.rows if len(row) == 9} == wanted


def test_claims_are_measured_on_the_rows(sweep: Path, page: Page) -> None:
    claims = {claim["number"]: claim for claim in json.loads((sweep / "report" / "claims.json").read_text())}
    (early_and_late,) = claims["3, steps"]["parts"]
    steps = [plan for row in read_rows(sweep / "runs" / "step_seed3" / "rows.jsonl") for plan in row["step_plans"]]
    assert steps and early_and_late["estimate"]["value"] >= 0
    static = claims["ours, context"]["parts"][0]
    rows = {run: list(read_rows(sweep / "runs" / f"{run}_seed3" / "rows.jsonl")) for run in ("ctx", "static")}
    wer = {}
    for name, found in rows.items():
        counts = [row["wer_counts"] for row in found if (row["condition"], row["task"]) == ("pruned", "asr")]
        wer[name] = 100 * sum(sum(count[:3]) for count in counts) / sum(count[3] for count in counts)
    assert static["estimate"]["value"] == pytest.approx(wer["static"] - wer["ctx"])
    verdicts = [row[3] for row in page.rows if len(row) == 4 and row[0]]
    assert verdicts == [claim["verdict"] for claim in claims.values()]


def test_half_a_sweep_is_reported_and_names_what_is_missing(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    shutil.copytree(sweep, half)
    (half / "runs" / "static_seed3" / "rows.jsonl").unlink()
    monkeypatch.setattr(sys, "argv", ["skipwise", "report", str(half), "--output", str(tmp_path / "out")])
    assert run(app) == 0
    assert "Half of the decoder" in capsys.readouterr().out
    assert "Missing: static_seed3." in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_runs_that_the_sweep_no_longer_has_are_not_reported(sweep: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(sweep, fewer)
    (fewer / "sweep.json").write_text('{"cells": ["dense_seed3", "ctx_seed3"]}')
    path, _ = write_report(fewer)
    rows = Page(path.read_text(encoding="utf-8")).rows
    assert {row[0] for row in rows if len(row) == 9} == {"dense", "ctx"}


def test_what_is_no_sweep_and_what_is_not_done_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"is no folder of a sweep: sweep.json is missing or damaged. Run one"):
        write_report(tmp_path)
    (tmp_path / "sweep.json").write_text('{"cells": ["dense_seed3"]}')
    with pytest.raises(SkipwiseError, match=r"none of the 1 runs in .* is done yet. Go on: skipwise sweep"):
        write_report(tmp_path)
