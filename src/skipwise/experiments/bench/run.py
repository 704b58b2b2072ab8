"""Runs benchmarks one after the other and keeps each as soon as it is there, so that a stopped run goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import torch

import skipwise
from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.cells import CELLS
from skipwise.experiments.bench.cost import measure_costs
from skipwise.experiments.bench.generate import measure_generate
from skipwise.experiments.bench.memory import measure_memory
from skipwise.experiments.bench.settings import BenchSettings, describe_machine
from skipwise.experiments.bench.subject import Subject
from skipwise.experiments.bench.whisper import measure_whisper
from skipwise.models.owsm.loading import save_owsm

ABOUT: Mapping[str, str] = {
    **{name: cell.about for name, cell in CELLS.items()},
    "generate": "our search beside transformers' generate(), and dense beside pruned",
    "espnet": "dense ESPnet, as it is and with keys and values of source attention projected once, on the same weights",
    "whisper": "transformers' Whisper and CTranslate2's of like size",
    "memory": "loading, packing, first token, peak memory, cold start",
    "cost": "the cost table: MACs, bytes and milliseconds of every site",
}
"""Every benchmark in a line."""

QUICK = ("dtypes", "sparsity", "planner")
COST_FILE = "cost_table.json"

Report = Callable[[str, float], None]
"""(name, share that is done)"""


@final
class BenchRun:
    """A folder of records: one JSON file a benchmark."""

    def __init__(self, settings: BenchSettings, output: Path, *, resume: bool, command: str) -> None:
        """Use a folder; what it holds is taken for done with `resume`, and refused without.

        Raises:
            SkipwiseError: if it holds records and `resume` is not set, or records of other settings.
        """
        self.settings, self.output, self._command = settings, output, command
        self._subject: Subject | None = None
        for name in ABOUT:
            record = self.record(name)
            if record is None:
                continue
            if not resume:
                raise SkipwiseError(
                    f"{output} holds {name} already. Add --resume to keep what is done, or name another --output."
                )
            if record["settings"] != json.loads(json.dumps(settings.to_dict())):
                raise SkipwiseError(
                    f"{self.place(name)} was measured with other settings. Name another --output, or remove it."
                )

    def place(self, name: str) -> Path:
        """Return the file of a benchmark."""
        return self.output / f"{name}.json"

    def record(self, name: str) -> dict[str, Any] | None:
        """Return what was measured; None if it was not yet."""
        try:
            return dict(json.loads(self.place(name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def run(self, names: Sequence[str], report: Report) -> dict[str, dict[str, Any]]:
        """Measure what is not done yet, and return the records of all names.

        Raises:
            SkipwiseError: for an unknown name, or a peer that is needed and not there.
        """
        unknown = [name for name in names if name not in ABOUT]
        if unknown:
            raise SkipwiseError(f"there is no benchmark {unknown[0]!r}; known are {', '.join(ABOUT)}.")
        torch.set_num_threads(self.settings.threads)
        records = {}
        for name in names:
            record = self.record(name)
            if record is None:
                record = {
                    "benchmark": name,
                    "command": self._command,
                    "settings": self.settings.to_dict(),
                    "machine": describe_machine(),
                    **self._measure(name, report),
                }
                with atomic_write(self.place(name)) as file:
                    json.dump(record, file, indent=1, ensure_ascii=False)
            report(name, 1.0)
            records[name] = record
        return records

    def _measure(self, name: str, report: Report) -> Mapping[str, Any]:
        if name == "espnet":
            return run_espnet(self.settings)
        if self._subject is None:
            self._subject = Subject.of(self.settings)
        subject, settings = self._subject, self.settings
        if name == "memory":
            with tempfile.TemporaryDirectory() as folder:
                save_owsm(Path(folder) / "model", subject.network, subject.model.vocabulary)
                return measure_memory(
                    Path(folder) / "model", settings, _counter(name, report, len(settings.dtypes) + 1)
                )
        if name == "whisper":
            return measure_whisper(subject, settings, _counter(name, report, settings.rounds + 1))
        if name == "generate":
            return measure_generate(subject, settings, _counter(name, report, settings.rounds + 1))
        if name == "cost":
            table = measure_costs(subject, settings)
            table.save(self.output / COST_FILE)
            return {"table": COST_FILE, "rest_ms": dict(table.rest_ms)}
        cell = CELLS[name]
        return cell.measure(subject, settings, _counter(name, report, cell.num_rounds(settings)))


def run_espnet(settings: BenchSettings) -> Mapping[str, Any]:
    """Return what the Python of ESPnet's environment measured.

    Raises:
        SkipwiseError: if there is no such environment, or it failed.
    """
    python = None if settings.espnet is None else Path(settings.espnet) / "bin" / "python"
    if python is None or not python.exists():
        raise SkipwiseError(
            f"espnet needs an environment with ESPnet, got {settings.espnet}. `make oracle` in a checkout of skipwise "
            "makes .venv-espnet; then name it: --espnet .venv-espnet."
        )
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder) / "settings.json", Path(folder) / "record.json"
        asked.write_text(json.dumps(asdict(settings)), encoding="utf-8")
        done = subprocess.run(
            [python, "-m", "skipwise.experiments.bench.espnet", asked, found],
            env={"PYTHONPATH": str(Path(skipwise.__file__).parents[1]), "OMP_NUM_THREADS": str(settings.threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not found.exists():
            raise SkipwiseError(
                f"ESPnet's side failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}. Try "
                f"{python} -c 'import espnet2'."
            )
        return dict(json.loads(found.read_text(encoding="utf-8")))


def _counter(name: str, report: Report, total: int) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(name, min(0.99, done / max(1, total)))

    return count


def command_line() -> str:
    """Return how this was called, without where it is installed."""
    import shlex

    return shlex.join(["skipwise", *sys.argv[1:]])
