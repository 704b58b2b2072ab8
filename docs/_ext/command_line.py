"""Writes `reference/command_line.md` from the commands themselves before a build reads it: help is written once."""

from pathlib import Path

import typer
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

from skipwise.cli.main import app as commands

_PAGE = "reference/command_line.md"


def command_reference() -> str:
    """All commands with their arguments and options, as Markdown."""
    command = typer.main.get_command(commands)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="skipwise", title="The command line")
    return text.replace("```console", "```")  # a line of usage has no output


def _write(app: Sphinx) -> None:
    page, text = Path(app.srcdir) / _PAGE, command_reference()
    if not page.is_file() or page.read_text(encoding="utf-8") != text:  # an unchanged page need not be read again
        page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
