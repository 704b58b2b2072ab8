"""Runs the notebooks of the documentation; `python -m tests.docs.notebooks` stores what they print.

They are stored with their outputs, small ones, so that they read well where nothing runs them.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

import skipwise

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
TIMEOUT_S = 120
"""Of a cell: a notebook takes 20 s on one core."""
_NOISE = re.compile(r"TqdmWarning|it/s\]|shard/s\]|[/\\]site-packages[/\\]")


def notebooks() -> list[Path]:
    """Return all of them; none in a source distribution."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    """Return a notebook as it is stored."""
    return nbformat.read(path, as_version=4)


def run(path: Path) -> Any:
    """Return a notebook with what its cells say now, run in an empty folder by a kernel of its own, offline.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    notebook = read(path)
    source = str(Path(skipwise.__file__).parents[1])
    own = {"PYTHONPATH": source, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, own):
        client = NotebookClient(
            notebook, timeout=TIMEOUT_S, coalesce_streams=True, resources={"metadata": {"path": folder}}
        )
        client.execute()
    return notebook


def store(path: Path) -> None:
    """Run a notebook and write its outputs into it, without progress bars and times."""
    notebook = run(path)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            kept = [output for output in cell.outputs if not _NOISE.search(output.get("text", ""))]
            cell.outputs = [output for output in kept if "text/html" not in output.get("data", {})]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for each in notebooks():
        store(each)
