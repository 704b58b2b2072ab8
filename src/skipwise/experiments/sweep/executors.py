"""What runs cells: processes here, one a core or GPU, or Ray's workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, final

from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.folder import CellFolder

_LOOK_EVERY_S = 0.5
_GRACE_S = 5.0
_FAILED = 1


@final
@dataclass(frozen=True, kw_only=True)
class Share:
    """What a cell may use of a machine."""

    threads: int = 1
    gpus: int = 0


class Executor(ABC):
    """Runs cells, each apart from the others, and goes on when one fails."""

    @abstractmethod
    def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
        """Return the exit code of each cell; `on_look` is called now and then while they run."""


@final
class ProcessExecutor(Executor):
    """So many processes on this machine, which end with this one."""

    def __init__(self, jobs: int, share: Share) -> None:
        """Share GPUs out by turns, where there are some.

        Raises:
            SkipwiseError: if there is no job.
        """
        if jobs < 1:
            raise SkipwiseError(f"jobs must be at least 1, got {jobs}.")
        self._jobs, self._share = jobs, share

    def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
        waiting, codes = list(folders), {}
        running: dict[int, tuple[Path, subprocess.Popen[bytes]]] = {}
        try:
            while waiting or running:
                for slot in range(self._jobs):
                    if slot not in running and waiting:
                        path = waiting.pop(0)
                        running[slot] = path, start_cell(path, self._share, slot=slot)
                time.sleep(_LOOK_EVERY_S)
                for slot, (path, process) in list(running.items()):
                    code = process.poll()
                    if code is not None:
                        codes[path] = code
                        _end([running.pop(slot)[1]])
                on_look()
        finally:
            _end([process for _, process in running.values()])
        return codes


@final
class RayExecutor(Executor):
    """Ray's workers, over as many machines as the cluster has; the sweep's folder must be one that all of them see."""

    def __init__(self, share: Share) -> None:
        """Connect to the cluster that RAY_ADDRESS names, or start one here.

        Raises:
            SkipwiseError: if Ray is not installed.
        """
        try:
            self._ray: Any = import_module("ray")
        except ModuleNotFoundError as error:
            raise SkipwiseError(
                'to run over machines needs Ray. Install it: pip install "skipwise[scale]", or leave --ray out.'
            ) from error
        self._share = share

    def run(self, folders: Sequence[Path], on_look: Callable[[], None]) -> dict[Path, int]:
        ray = self._ray
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        remote = ray.remote(num_cpus=self._share.threads, num_gpus=self._share.gpus, max_retries=0)(_cell_on_worker)
        paths = {remote.remote(str(path.absolute()), os.getcwd(), self._share): path for path in folders}
        codes, waiting = {}, list(paths)
        try:
            while waiting:
                done, waiting = ray.wait(waiting, timeout=_LOOK_EVERY_S)
                for reference in done:
                    codes[paths[reference]] = self._code(reference)
                on_look()
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
        return codes

    def _code(self, reference: object) -> int:
        try:
            return int(self._ray.get(reference))
        except self._ray.exceptions.RayError:  # the worker died, with its machine or for its memory
            return _FAILED


def start_cell(path: Path, share: Share, *, slot: int = 0) -> subprocess.Popen[bytes]:
    """Start the process of a cell, whose output goes to the end of its log.

    It has a session of its own, so that an interrupt reaches only whoever started it; it ends with its standard input.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": str(share.threads), "PYTHONUNBUFFERED": "1"}
    if share.gpus:
        variables["CUDA_VISIBLE_DEVICES"] = _visible_gpu(slot)
    with CellFolder(path).log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "skipwise.experiments.sweep.worker", str(path), str(share.threads)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
        )


def _visible_gpu(slot: int) -> str:
    """One of the GPUs that this process may use."""
    import torch

    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    allowed = listed.split(",") if listed else [str(index) for index in range(torch.cuda.device_count())]
    return allowed[slot % len(allowed)]


def _cell_on_worker(path: str, folder: str, share: Share) -> int:
    """What a worker of Ray does: a process again, so that a cell's threads and memory are its own."""
    os.chdir(folder)
    with _ended(start_cell(Path(path), Share(threads=share.threads))) as process:  # Ray has set the GPUs
        return process.wait()


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        _end([process])


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs: checkpoints are whole or not there, so it may be ended at any moment."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()  # it ends with its standard input, and takes its own processes along
    deadline = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
