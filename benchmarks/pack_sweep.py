"""What a sweep found, small enough to be kept: every cell's config, systems and rows, without the texts.

    python benchmarks/pack_sweep.py runs/sweep results/parliament/cells.tar.xz
    mkdir -p runs/sweep && tar xf results/parliament/cells.tar.xz -C runs/sweep

The second line brings it back: `skipwise sweep` then goes on with the cells that are missing, and `skipwise report`
reports what is there. Timings are kept to the microsecond.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Annotated

import typer

from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.errors import SkipwiseError
from skipwise.experiments.sweep.cells import RUNS_FOLDER
from skipwise.experiments.sweep.folder import CELL_FILE, ROWS_FILE, SWEEP_FILE, SYSTEMS_FILE
from skipwise.experiments.sweep.rows import TidyRow, read_rows
from skipwise.training.run import SUMMARY_FILE

TEXTS = ("reference", "hypothesis")
DIGITS = 6


def main(
    sweep: Annotated[Path, typer.Argument(help="Folder of the sweep.")],
    archive: Annotated[Path, typer.Argument(help="File to write.")],
) -> None:
    """Write the cells that are done."""
    if not (sweep / SWEEP_FILE).is_file():
        raise SkipwiseError(f"{sweep} is no folder of a sweep: it has no {SWEEP_FILE}. Give the `output` of its YAML.")
    cells = sorted(rows.parent for rows in (sweep / RUNS_FOLDER).glob(f"*/{ROWS_FILE}"))
    with atomic_write(archive, "wb") as file, tarfile.open(fileobj=file, mode="w:xz", preset=9) as packed:
        add(packed, SWEEP_FILE, (sweep / SWEEP_FILE).read_bytes())
        for cell in cells:
            for name in (CELL_FILE, SYSTEMS_FILE, SUMMARY_FILE):
                add(packed, f"{RUNS_FOLDER}/{cell.name}/{name}", (cell / name).read_bytes())
            lines = [json.dumps(small(row)) + "\n" for row in read_rows(cell / ROWS_FILE)]
            add(packed, f"{RUNS_FOLDER}/{cell.name}/{ROWS_FILE}", "".join(lines).encode())
    typer.echo(f"{len(cells)} cells, {archive.stat().st_size / 1e6:.1f} MB in {archive}.")


def small(row: TidyRow) -> TidyRow:
    """A row without its texts, which only its scores are made of."""
    kept = {name: "" if name in TEXTS else value for name, value in row.items()}
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in kept.items()}


def add(packed: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file that depends on nothing but its content."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    packed.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    run_script(main)
