"""`skipwise report`: what a sweep says, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep, finished or not.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder [default: DIR/report].")] = None,
) -> None:
    """Write the figures of a sweep, and its verdict on each claim of the paper, as one page of HTML."""
    from skipwise.cli.tables import make_console, table_of
    from skipwise.experiments.report.run import write_report

    page, claims = write_report(folder, output)
    table = table_of("Claims", ["claim", "", "verdict"], num_left=3)
    for claim in claims:
        table.add_row(claim.number, claim.text, claim.verdict)
    console = make_console()
    console.print(table)
    console.print(f"Written to {page}, with its figures beside it.")
