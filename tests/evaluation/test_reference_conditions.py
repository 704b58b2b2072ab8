"""The script behind results/reference/conditions.* compares what it says, and decodes nothing twice."""

import csv
import json
from pathlib import Path

import pytest
import torch
from benchmarks import reference_conditions
from benchmarks.reference_conditions import main

from skipwise.gating import GateAdapter
from tests.evaluation.corpus import write_corpus, write_gated_model
from tests.tiny import tiny_model


def test_budgets_and_conditions_are_compared_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_gated_model(tmp_path / "model", scope="both")
    tiny_model(tmp_path / "dense", seed=1)
    data = write_corpus(tmp_path / "corpus", per_language=2)
    out, work = tmp_path / "results", tmp_path / "work"

    def run(**more: object) -> None:
        main(
            str(data),
            model=str(model),
            dense_only=str(tmp_path / "dense"),
            split=["test"],
            beam_size=2,
            work=work,
            output=out,
            **more,  # type: ignore[bad-argument-type]
        )

    run()
    told = capsys.readouterr().out
    assert "decoder 50 %, asr against dense" in told and "decoder 50 %, st_eng against dense" in told
    record = json.loads((out / "conditions.json").read_text())
    rows = {(row["system"], row["task"]): row for row in record["scores"] if row["group"] == "all"}
    systems = [
        "dense",
        *(f"{scope} {share} %" for scope in ("decoder", "both") for share in (30, 50, 70)),
        "dense-only",
    ]
    assert list(dict.fromkeys(system for system, _ in rows)) == systems
    for task, metric in (("asr", "wer"), ("st_eng", "bleu")):
        best = record["better_dense"][task]
        assert best == (min if task == "asr" else max)(
            ("dense", "dense-only"), key=lambda name: rows[name, task]["value"]
        )
        half = rows["decoder 50 %", task]
        assert half["metric"] == metric
        assert half["difference"] == pytest.approx(half["value"] - rows[best, task]["value"])
        assert half["sparsity"]["encoder"] == 0 and 0.4 < half["sparsity"]["decoder"] < 0.6 and half["macs"] < 1
        assert rows["both 50 %", task]["sparsity"]["encoder"] > 0.4
        assert "difference" not in rows["dense", task]
    with (out / "conditions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(record["scores"]) and float(lines[0]["value"]) == record["scores"][0]["value"]

    (first,) = work.iterdir()
    assert len(list(first.iterdir())) == 16
    (first / "decoder50_test_asr.pkl").unlink()
    units = []
    decode_rows = reference_conditions.decode_rows
    monkeypatch.setattr(reference_conditions, "decode_rows", lambda *given: units.append(given) or decode_rows(*given))
    run()
    assert len(units) == 1, "only what is lacking is decoded"
    assert json.loads((out / "conditions.json").read_text())["scores"] == record["scores"]

    units.clear()
    with torch.no_grad():
        adapter = GateAdapter.from_pretrained(model / "gates")
        for weights in adapter.predictors.parameters():
            weights.neg_()
    adapter.save_pretrained(model / "gates")
    run()
    assert len(units) == 16, "of other gates in the same folder nothing is known"
