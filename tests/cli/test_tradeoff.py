"""`skipwise tradeoff`: every budget beside the dense model, on the same utterances."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from skipwise.cli.main import app, run
from skipwise.data.manifest import read_manifest
from skipwise.decoding import DecodeOptions
from skipwise.evaluation.rows import spread
from skipwise.evaluation.run import evaluate
from skipwise.gating import GateAdapter
from skipwise.pipeline import Transcriber, reference_model, shipped_clips


def tradeoff(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    argv = ["skipwise", "tradeoff", "--data", str(shipped_clips()), "--limit", "4", "--batch-s", "5", *options]
    monkeypatch.setattr(sys, "argv", argv)
    return run(app)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("tradeoff") / "points.json"
    with pytest.MonkeyPatch.context() as patch:
        assert tradeoff(patch, "--sparsity", "0.25", "--sparsity", "0.75", "--exact", "--json", str(path)) == 0
    return json.loads(path.read_text(encoding="utf-8"))["points"]


def test_every_budget_is_a_point_beside_the_dense_one(points: list[dict[str, Any]]) -> None:
    assert [point["sparsity"] for point in points] == [None, 0.25, 0.75]
    closed = [point["evaluation"]["all"]["sparsity"]["decoder"] for point in points]
    achieved = [point["achieved"].get("decoder", 0.0) for point in points]
    assert closed[0] == 0 and closed == pytest.approx(achieved, abs=1e-6), "float32 means"
    assert closed[1] == pytest.approx(0.25, abs=0.04) and closed[2] == pytest.approx(0.75, abs=0.04)
    macs = [point["evaluation"]["all"]["macs"]["total"] for point in points]
    assert macs[0] > macs[1] > macs[2]
    assert points[0]["time_ratio"] == 1.0 and points[2]["time_ratio"] > 0


def test_scores_and_changes_are_those_of_evaluations(points: list[dict[str, Any]]) -> None:
    clips = spread(read_manifest(shipped_clips()), 4)
    dense = evaluate(Transcriber(gates="none"), clips, ["asr", "st_eng"], batch_s=5).to_dict()["all"]
    pruned = evaluate(Transcriber(sparsity=0.75, exact=True), clips, ["asr", "st_eng"], batch_s=5).to_dict()["all"]
    found = [point["evaluation"]["all"] for point in points]
    for name in ("wer", "bleu"):
        assert (found[0][name], found[2][name]) == (dense[name], pruned[name])
        assert points[2]["differences"]["all"][name]["absolute"] == pytest.approx(pruned[name] - dense[name])
    assert pruned["wer"] > dense["wer"], "three quarters of a decoder are missed"


def test_the_table_has_a_line_a_budget(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = GateAdapter.from_pretrained(reference_model() / "gates")
    # gates for one budget alone are asked for that one
    budgets = (0.3, 0.5, 0.7) if adapter.is_elastic else (adapter.config.sparsity,)
    assert tradeoff(monkeypatch, "--task", "asr") == 0
    told = capsys.readouterr().out
    lines = [line.split() for line in told.splitlines() if "×" in line]
    assert [line[0] for line in lines] == ["dense", *(f"{100 * share:.0f}" for share in budgets)]
    assert "WER of asr" in told and "BLEU" not in told
    assert f"4 utterances of {shipped_clips()}. Brackets" in told


def test_without_gates_there_is_nothing_to_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tradeoff(monkeypatch, "--gates", "none") == 2
    told = capsys.readouterr().err
    assert "--gates is 'none', so there are no budgets to compare. Name the folder of trained gates" in told


def test_systems_are_searched_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    search = ("--task", "asr", "--beam-size", "2", "--ctc-weight", "0.3", "--ctc-skips-prompt")
    search += ("--sparsity", "0.5")
    assert tradeoff(monkeypatch, *search, "--limit", "2", "--json", str(tmp_path / "points.json")) == 0
    points = json.loads((tmp_path / "points.json").read_text(encoding="utf-8"))["points"]
    clips = spread(read_manifest(shipped_clips()), 2)
    options = DecodeOptions(beam_size=2, ctc_weight=0.3, ctc_skips_prompt=True)
    for point, gates in zip(points, ("none", "auto"), strict=True):
        settings = point["evaluation"]["settings"]
        assert (settings["beam_size"], settings["ctc_weight"], settings["ctc_skips_prompt"]) == (2, 0.3, True)
        transcriber = Transcriber(gates=gates, sparsity=None if gates == "none" else 0.5, options=options)
        expected = evaluate(transcriber, clips, ["asr"], batch_s=5).to_dict()["all"]
        assert point["evaluation"]["all"]["wer"] == expected["wer"]
