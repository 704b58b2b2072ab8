"""`--oracle tiny` or `--oracle full` asks ESPnet; without it only its golden files are looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.interop.agreement import Tally

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-espnet" / "bin" / "python"
RESULTS = ROOT / "results" / "oracle"
MATRICES = {"none": (), "tiny": ("tiny",), "full": ("full", "random", "base", "reference")}
_LINES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--oracle", choices=list(MATRICES), default="none", help="how much to ask ESPnet")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_LINES]:
        terminalreporter.write_line(line)


@dataclass(frozen=True)
class Answer:
    """What one run of ESPnet wrote."""

    folder: Path
    record: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Oracle:
    """ESPnet in a process of its own; each matrix is asked once."""

    folder: Path
    asked: tuple[str, ...]
    lines: list[str]
    _known: dict[str, Answer] = field(default_factory=dict)

    def answer(self, name: str) -> Answer:
        """Return what ESPnet says to a matrix; skip the test if it is not to be asked."""
        self.require(name)
        if name not in self._known:
            start = time.perf_counter()
            self.run("tests.interop.espnet_side", str(self.folder), name)
            seconds = round(time.perf_counter() - start, 1)
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            self._known[name] = Answer(self.folder, record, seconds)
        return self._known[name]

    def require(self, name: str) -> None:
        """Skip the test if the matrix is not to be asked."""
        if name not in self.asked:
            pytest.skip(f"needs ESPnet: `make oracle` asks the matrix {name}")

    def run(self, module: str, *arguments: str) -> None:
        """Run one of our modules in ESPnet's environment."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [str(PYTHON), "-m", module, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def report(self, name: str, tally: Tally, versions: dict[str, str], **more: Any) -> None:
        """Put the counts into pytest's summary, and those of the full run into results/oracle."""
        record = tally.summary() | more
        self.lines.append(f"oracle {name}: {', '.join(f'{key} {value}' for key, value in record.items())}")
        if self.asked == MATRICES["full"]:
            command = " ".join(["pytest", *(argument.removeprefix(f"{ROOT}/") for argument in sys.argv[1:])])
            RESULTS.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"command": command, "versions": versions, **record}, indent=2)
            (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Oracle:
    asked = MATRICES[pytestconfig.getoption("--oracle")]
    return Oracle(tmp_path_factory.mktemp("oracle"), asked, pytestconfig.stash[_LINES])
