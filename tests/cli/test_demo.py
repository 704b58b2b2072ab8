"""`skipwise demo` shows dense and pruned side by side."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.text import Text

from skipwise import pipeline
from skipwise.cli.demo import _marked, _shared
from skipwise.cli.main import app, run
from skipwise.errors import SkipwiseError
from tests.evaluation.corpus import write_corpus, write_gated_model

Called = tuple[int, str, str]
Call = Callable[..., Called]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_gated_model(folder / "model")
    write_corpus(folder / "clips", per_language=2)
    return folder


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*options: str) -> Called:
        given = ["--model", str(folder / "model"), "--clips", str(folder / "clips" / "manifest.jsonl")]
        monkeypatch.setattr(sys, "argv", ["skipwise", "demo", *given, *options])
        before = torch.get_num_threads()
        try:
            code = run(app)
        finally:
            torch.set_num_threads(before)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return called


def test_the_demo_prints_both_tables_and_writes_the_gate_map(call: Call, tmp_path: Path) -> None:
    code, out, err = call("--output", str(tmp_path / "out"))
    assert code == 0, err
    assert (tmp_path / "out" / "gate_map.png").read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path / "out" / "gate_map.png") in out
    rows = [line.split()[:2] for line in out.splitlines() if line.strip().startswith(("deu_", "fra_"))]
    assert rows == [[f"{lang}_{i}", task] for lang in ("deu", "fra") for i in (0, 1) for task in ("asr", "st_eng")][:7]
    assert "4 clips are an illustration, not a measurement" in out and "results/" in out

    record = json.loads((tmp_path / "out" / "summary.json").read_text())
    dense, pruned = record["dense"]["all"], record["pruned"]["all"]
    assert pruned["macs"]["total"] < dense["macs"]["total"]
    assert pruned["modules"]["run"] < dense["modules"]["run"] == 14
    lines = {line.split("  ")[1]: line for line in out.splitlines() if line.startswith("  ") and "  " in line[2:]}
    assert f"{dense['wer']:.1f}" in lines["WER, % (transcription)"]
    assert f"{pruned['chrf']:.1f}" in lines["chrF (translation)"]
    assert f"{pruned['modules']['run']:.1f} of 14" in lines["modules run"]
    ratio = record["time_ratios"]["all"]["decoder"]
    assert f"× {ratio['median']:.2f} [" in lines["seconds, decoder"] and ratio["batches"] == 7


def test_a_model_without_gates_has_nothing_to_show(call: Call, tmp_path: Path) -> None:
    code, out, err = call("--gates", "none", "--output", str(tmp_path / "out"))
    assert (code, out) == (2, "") and "has no gates, so there is nothing to compare" in err
    assert not (tmp_path / "out").exists()


def test_missing_clips_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "files", lambda name: tmp_path)
    with pytest.raises(SkipwiseError, match=r"has no clips: .*manifest.jsonl is missing"):
        pipeline.shipped_clips()


def styles(text: Text) -> dict[str, str]:
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


def test_words_that_are_wrong_or_changed_are_marked() -> None:
    marked = _marked(
        "Wir danken dem Präsident heute", "Wir danken, Präsident morgen", "wir danken dem präsidenten heute"
    )
    assert marked.plain == "Wir danken dem Präsident heute"
    assert styles(marked) == {"dem": "red", "Präsident": "bold underline", "heute": "red"}
    assert styles(_marked("gut", "gut", "gut")) == {}
    assert styles(_marked("[b] x", "y", "z")) == {"[b]": "red bold underline", "x": "red bold underline"}


def test_an_alignment_ignores_case_and_punctuation() -> None:
    assert _shared("Ja, wir danken!", "ja wir nicht danken") == [True, True, True]
    assert _shared("eins zwei", "") == [False, False] and _shared("", "eins") == []


@pytest.mark.parametrize("asked", [None, "2"])
def test_a_small_model_runs_on_one_thread_unless_told_otherwise(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        code, _, err = call("--output", str(tmp_path / "out"))
        assert code == 0, err
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["dense"]["settings"]["threads"] == (1 if asked is None else 2)
    finally:
        torch.set_num_threads(before)
