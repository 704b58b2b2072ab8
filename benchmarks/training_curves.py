"""The training runs behind the reference model: results/reference/training_NAME.{json,png}.

python benchmarks/training_curves.py base=runs/base gated=runs/gated dense=runs/dense
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from skipwise.analysis.figure import save_png
from skipwise.analysis.training_curves import training_curves
from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script


def main(
    runs: Annotated[list[str], typer.Argument(help="Each as NAME=FOLDER.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/reference"),
) -> None:
    """Keep each run's summary, and draw it."""
    output.mkdir(parents=True, exist_ok=True)
    for named in runs:
        name, _, folder = named.partition("=")
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
        with atomic_write(output / f"training_{name}.json") as file:
            json.dump(summary, file)
        title = f"{name}: {summary['config']['optimisation']['max_steps']} steps"
        if summary["seconds"] >= 60:  # of the last session: less where a finished run was called again
            title += f", last session {summary['seconds'] / 60:.0f} min"
        save_png(training_curves(summary["history"], title=title), output / f"training_{name}.png")


if __name__ == "__main__":
    run_script(main)
