"""One cell in a process of its own: trains what is left of it, evaluates it, and tells how far it is.

    python -m skipwise.experiments.sweep.worker FOLDER THREADS

The process ends when its standard input does, that is with whoever started it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.evaluation.rows import Row, make_batches
from skipwise.evaluation.run import describe_settings
from skipwise.evaluation.turns import decode_in_turns
from skipwise.experiments.sweep.cells import Cell
from skipwise.experiments.sweep.folder import SYSTEMS_FILE, TRAINING_SHARE, CellFolder, only_one
from skipwise.experiments.sweep.rows import facts_of, tidy_rows, write_rows
from skipwise.experiments.sweep.systems import (
    OPEN,
    CellSystems,
    System,
    Systems,
    utterances_to_evaluate,
)
from skipwise.training.config import TrainConfig
from skipwise.training.run import train

Tell = Callable[[float, str], None]
"""(share of the cell that is done, what it does)"""

_TELL_EVERY_S = 0.5


def run_cell(path: Path, threads: int) -> None:
    """Bring the cell in a folder to its end, from wherever it is.

    Raises:
        SkipwiseError: if it cannot be trained or evaluated, or another process is at it.
    """
    folder = CellFolder(path)
    cell = folder.read()
    torch.set_num_threads(threads)
    with only_one(path / "lock", f"another process is at work on {path}. Wait for it, or end it."):
        tell = _at_times(folder.tell)
        if folder.state() in ("new", "training"):
            _train(cell, threads, tell)
        folder.drop_checkpoints()
        if folder.state() == "trained":
            _evaluate(cell, folder, tell)
    folder.tell(1.0, "done")


def _train(cell: Cell, threads: int, tell: Tell) -> None:
    max_steps = cell.training.optimisation.max_steps
    tell(0.0, "preparing")
    # one after the other until the first step: features are shared, and computed by the first that needs them
    turn = (cell.folder.parent / "preparing.lock").open("a")
    fcntl.flock(turn, fcntl.LOCK_EX)

    def on_step(step: int) -> None:
        turn.close()
        tell(TRAINING_SHARE * step / max_steps, f"step {step} of {max_steps}")

    with turn:
        train(_with_threads(cell.training, threads), resume=True, on_step=on_step)


def _evaluate(cell: Cell, folder: CellFolder, tell: Tell) -> None:
    utterances = utterances_to_evaluate(cell)
    systems = CellSystems(cell)
    main, asked = systems.main(), cell.evaluation
    batches = make_batches(main[OPEN], utterances, cell.training.data.tasks, batch_s=asked.batch_s, seed=asked.seed)
    num_items = sum(map(len, batches))
    decoded: list[tuple[System, int, Row]] = []

    def decode(some: Systems, first: float, last: float) -> None:
        for done, found in enumerate(decode_in_turns(some, batches), start=1):
            decoded.append(found)
            share = first + (last - first) * done / (num_items * len(some))
            tell(share, f"evaluating {', '.join(dict.fromkeys(system.condition for system in some))}")

    middle = (1 + TRAINING_SHARE) / 2
    decode(main, TRAINING_SHARE, middle)
    others = systems.shuffled()
    if others:
        decode(others, middle, 1.0)
    sites = systems.model.network.config.gate_sites()
    assert asked.data is not None
    rows = tidy_rows(cell.labels(), decoded, sites, facts_of(asked.data, utterances))
    described = [
        {"condition": system.condition, "asked": system.asked, "settings": describe_settings(transcriber)}
        for system, transcriber in (main | others).items()
    ]
    with atomic_write(folder.path / SYSTEMS_FILE) as file:
        json.dump({"sites": [str(site) for site in sites], "systems": described}, file, indent=1)
    write_rows(folder.rows, rows)


def _with_threads(training: TrainConfig, threads: int) -> TrainConfig:
    chosen = training.optimisation.model_copy(update={"threads": threads})
    return training.model_copy(update={"optimisation": chosen})


def _at_times(tell: Tell) -> Tell:
    """The same, but not more often than anyone looks."""
    last = -_TELL_EVERY_S

    def told(share: float, what: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _TELL_EVERY_S:
            last = time.monotonic()
            tell(share, what)

    return told


def _end_with_parent() -> None:
    """Wait for the end of standard input, then leave at once: a checkpoint is whole or not there."""
    while os.read(0, 1):  # of the file itself: a buffered reader would be held when the process ends
        pass
    if os.getpgrp() == os.getpid():  # with those that compute features for it
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> int:
    """Run the cell that the command line names; the exit code is 1 where that failed, and the log says why."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("default")
    try:
        run_cell(Path(sys.argv[1]), int(sys.argv[2]))
    except SkipwiseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
