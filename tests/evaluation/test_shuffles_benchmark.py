"""The script behind results/reference/shuffles says what the shuffle test says, and which way is worse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.shuffles import main

from skipwise.data.layouts import read_data
from skipwise.evaluation.shuffle import shuffle_test
from skipwise.gating import Budget
from skipwise.pipeline import Transcriber
from tests.evaluation.corpus import write_corpus, write_gated_model


def test_what_is_lost_is_what_the_shuffle_test_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_gated_model(tmp_path / "model")
    data = write_corpus(tmp_path / "corpus", per_language=3)
    main(str(data), model=str(model), sparsity=[0.5], output=tmp_path / "out")
    assert "shuffled minus own input" in capsys.readouterr().out
    assert (tmp_path / "out" / "shuffles.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "out" / "shuffles.json").read_text())
    rows = {(row["shuffled"], row["task"]): row for row in record["rows"]}
    assert len(rows) == 6 and all(row["sparsity"] == 0.5 for row in rows.values())
    gated = Transcriber(str(model), sparsity=Budget(sparsity=0.5, exact=True))
    expected = shuffle_test(gated, read_data(str(data), "test"), ["asr", "st_eng"], "task").to_dict()
    for task, metric, sign in (("asr", "wer", 1), ("st_eng", "bleu", -1)):
        change = expected["differences"]["per_task"][task][metric]
        row = rows["task", task]
        assert row["own"] == expected["own"]["per_task"][task][metric]
        assert row["lost"] == pytest.approx(sign * change["absolute"])
        assert row["lost_interval"] == pytest.approx(sorted(sign * bound for bound in change["absolute_interval"]))
