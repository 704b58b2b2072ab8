"""Choices on dev: the same candidates for every run, the best for all its seeds, and test for that one alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skipwise.cli.main import app, run
from skipwise.data.manifest import read_manifest, write_manifest
from skipwise.errors import SkipwiseError
from skipwise.experiments.report.run import write_report
from skipwise.experiments.sweep.cells import plan_cells
from skipwise.experiments.sweep.config import SweepConfig, load_sweep
from skipwise.experiments.sweep.folder import CellFolder
from skipwise.experiments.sweep.rows import read_rows
from skipwise.experiments.sweep.run import Outcome, run_sweep
from skipwise.experiments.sweep.search import plan_candidates
from tests.experiments.conftest import InlineExecutor, write_sweep

SEARCH: dict[str, Any] = {
    "keys": {"gates.learning_rate": [0.003, 0.03], "optimisation.learning_rate": [0.001, 0.004]},
    "limit": 3,
}
RUNS: dict[str, Any] = {
    "dense": {"gates": None},
    "ctx": {"gates.scope": "both"},
    "random": {"gates.predictor": {"kind": "random"}},
    "kept": {"model.base": "frozen", "model.init": "reference", "model.architecture": {}},
}


def sweep_of(folder: Path, data: Path, **changes: Any) -> SweepConfig:
    sections: dict[str, Any] = {"runs": RUNS, "search": SEARCH, "seeds": [1, 2]}
    return load_sweep(write_sweep(folder, data, **(sections | changes)))


def run_all(sweep: SweepConfig, executor: InlineExecutor | None = None, *, redo: bool = False) -> Outcome:
    return run_sweep(plan_cells(sweep), executor or InlineExecutor(), search=sweep.search, redo_changed=redo)


def test_every_run_has_the_same_candidates_that_change_something_for_it(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, tmp_path / "data")
    found: dict[str, list[tuple[Any, Any]]] = {}
    for candidate in plan_candidates(plan_cells(sweep), sweep.search):
        training = candidate.cell.training
        gates = candidate.choice.get("gates.learning_rate")
        assert gates is None or (training.gates is not None and training.gates.learning_rate == gates)
        found.setdefault(candidate.run, []).append((gates, candidate.choice.get("optimisation.learning_rate")))
        assert training.seed == 1 and (training.gates is None) == (candidate.run == "dense")
    assert found == {
        "dense": [(None, 0.001), (None, 0.004)],
        "ctx": [(0.003, 0.001), (0.003, 0.004), (0.03, 0.001), (0.03, 0.004)],
        "random": [(None, 0.001), (None, 0.004)],
        "kept": [(0.003, None), (0.03, None)],
    }


def test_candidates_are_judged_on_dev_alone_and_at_what_they_were_to_skip(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sweep = sweep_of(tmp_path, data, evaluation={"data": str(tmp_path / "elsewhere"), "shuffle": ["task"]})
    for candidate in plan_candidates(plan_cells(sweep), sweep.search):
        asked = candidate.cell.evaluation
        assert (asked.data, asked.split, asked.limit, asked.exact, asked.shuffle) == (data, "dev", 3, True, ())


@pytest.fixture(scope="module")
def corpus(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones with splits: dev and test are of other utterances."""
    folder = tmp_path_factory.mktemp("splits")
    utterances = read_manifest(spoken)
    for split, part in (("train", utterances), ("dev", utterances[:4]), ("test", utterances[4:])):
        write_manifest(folder / f"{split}.jsonl", part)
    return folder


