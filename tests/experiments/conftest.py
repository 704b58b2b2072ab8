"""A tiny sweep, run for real once: three runs of a few steps on tones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import plan_cells
from skipwise.experiments.sweep.config import load_sweep
from skipwise.experiments.sweep.executors import Executor
from skipwise.experiments.sweep.folder import CellFolder
from skipwise.experiments.sweep.rows import TidyRow
from skipwise.experiments.sweep.run import run_sweep
from skipwise.experiments.sweep.worker import run_cell
from tests.training.conftest import ARCHITECTURE, spoken

__all__ = ["spoken"]

RUNS: dict[str, Any] = {
    "dense": {"gates": None},
    "ctx": {"gates.predictor": {"kind": "mlp", "open_bias": 0.0, "output_std": 1.0}, "gates.scope": "both"},
    "static": {"gates.predictor": {"kind": "static", "open_bias": 0.0, "init_std": 1.0}, "gates.scope": "both"},
}


class InlineExecutor(Executor):
    """Runs cells in this process, one after the other."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
        codes = {}
        for path in folders:
            self.seen.append(path.name)
            try:
                run_cell(path, 1)
                codes[path] = 0
            except SkipwiseError as error:
                CellFolder(path).log.write_text(f"Error: {error}\n")
                codes[path] = 1
            on_look()
        return codes


def write_sweep(folder: Path, data: Path, name: str = "sweep", **changes: Any) -> Path:
    """Write a recipe and a sweep of it, with `changes` of the sweep's sections; return the sweep's path."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        "output": "nowhere",
        "data": {"root": str(data), "dev_root": str(data), "languages": ["de", "fr"]},
        "model": {"vocabulary_size": 40, "architecture": ARCHITECTURE},
        "gates": {"sparsity": 0.5},
        "optimisation": {
            "max_steps": 4,
            "batch_s": 8,
            "warmup_steps": 2,
            "log_steps": 1,
            "eval_utterances": 0,
            "save_steps": 2,
            "ctc_warmup_steps": 2,
        },
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    sweep: dict[str, Any] = {
        "output": str(folder / name),
        "base": "recipe.yaml",
        "seeds": [3],
        "runs": RUNS,
        "evaluation": {"shuffle": ["speech", "language", "task"], "decoding": {"max_length_ratio": -6}, "batch_s": 8},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sweep | changes))
    return path


@pytest.fixture(scope="session")
def finished_sweep(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a sweep whose runs are all done; its folder is `sweep` beside it. Not to be changed."""
    path = write_sweep(tmp_path_factory.mktemp("finished"), spoken)
    outcome = run_sweep(plan_cells(load_sweep(path)), InlineExecutor())
    assert not outcome.failed, outcome.failed
    return path


def wer_of(rows: Sequence[TidyRow]) -> float:
    """Return the WER that the counts of rows sum up to."""
    counts = [row["wer_counts"] for row in rows]
    return 100 * sum(sum(count[:3]) for count in counts) / sum(count[3] for count in counts)
