"""Runs the comparison with ESPnet in the Python of an environment that has it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import skipwise
from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.cell import OnRound, Workbench
from skipwise.experiments.bench.settings import BenchSettings

NAME = "espnet"

_LOOK_S = 0.5


def run_espnet(bench: Workbench, on_round: OnRound) -> Mapping[str, Any]:
    """Return what the Python of ESPnet's environment measured.

    It notes every round beside the record's place: a run that was killed goes on with the next one.

    Raises:
        SkipwiseError: if there is no such environment, or it failed.
    """
    python = _python(bench.settings)
    notes = bench.part_file(NAME)
    with tempfile.TemporaryDirectory() as folder:
        asked, found, said = (Path(folder) / name for name in ("settings.json", "record.json", "stderr"))
        asked.write_text(json.dumps(asdict(bench.settings)), encoding="utf-8")
        with said.open("w", encoding="utf-8") as stderr:
            process = subprocess.Popen(
                [python, "-m", "skipwise.experiments.bench.espnet", asked, notes.resolve(), found],
                env={
                    "PYTHONPATH": str(Path(skipwise.__file__).parents[1]),
                    "OMP_NUM_THREADS": str(bench.settings.threads),
                },
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            _wait(process, notes, on_round)
        if process.returncode or not found.exists():
            lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise SkipwiseError(
                f"ESPnet's side failed: {(lines or ['no message'])[-1]} Try {python} -c 'import espnet2'."
            )
        return dict(json.loads(found.read_text(encoding="utf-8")))


def _python(settings: BenchSettings) -> Path:
    python = None if settings.espnet is None else Path(settings.espnet) / "bin" / "python"
    if python is None or not python.exists():
        raise SkipwiseError(
            f"espnet needs an environment with ESPnet, got {settings.espnet}. `make oracle` in a checkout of skipwise "
            "makes .venv-espnet; then name it: --espnet .venv-espnet."
        )
    return python


def _wait(process: subprocess.Popen[bytes], notes: Path, on_round: OnRound) -> None:
    """Wait for the process and tell of what it notes; if this one is stopped, so is that one."""
    told = 0
    try:
        while process.poll() is None:
            time.sleep(_LOOK_S)
            done = notes.read_bytes().count(b"\n") if notes.exists() else 0
            for _ in range(told, done):
                on_round()
            told = done
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
