"""What it costs when gates see another utterance's speech, language or task: results/reference/shuffles.*

    python benchmarks/shuffles.py --data runs/study --limit 200

Only what the predictor sees is another's; speech and prompt stay. A gated model for which nothing here costs anything
could have done with one mask. Intervals are a paired bootstrap over speakers. Writes shuffles.json and shuffles.png.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure
from rich.progress import track
from rich.table import Table

from skipwise.analysis.figure import save_png
from skipwise.analysis.names import display_name
from skipwise.analysis.panels import Line, Panel, Point, line_panels
from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console
from skipwise.data.layouts import read_data
from skipwise.evaluation.rows import decode_rows, has_reference, make_batches, spread
from skipwise.evaluation.run import Evaluation
from skipwise.evaluation.shuffle import ShuffleTest, recorded, shuffled
from skipwise.evaluation.summary import metrics_of
from skipwise.gating import Budget, ShuffleLevel
from skipwise.pipeline import Transcriber

LEVELS: tuple[ShuffleLevel, ...] = ("speech", "language", "task")
TASKS = ("asr", "st_eng")
AXES = {"asr": "WER lost, points", "st_eng": "BLEU lost"}


def main(
    data: Annotated[str, typer.Option(help="Corpus or manifest.")],
    model: Annotated[str | None, typer.Option(help="Model with gates [default: the reference model].")] = None,
    split: Annotated[str, typer.Option(help="Its split.")] = "test",
    limit: Annotated[int | None, typer.Option(help="So many utterances, spread over the split.")] = None,
    sparsity: Annotated[list[float] | None, typer.Option(help="Budgets [default: 0.3, 0.5, 0.7].")] = None,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio decoded together.")] = 120.0,
    seed: Annotated[int, typer.Option(help="Seed of batch order, of who is whose other, and of intervals.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/reference"),
) -> None:
    """Decode greedily with the gates' own input and with others', and write what changes."""
    utterances = spread(read_data(data, split), limit)
    plain = Transcriber(model, gates="none")
    tasks = [task for task in TASKS if any(has_reference(utterance, task) for utterance in utterances)]
    rows = []
    for share in track(sparsity or (0.3, 0.5, 0.7), "shuffling"):
        gated = Transcriber(plain.model, gates="auto", sparsity=Budget(sparsity=share, exact=True))
        batches = make_batches(gated, utterances, tasks, batch_s=batch_s, seed=seed)
        recording, planner = recorded(gated)
        own = Evaluation.of(decode_rows(recording, batches), gated, seed=seed)
        for level in LEVELS:
            other = shuffled(gated, planner.donors, level, seed=seed)
            found = ShuffleTest(
                own=own, shuffled=Evaluation.of(decode_rows(other, batches), other, seed=seed)
            ).to_dict()
            rows += [row_of(found, share, level, task) for task in tasks]
    output.mkdir(parents=True, exist_ok=True)
    settings = {"data": data, "model": model, "split": split, "limit": limit, "batch_s": batch_s, "seed": seed}
    with atomic_write(output / "shuffles.json") as file:
        json.dump({"command": shlex.join(["python", *sys.argv]), "settings": settings, "rows": rows}, file, indent=1)
    save_png(figure_of(rows, tasks), output / "shuffles.png")
    make_console().print(table(rows))


def row_of(found: dict[str, Any], share: float, level: str, task: str) -> dict[str, Any]:
    """What shuffling changes in one task: above 0 it costs quality."""
    metric, sign = metrics_of(task)[0].name, 1 if task == "asr" else -1
    change = found["differences"]["per_task"][task][metric]
    lost = [sign * bound + 0.0 for bound in change["absolute_interval"]]
    return {
        "sparsity": share,
        "shuffled": level,
        "task": task,
        "own": found["own"]["per_task"][task][metric],
        "lost": sign * change["absolute"] + 0.0,  # no minus zero
        "lost_interval": sorted(lost),
    }


def figure_of(rows: list[dict[str, Any]], tasks: list[str]) -> Figure:
    """A panel a task, a line a part of the context."""
    panels = []
    for task in tasks:
        lines = []
        for place, level in enumerate(LEVELS):
            own = [row for row in rows if row["task"] == task and row["shuffled"] == level]
            points = [
                Point(
                    x=100 * row["sparsity"] + 0.6 * (place - 1), y=row["lost"], y_interval=tuple(row["lost_interval"])
                )
                for row in own
            ]
            lines.append(Line(name=f"another's {level}", points=points))
        level_zero = Point(x=0, y=0.0)
        axis = "sparsity of the gated stacks, %"
        panels.append(
            Panel(
                title=display_name(task).replace("\n", " "),
                x_axis=axis,
                y_axis=AXES[task],
                lines=lines,
                dense=level_zero,
                dense_name="own input",
            )
        )
    return line_panels(panels, title="What gates lose when they see another utterance's input")


def table(rows: list[dict[str, Any]]) -> Table:
    """A line a budget, part and task."""
    drawn = Table(title="shuffled minus own input")
    for name in ("sparsity", "shuffled", "task", "own score", "lost"):
        drawn.add_column(name)
    for row in rows:
        low, high = row["lost_interval"]
        told = f"{row['lost']:+.2f} [{low:+.2f}, {high:+.2f}]"
        drawn.add_row(f"{row['sparsity']:g}", row["shuffled"], row["task"], f"{row['own']:.1f}", told)
    return drawn


if __name__ == "__main__":
    run_script(main)
