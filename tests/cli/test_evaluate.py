"""`skipwise evaluate` prints, writes, and loses nothing."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skipwise.cli.main import app, run
from skipwise.evaluation import rows as rows_module
from skipwise.evaluation.rows import Row
from skipwise.gating.cost_table import CostTable, SiteCost
from skipwise.models.owsm.loading import load_owsm
from tests.data.spoken import write_lines
from tests.evaluation.corpus import write_corpus, write_gated_model

Called = tuple[int, str, str]
Call = Callable[..., Called]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    write_gated_model(folder / "model")
    write_corpus(folder / "corpus")
    return folder


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*options: str) -> Called:
        defaults = ["--data", str(folder / "corpus/manifest.jsonl"), "--model", str(folder / "model")]
        monkeypatch.setattr(sys, "argv", ["skipwise", "evaluate", *defaults, "--max-length-ratio", "-5", *options])
        code = run(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return called


def test_the_table_and_the_file_say_the_same(call: Call, tmp_path: Path) -> None:
    code, out, err = call("--json", str(tmp_path / "deep" / "scores.json"))
    assert code == 0, err
    record = json.loads((tmp_path / "deep" / "scores.json").read_text())
    assert set(record) == {"settings", "all", "per_language", "per_task", "per_language_task"}
    assert record["settings"]["complete"] is True and record["settings"]["gates"] == "auto"
    assert 0 < record["all"]["sparsity"]["decoder"] < 1
    lines = out.splitlines()
    [everything] = [line for line in lines if line.split()[:3] == ["all", "asr", "8"]]
    assert f"{record['per_task']['asr']['wer']:.1f} [" in everything
    assert any(line.split()[:3] == ["fra", "st_eng", "3"] for line in lines)
    assert "Skipped by kind: decoder." in out and "tok:13a" in out and "max_length_ratio -5" in out


def test_language_task_gates_and_limit_choose(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    code, out, err = call("-l", "de", "--task", "asr", "--gates", "none", "--limit", "2", "--json", str(file))
    assert code == 0, err
    record = json.loads(file.read_text())
    assert list(record["per_language"]) == ["deu"] and list(record["per_task"]) == ["asr"]
    assert record["all"]["utterances"] == 2 and record["all"]["bleu"] is None
    assert record["all"]["sparsity"] == {"encoder": 0, "decoder": 0}
    assert record["settings"]["limit"] == 2 and record["settings"]["gates"] == "none"
    assert "Skipped by kind" not in out


def test_a_limit_is_spread_over_the_languages(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    assert call("--limit", "4", "-t", "asr", "--json", str(file))[0] == 0
    per_language = json.loads(file.read_text())["per_language"]
    assert {language: group["utterances"] for language, group in per_language.items()} == {"deu": 2, "fra": 2}


@pytest.mark.parametrize(
    ("error", "expected_code"),
    [(KeyboardInterrupt(), 130), (rows_module.SkipwiseError("x.wav breaks off. Copy it again."), 2)],
)
def test_what_was_decoded_before_a_stop_is_kept(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, expected_code: int
) -> None:
    plain = rows_module.decode_rows

    def stopping(*args: Any) -> Iterator[Row]:
        for number, row in enumerate(plain(*args)):
            if number == 3:
                raise error
            yield row

    monkeypatch.setattr(rows_module, "decode_rows", stopping)
    code, out, err = call("--json", str(tmp_path / "scores.json"))
    assert code == expected_code
    assert "Stopped after 3 of 15: the numbers are of these alone." in out
    assert err.endswith("Interrupted.\n" if expected_code == 130 else "Error: x.wav breaks off. Copy it again.\n")
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["settings"]["complete"] is False and record["all"]["utterances"] == 3


def test_a_stop_before_the_first_row_leaves_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopping(*args: Any) -> Iterator[Row]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(rows_module, "decode_rows", stopping)
    code, out, _ = call("--json", str(tmp_path / "scores.json"))
    assert (code, out) == (130, "") and not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "st_xyz"], "does not know the task 'st_xyz'"),
        (["--language", "it"], "no utterance in ita"),
        (["--data", "/nowhere"], "there is no data at /nowhere"),
        (["--model", "/nowhere"], "no model at /nowhere"),
        (["--gates", "/nowhere"], "/nowhere"),
        (["--max-length-ratio", "-0.5"], "max_length_ratio must be"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call: Call, options: list[str], message: str) -> None:
    code, out, err = call(*options)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ") and message in err and err.count("\n") == 1


def test_other_layouts_are_evaluated_on_and_bad_lines_listed(call: Call, folder: Path, tmp_path: Path) -> None:
    lines = [f"{name} {folder}/corpus/{name}.wav" for name in ("deu_0", "deu_1", "deu_2")]
    write_lines(tmp_path / "test" / "wav.scp", *lines, "broken sox in.wav -t wav - |")
    write_lines(tmp_path / "test" / "text", *(f"{line.split()[0]} Guten Tag." for line in lines))
    options = ("--data", str(tmp_path), "-l", "de", "--json", str(tmp_path / "scores.json"))
    code, _, err = call(*options)
    assert code == 2 and "wav.scp, line 4: the field 'wav.scp' must be the path of an audio file, got a command" in err
    code, out, err = call(*options, "--skip-bad")
    assert code == 0, err
    record = json.loads((tmp_path / "scores.json").read_text())
    assert list(record["per_task"]) == ["asr"] and record["all"]["utterances"] == 3
    [bad_line] = record["settings"]["bad_lines"]
    assert bad_line.startswith(f"{tmp_path}/test/wav.scp, line 4: ")
    assert "1 bad lines of the data are left out:" in out and "wav.scp, line 4: " in "".join(out.split("\n"))


def test_data_without_any_reference_say_so(call: Call, folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "bare.jsonl"
    line = {"id": "a", "audio": str(folder / "corpus/deu_0.wav"), "language": "de"}
    manifest.write_text(json.dumps(line))
    code, _, err = call("--data", str(manifest))
    assert code == 2
    assert "these utterances have no reference for any task of this model (asr, st_eng)" in err


def test_a_budget_is_told_with_what_it_came_to(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    code, out, err = call("-t", "asr", "--sparsity", "0.5", "--exact", "--json", str(file))
    assert code == 0, err
    record = json.loads(file.read_text())
    assert record["achieved"] == {"decoder": pytest.approx(0.5)} and record["settings"]["exact"] is True
    assert "Budget 0.5 of sites, exactly: closed 0.500 of the decoder's." in out
    code, out, err = call("-t", "asr", "--sparsity", "0.5", "--exact", "--unit", "macs", "--json", str(file))
    assert code == 0, err
    record = json.loads(file.read_text())
    # what a site of this model costs at most is a third of what can be skipped
    assert record["settings"]["unit"] == "macs" and abs(record["achieved"]["decoder"] - 0.5) < 0.17
    assert "Budget 0.5 of macs, exactly: closed" in out


def cost_table(folder: Path, tmp_path: Path) -> Path:
    """Every site takes 1 ms, and the last decoder site 3; the rest of each stack 1."""
    sites = load_owsm(folder / "model").network.config.gate_sites()
    costs = {site: SiteCost(macs=1, weight_bytes=1, ms=3.0 if site == sites[-1] else 1.0) for site in sites}
    table = CostTable(setting={"model": "tiny"}, sites=costs, merge_ms={}, rest_ms={"encoder": 1.0, "decoder": 1.0})
    table.save(tmp_path / "cost.json")
    return tmp_path / "cost.json"


def test_a_speedup_is_met_by_what_modules_cost_here(call: Call, folder: Path, tmp_path: Path) -> None:
    """8 encoder sites and 6 of the decoder, 18 ms in all: 1.2 times as fast is without 3 of the decoder's 8 ms."""
    table, file = cost_table(folder, tmp_path), tmp_path / "scores.json"
    options = ["-t", "asr", "--cost-table", str(table), "--json", str(file)]
    code, _, err = call(*options, "--speedup", "1.2")
    assert code == 0, err
    record = json.loads(file.read_text())
    # what one site costs is at most 3 of 8: a row is at most half of that away
    assert record["settings"]["unit"] == "ms" and record["achieved"]["decoder"] == pytest.approx(3 / 8, abs=3 / 16)
    slower = record["achieved"]["decoder"]
    code, _, err = call(*options, "--sparsity", "0.625", "--exact")
    assert code == 0, err
    achieved = json.loads(file.read_text())["achieved"]["decoder"]
    assert achieved == pytest.approx(5 / 8, abs=3 / 16) and achieved > slower
    code, _, err = call(*options, "--speedup", "9")
    assert code == 2 and "a speedup must be above 1 and below 1.80" in err


def test_gates_that_see_another_utterances_speech_are_compared_with_themselves(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    code, out, err = call("--shuffle", "speech", "--json", str(file))
    assert code == 0, err
    record = json.loads(file.read_text())
    assert record["unshuffled"]["settings"]["gates"] == "adapter" and "Shuffled minus own input: wer " in out
    assert record["differences"]["all"]["wer"] is not None
    assert record["settings"]["gates"] == "auto"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gates", "none", "--shuffle", "speech"], "this model runs without an adapter"),
        (["-t", "asr", "--shuffle", "task"], "needs another utterance of another task"),
        (["--unit", "ms", "--exact"], "what each site costs in ms is not known"),
        (["--speedup", "1.5"], "--speedup needs a --cost-table of this model on this machine"),
        (["--cost-table", "none.json", "--sparsity", "0.5", "--exact"], "no such cost table: none.json"),
        (["--unit", "macs"], "trained for budgets in sites, got macs. Ask for an exact one"),
        (["--unit", "macs", "--gates", "none"], "runs without an adapter"),
    ],
)
def test_what_gates_cannot_do_is_one_line(call: Call, options: list[str], message: str) -> None:
    code, _, err = call(*options)
    assert code == 2 and message in err, err