class Counting(InlineExecutor):
    """Notes which cells are trained, and ends as a killed sweep would after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int | None = None) -> None:
        super().__init__()
        from skipwise.experiments.sweep import worker

        self.trained: list[str] = []
        self._most = most
        train = worker.train

        def noted(config: Any, **options: Any) -> Path:
            self.trained.append(config.output.name)
            return train(config, **options)

        monkeypatch.setattr(worker, "train", noted)

    def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
        if self._most is not None and len(folders) > self._most:
            super().run(folders[: self._most], on_look)
            raise KeyboardInterrupt
        return super().run(folders, on_look)


@pytest.fixture(scope="module")
def searched(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepConfig, Outcome, list[str]]:
    """A sweep with a search that was killed in its middle and called again; what was trained."""
    folder = tmp_path_factory.mktemp("searched")
    runs = {name: RUNS[name] for name in ("dense", "ctx")}
    sweep = sweep_of(folder, corpus, runs=runs)
    with pytest.MonkeyPatch.context() as patch:
        first = Counting(patch, most=3)
        with pytest.raises(KeyboardInterrupt):
            run_all(sweep, first)
    with pytest.MonkeyPatch.context() as patch:
        second = Counting(patch)
        outcome = run_all(sweep, second)
    return sweep, outcome, first.trained + second.trained


def test_a_search_goes_on_where_it_was_stopped_and_its_best_is_not_trained_again(
    searched: tuple[SweepConfig, Outcome, list[str]],
) -> None:
    sweep, outcome, trained = searched
    assert not outcome.failed and set(outcome.done) == {f"{run}_seed{i}" for run in ("dense", "ctx") for i in (1, 2)}
    assert len(trained) == len(set(trained)) == 2 + 4 + 2, "candidates, and the second seeds"
    assert {name for name in trained if "search" not in name} == {"dense_seed2", "ctx_seed2"}
    again = InlineExecutor()
    assert run_all(sweep, again).done == outcome.done and again.seen == []


def rows_of(sweep: SweepConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sweep.output / "search.jsonl").read_text().splitlines()]


def test_the_best_on_dev_is_chosen_for_all_seeds(searched: tuple[SweepConfig, Outcome, list[str]]) -> None:
    sweep, outcome, _ = searched
    rows = rows_of(sweep)
    for chosen in outcome.chosen:
        own = [row for row in rows if row["run"] == chosen.run]
        values = [(row["gates.learning_rate"], row["optimisation.learning_rate"]) for row in own]
        errors = {
            value: sum(
                row["score"] if row["task"] == "asr" else 100 - row["score"]
                for row, of in zip(own, values, strict=True)
                if of == value
            )
            / 2
            for value in dict.fromkeys(values)
        }
        best = min(errors, key=lambda value: errors[value])
        assert (chosen.choice.get("gates.learning_rate"), chosen.choice["optimisation.learning_rate"]) == best
        marked = {value for row, value in zip(own, values, strict=True) if row["chosen"]}
        assert marked == {best}
        for seed in (1, 2):
            training = CellFolder(sweep.output / "runs" / f"{chosen.run}_seed{seed}").read().training
            assert training.optimisation.learning_rate == best[1]
            assert training.gates is None or training.gates.learning_rate == best[0]


def test_dev_decides_and_test_is_seen_by_the_chosen_alone(
    searched: tuple[SweepConfig, Outcome, list[str]], corpus: Path
) -> None:
    sweep, outcome, _ = searched
    dev, test = ({u.id for u in read_manifest(corpus / f"{split}.jsonl")} for split in ("dev", "test"))
    for path in (sweep.output / "runs").glob("*/rows.jsonl"):
        seen = {row["id"] for row in read_rows(path)}
        assert seen <= dev if "search" in path.parent.name else seen == test
    cells = json.loads((sweep.output / "sweep.json").read_text())["cells"]
    assert sorted(cells) == sorted(outcome.done), "candidates are no runs of their own in the report"


def test_the_report_shows_what_was_tried_and_what_was_chosen(
    searched: tuple[SweepConfig, Outcome, list[str]], tmp_path: Path
) -> None:
    sweep, _, _ = searched
    path, _ = write_report(sweep.output, tmp_path / "report")
    page = path.read_text(encoding="utf-8")
    assert '<section id="search"><h2>Chosen on dev</h2>' in page
    assert page.count(">chosen<") == 2, "one a run"
    row = next(row for row in rows_of(sweep) if row["chosen"] and row["run"] == "ctx")
    assert f"<td>{row['gates.learning_rate']}</td><td>{row['optimisation.learning_rate']}</td>" in page
    assert f"{row['metric'].upper()} {row['score']:.1f}" in page and f">{row['error']:.1f}<" in page


def test_a_run_whose_search_fails_does_not_go_on_and_the_others_do(corpus: Path, tmp_path: Path) -> None:
    runs = {"dense": {"gates": None}, "broken": {"gates": None, "model.init": "no/such/folder"}}
    outcome = run_all(sweep_of(tmp_path, corpus, runs=runs, seeds=[1]))
    assert outcome.done == ("dense_seed1",)
    assert len(outcome.failed) == 2 and all("broken_seed1_search" in failure.cell for failure in outcome.failed)
    assert not (tmp_path / "sweep" / "runs" / "broken_seed1").exists()


def test_a_single_metric_can_decide(corpus: Path, tmp_path: Path) -> None:
    search = {"keys": {"optimisation.learning_rate": [0.001, 0.004]}, "metric": "bleu", "limit": 2}
    sweep = sweep_of(tmp_path, corpus, runs={"dense": {"gates": None}}, seeds=[1], search=search)
    run_all(sweep)
    for row in rows_of(sweep):
        if row["task"] == "st_eng":
            assert row["error"] == pytest.approx(100 - row["score"]) and row["criterion"] == "bleu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search": {"keys": {"optimisation.learning_rate": [0.1]}}},
            r"keys.optimisation.learning_rate must have at least two different values, got \[0.1\]",
        ),
        ({"search": {"keys": {}}}, r"search.keys: .*at least 1 item"),
        (
            {"search": {"keys": {"seed": [1, 2]}, "on": "dev"}},
            "unknown key search.on; allowed there: keys, limit, metric",
        ),
        (
            {"runs": {"a": {"gates.learning_rate": 0.1}}},
            r"search.keys.gates.learning_rate is also in a: leave it out of one of them",
        ),
        (
            {"grid": {"optimisation.learning_rate": [0.1, 0.2]}},
            r"search.keys.optimisation.learning_rate is also in grid: leave it out",
        ),
        (
            {"search": {"keys": {"optimisation.rate": [0.1, 0.2]}}},
            r"search of run ctx: unknown key optimisation.rate; allowed there: batch_s",
        ),
        (
            {"search": SEARCH | {"metric": "bleu"}, "runs": {"alone": {"data.tasks": ["asr"]}}},
            r"search.metric is bleu, which scores none of the tasks of run alone, asr. Choose mean_error",
        ),
    ],
)
def test_a_wrong_search_is_told_before_anything_runs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        sweep = sweep_of(tmp_path, tmp_path / "data", **changes)
        plan_candidates(plan_cells(sweep), sweep.search)


def test_without_dev_data_there_is_no_search(spoken: Path, tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, spoken, runs={"dense": {"gates": None}})
    cells = [
        replace(
            cell,
            training=cell.training.model_copy(
                update={"data": cell.training.data.model_copy(update={"dev_root": None})}
            ),
        )
        for cell in plan_cells(sweep)
    ]
    executor = InlineExecutor()
    with pytest.raises(SkipwiseError, match=r"is one split, that to train on, so there is no dev data"):
        run_sweep(cells, executor, search=sweep.search)
    assert executor.seen == []


def test_the_plan_says_what_a_search_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path, tmp_path / "data", runs=RUNS, search=SEARCH, seeds=[1, 2])
    monkeypatch.setattr("sys.argv", ["skipwise", "sweep", str(path), "--dry-run"])
    assert run(app) == 0
    told = capsys.readouterr().out
    assert "8 trainings of 4 runs, 32 steps" in told
    assert (
        "Before them a search on dev: 10 trainings of 4 runs, 40 steps; the 4 chosen ones are not trained again" in told
    )
