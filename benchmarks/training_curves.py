"""The training runs behind the reference model: results/reference/training_NAME.{json,png}.

python benchmarks/training_curves.py base=runs/base gated=runs/gated dense=runs/dense
"""

import json
import sys
from pathlib import Path

from skipwise.analysis.figure import save_png
from skipwise.analysis.training_curves import training_curves
from skipwise.atomic import atomic_write

OUTPUT = Path("results/reference")


def main(named_runs: list[str]) -> None:
    """Keep each run's summary, and draw it."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for named in named_runs:
        name, _, folder = named.partition("=")
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
        with atomic_write(OUTPUT / f"training_{name}.json") as file:
            json.dump(summary, file)
        title = f"{name}: {summary['config']['optimisation']['max_steps']} steps"
        if summary["seconds"] >= 60:  # of the last session: less where a finished run was called again
            title += f", last session {summary['seconds'] / 60:.0f} min"
        save_png(training_curves(summary["history"], title=title), OUTPUT / f"training_{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
