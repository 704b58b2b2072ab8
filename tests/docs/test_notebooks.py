"""The notebooks of the documentation run from a fresh kernel, without a network, and are stored with small outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.docs.notebooks import FOLDER, notebooks, read, run

LARGEST = 100_000
"""Bytes of a stored notebook, figures included."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="a source distribution has no docs")


def _texts(notebook: Any) -> list[str]:
    """What each cell of code printed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout") for cell in code
    ]


def test_all_of_them_are_there() -> None:
    assert [path.stem for path in notebooks()] == ["prune_owsm", "prune_whisper", "quick_start", "read_a_gate_map"]


@pytest.mark.slow
@pytest.mark.enable_socket  # a kernel is spoken to on this machine's own ports; it is told to stay offline
@pytest.mark.filterwarnings("default")  # of Jupyter's own libraries
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_it_runs_and_speaks_where_the_stored_one_does(path: Path) -> None:
    found, stored = _texts(run(path)), _texts(read(path))
    for now, then in zip(found, stored, strict=True):
        assert bool(now.strip()) == bool(then.strip())
    assert any(found)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_what_is_stored_is_whole_small_and_of_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # top to bottom
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert path.stat().st_size < LARGEST
    assert not any(place in text for place in ("/home/", "/Users/", "/root/", tempfile.gettempdir(), "site-packages"))
