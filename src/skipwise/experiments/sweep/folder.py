"""A cell on disk: what it is, how far it is, and whether it is still what the sweep says."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, final

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import Cell
from skipwise.experiments.sweep.config import EvaluationSection
from skipwise.training.config import TrainConfig
from skipwise.training.run import SUMMARY_FILE
from skipwise.training.trainer import newest_checkpoint, step_of

SWEEP_FILE = "sweep.json"
"""Names the cells of a sweep: what else lies beside them, of an earlier version of it, is none."""
SEARCH_FILE = "search.jsonl"
"""What was tried on dev for each run, and what was chosen."""
CELL_FILE = "cell.json"
ROWS_FILE = "rows.jsonl"
SYSTEMS_FILE = "systems.json"
LOG_FILE = "log.txt"
PROGRESS_FILE = "progress.json"

TRAINING_SHARE = 0.8
"""Of the progress of a cell; the rest is its evaluation."""

_WITHOUT_EFFECT = ("output", "data.jobs", "optimisation.threads", "optimisation.save_steps", "optimisation.log_steps")
"""Keys that may differ between a run and its continuation."""

State = Literal["new", "training", "trained", "done"]


@final
class CellFolder:
    """The folder of one cell."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def rows(self) -> Path:
        """Rows of all its utterances: there only if the cell is done."""
        return self.path / ROWS_FILE

    @property
    def log(self) -> Path:
        """What training and evaluation printed."""
        return self.path / LOG_FILE

    def state(self) -> State:
        """Return how far the cell is."""
        if self.rows.exists():
            return "done"
        if (self.path / SUMMARY_FILE).exists():
            return "trained"
        return "training" if newest_checkpoint(self.path) is not None else "new"

    def write(self, cell: Cell) -> None:
        """Keep what the cell is."""
        with atomic_write(self.path / CELL_FILE) as file:
            json.dump(_record(cell), file, indent=1)

    def read(self) -> Cell:
        """Return what `write` kept.

        Raises:
            SkipwiseError: if it is missing or damaged.
        """
        try:
            record = json.loads((self.path / CELL_FILE).read_text(encoding="utf-8"))
            return Cell(
                run=record["labels"]["run"],
                training=TrainConfig(**record["training"]),
                evaluation=EvaluationSection(**record["evaluation"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SkipwiseError(
                f"{self.path / CELL_FILE} cannot be read: {error}. Remove its folder and call the sweep again."
            ) from error

    def changes(self, cell: Cell) -> list[str]:
        """Return the keys in which a cell differs from what was begun here."""
        if not (self.path / CELL_FILE).exists():
            return []
        before, after = _record(self.read()), _record(cell)  # read: fields of later versions have their defaults
        return [
            f"{section}.{key}"
            for section in ("training", "evaluation")
            for key in _differing(before[section], after[section])
            if key not in _WITHOUT_EFFECT
        ]

    def forget(self, changed: list[str]) -> None:
        """Remove what changed keys have made worthless: the rows, and all of the training if that differs."""
        if any(key.startswith("training.") for key in changed):
            shutil.rmtree(self.path)
        else:
            self.rows.unlink(missing_ok=True)

    def drop_checkpoints(self) -> None:
        """Remove what only a training that goes on needs: it is large."""
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def tell(self, share: float, what: str) -> None:
        """Keep how far the cell is: `share` in [0, 1], and what it does."""
        with atomic_write(self.path / PROGRESS_FILE) as file:
            json.dump({"share": round(share, 4), "what": what}, file)

    def progress(self, max_steps: int) -> float:
        """Return how far the cell is, in [0, 1]."""
        match self.state():
            case "done":
                return 1.0
            case "trained":
                least = TRAINING_SHARE
            case _:
                least = TRAINING_SHARE * min(1.0, step_of(newest_checkpoint(self.path)) / max_steps)
        try:
            told = float(json.loads((self.path / PROGRESS_FILE).read_text(encoding="utf-8"))["share"])
        except (OSError, ValueError, KeyError):
            told = 0.0
        return max(least, told)

    def log_tail(self, num_lines: int = 15) -> str:
        """Return the end of the log: the last of what progress bars overwrote, and no more."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        lines = [line.rpartition("\r")[2] for line in text.splitlines()]
        return "\n".join([line for line in lines if line.strip()][-num_lines:])


@contextmanager
def only_one(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends.

    Raises:
        SkipwiseError: with `refusal` if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SkipwiseError(refusal) from error
        yield


def _record(cell: Cell) -> dict[str, Any]:
    return {
        "labels": cell.labels(),
        "training": cell.training.model_dump(mode="json"),
        "evaluation": cell.evaluation.model_dump(mode="json"),
    }


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values differ."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differing(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}")
    return found
