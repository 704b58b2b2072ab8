"""From a sweep's YAML to its cells, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import plan_cells
from skipwise.experiments.sweep.config import load_sweep
from tests.experiments.conftest import write_sweep


def cells_of(folder: Path, **changes: Any) -> dict[str, dict[str, Any]]:
    cells = plan_cells(load_sweep(write_sweep(folder, folder / "data", **changes)))
    return {cell.name: cell.labels() for cell in cells}


def test_a_grid_is_every_combination_with_every_seed(tmp_path: Path) -> None:
    grid = {"gates.scope": ["encoder", "decoder"], "gates.sparsity": [0.1, 0.9]}
    found = cells_of(tmp_path, grid=grid, runs={}, seeds=[1, 2])
    assert len(found) == 8
    labels = found["scope-decoder_sparsity-0.9_seed2"]
    assert (labels["scope"], labels["target"], labels["seed"]) == ("decoder", 0.9, 2)
    assert labels["trained_tasks"] == "asr+st_eng" and labels["predictor"] == "mlp"


def test_a_run_varies_over_lists_but_not_over_values_that_are_lists(tmp_path: Path) -> None:
    runs = {"alone": {"data.tasks": ["asr"], "gates.sparsity": [0.3, 0.5], "seed": [5, 6]}, "dense": {"gates": None}}
    found = cells_of(tmp_path, runs=runs)
    assert set(found) == {f"alone_sparsity-0.{i}_seed{seed}" for i in (3, 5) for seed in (5, 6)} | {"dense_seed3"}
    assert {found[name]["trained_tasks"] for name in found if name != "dense_seed3"} == {"asr"}
    assert found["dense_seed3"] | {"scope": "none", "target": None, "predictor": "none"} == found["dense_seed3"]


def test_a_run_may_be_evaluated_in_a_way_of_its_own(tmp_path: Path) -> None:
    runs = {"ctx": {"evaluation.shuffle": ["speech", "task"], "evaluation.limit": 3}, "dense": {"gates": None}}
    sweep = write_sweep(tmp_path, tmp_path / "data", runs=runs, evaluation={"limit": 5, "exact": True})
    found = {cell.run: cell.evaluation for cell in plan_cells(load_sweep(sweep))}
    assert (found["ctx"].shuffle, found["ctx"].limit, found["ctx"].exact) == (("speech", "task"), 3, True)
    assert (found["dense"].shuffle, found["dense"].limit) == ((), 5)


def test_the_shipped_sweeps_can_be_planned() -> None:
    recipes = Path(__file__).parents[3] / "recipes" / "parliament"
    paper = plan_cells(load_sweep(recipes / "sweep.yaml"))
    alike = [cell for cell in paper if cell.run.startswith(("scope-", "half_"))]
    cells = {(cell.labels()["target"], cell.labels()["scope"], cell.training.seed) for cell in alike}
    assert len(cells) == len(alike) == 5 * 3 * 3, "targets, scopes, seeds"
    assert {cell.training.data.tasks for cell in paper} == {("asr", "st_eng"), ("asr",), ("st_eng",)}
    small = plan_cells(load_sweep(recipes / "sweep_small.yaml"))
    kinds = {cell.labels()["predictor"] for cell in small}
    assert kinds == {"mlp", "static", "random", "layer_drop", "none"}
    beyond = plan_cells(load_sweep(recipes / "sweep_beyond.yaml"))
    assert {"plain_seed1", "dense_seed1"} <= {cell.name for cell in beyond}, "what the others are set beside"
    penalties = plan_cells(load_sweep(recipes / "sweep_penalty.yaml"))
    steepness = set()
    for cell in penalties:
        gates = cell.training.gates
        if gates is not None:
            absolute = gates.absolute_weight if gates.penalty in ("absolute", "both") else 0.0
            squared = 0.0 if gates.penalty == "absolute" else gates.squared_weight
            steepness.add(absolute + 0.2 * squared)
    assert steepness == {5.0}, "0.1 from the target, before a multiplier has grown"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grids": {}},
            r"unknown key grids; allowed there: base, evaluation, grid, output, overrides, runs, search, seeds",
        ),
        ({"evaluation": {"splits": "test"}}, r"unknown key evaluation.splits; allowed there: batch_s, data, decoding"),
        (
            {"evaluation": {"decoding": {"beam": 5}}},
            r"unknown key decoding.beam; allowed there: beam_size, .*timestamps",
        ),
        (
            {"evaluation": {"shuffle": ["speaker"]}},
            r"evaluation.shuffle.0: input should be 'speech', 'language' or 'task'",
        ),
        ({"runs": {}}, "there is nothing to run: give grid, runs, or both"),
        ({"grid": {"gates.scope": []}}, r"grid.gates.scope has no values: leave it out, or name some"),
        ({"runs": {"a/b": {}}}, r"a run's name may have letters, digits, '.', '_' and '-', got 'a/b'"),
        (
            {"runs": {"a": {"gates.scop": "both"}}},
            r"run a of the sweep: .*unknown key gates.scop; allowed there: .*scope",
        ),
        (
            {"runs": {"a": {"evaluation.shuffel": ["task"]}}},
            r"run a of the sweep: evaluation: unknown key shuffel; allowed there: .*shuffle",
        ),
        ({"runs": {"a": {}, "b": {}}}, r"the runs a_seed3 and b_seed3 are the same training. Leave one of them out"),
        ({"seeds": [1, 1]}, r"two runs of the sweep are called ctx_seed1. Give one of them another name"),
    ],
)
def test_a_wrong_sweep_is_told_before_anything_runs(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        cells_of(tmp_path, **changes)


def test_a_sweep_that_is_not_there_or_not_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"no such sweep: .*none.yaml. See recipes/parliament/sweep.yaml"):
        load_sweep(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(SkipwiseError, match="must hold output, base, grid or runs, got a list"):
        load_sweep(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(SkipwiseError, match=r"broken.yaml is not YAML"):
        load_sweep(tmp_path / "broken.yaml")
