"""The script behind results/reference writes what it promises."""

import csv
import json
from pathlib import Path

import pytest
from benchmarks.reference import main

from skipwise.data.layouts import read_data
from tests.evaluation.corpus import write_corpus, write_gated_model
from tests.tiny import tiny_model


@pytest.mark.usefixtures("capsys")
def test_the_reference_benchmark_writes_numbers_figures_and_its_command(tmp_path: Path) -> None:
    model = write_gated_model(tmp_path / "model")
    tiny_model(tmp_path / "dense", seed=1)
    out = tmp_path / "results"
    data = write_corpus(tmp_path / "corpus", per_language=2)
    main(str(data), model=str(model), dense_only=str(tmp_path / "dense"), single=2, output=out)

    assert {path.name for path in out.iterdir()} == {
        "summary.json", "per_language_task.csv", "command.txt", "quality.png", "gate_map.png"
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    systems = ("dense", "pruned", "dense-only")
    assert all(summary[system]["all"]["utterances"] == 7 for system in systems)
    for task, metric, best in (("asr", "wer", min), ("st_eng", "bleu", max)):
        found = summary["better_dense"][task]
        scores = {system: summary[system]["per_task"][task][metric] for system in systems}
        assert scores[found["system"]] == best(scores["dense"], scores["dense-only"])
        expected = scores["pruned"] - scores[found["system"]]
        assert found["difference"][metric]["absolute"] == pytest.approx(expected)
    assert summary["time_ratios"]["single"]["all"]["decoder"]["batches"] == 4
    with (out / "per_language_task.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["system"], row["language"], row["task"]) for row in rows][-2:] == [
        ("dense-only", "all", "asr"),
        ("dense-only", "all", "st_eng"),
    ]
    assert len(rows) == 18 and float(rows[-2]["wer"]) == summary["dense-only"]["per_task"]["asr"]["wer"]
    assert "commit" in (out / "command.txt").read_text()


@pytest.mark.usefixtures("capsys")
def test_a_part_of_the_data_and_an_exact_budget(tmp_path: Path) -> None:
    model = write_gated_model(tmp_path / "model")
    data = write_corpus(tmp_path / "corpus", per_language=2)
    every = [utterance for utterance in read_data(str(data), "test") if utterance.language == "fra"]
    longest_s = min(utterance.duration_s for utterance in every)
    main(
        str(data),
        model=str(model),
        language=["fr"],
        task=["asr"],
        longest_s=longest_s,
        sparsity=0.5,
        single=1,
        output=tmp_path / "results",
    )
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    kept = [utterance for utterance in every if utterance.duration_s <= longest_s]
    assert set(summary["pruned"]["per_language_task"]) == {"fra"} and set(summary["pruned"]["per_task"]) == {"asr"}
    assert summary["pruned"]["all"]["utterances"] == len(kept) < len(every) + 1
    assert summary["pruned"]["all"]["sparsity"]["decoder"] == pytest.approx(0.5)
