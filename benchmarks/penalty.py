"""Target against achieved sparsity, and quality, of each penalty and each way to train the base: results/penalty/.

    python benchmarks/penalty.py runs/penalty

Reads a sweep of recipes/parliament/sweep_penalty.yaml, finished or not; writes penalty.json, targets.png, quality.png.
Achieved is what the gates do when the model is used: arg-max, a plan an utterance. Quality is that of test, as a
difference from the better dense system: the same weights with everything open, or the run without gates. Intervals are
over speakers and seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from skipwise.analysis.figure import GREY, save_png
from skipwise.analysis.names import display_name
from skipwise.analysis.panels import Line, Panel, Point, line_panels
from skipwise.atomic import atomic_write
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.groups import Group
from skipwise.experiments.report.load import load_sweep_data
from skipwise.experiments.report.records import recorded, shown, sweep_record
from skipwise.experiments.sweep.results import metric_of

FORMS = ("absolute", "squared", "both", "lagrangian")
BASES = {"both": "full", "lora": "LoRA", "frozen": "frozen"}
"""The runs that train the base in different ways, all with the penalty `both`."""


def main(
    sweep: Annotated[Path, typer.Argument(help="Folder of the sweep.")],
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/penalty"),
) -> None:
    """Write the numbers, and draw them."""
    data = load_sweep_data(sweep)
    finder = Finder(data)
    rows = [row_of(finder, group) for group in finder.groups if group.condition == "pruned"]
    rows.sort(key=lambda row: (row["run"], row["target"], row["task"]))
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / "penalty.json") as file:
        json.dump(sweep_record(data, rows), file, indent=1)
    forms = {name: name for name in FORMS}
    targets = [target_panel(rows, "penalty", forms), target_panel(rows, "base", BASES)]
    save_png(line_panels(targets, title="Target and achieved sparsity of the decoder"), output / "targets.png")
    panels = [
        quality_panel(rows, task, title, names)
        for title, names in (("penalty", forms), ("base", BASES))
        for task in finder.tasks
    ]
    save_png(line_panels(panels, title="Quality against dense"), output / "quality.png")
    Console().print(table(rows))


def row_of(finder: Finder, group: Group) -> dict[str, Any]:
    """What one run made of one task."""
    change = finder.change(group, relative=group.task == "asr")
    return {
        "run": str(group.label("run")).partition("_sparsity")[0],
        "target": group.label("target"),
        "task": group.task,
        "seeds": list(group.seeds),
        "achieved": recorded(finder.skipped(group)),
        "score": recorded(group.estimate(group.quality())),
        "change": recorded(change),
    }


def lines_of(
    rows: Sequence[dict[str, Any]], names: dict[str, str], task: str, point: Callable[[dict[str, Any]], Point]
) -> list[Line]:
    return [
        Line(name=name, points=[point(row) for row in rows if (row["run"], row["task"]) == (run, task)])
        for run, name in names.items()
    ]


def target_panel(rows: Sequence[dict[str, Any]], title: str, names: dict[str, str]) -> Panel:
    """Achieved against target, over both tasks alike: the plans of transcription stand for both."""

    def point(row: dict[str, Any]) -> Point:
        return Point(x=100 * row["target"], y=row["achieved"]["value"], y_interval=pair(row["achieved"]))

    met = sorted({100 * row["target"] for row in rows})
    ideal = Line(name="as asked", points=[Point(x=target, y=target) for target in met], colour=GREY)
    return Panel(
        title=title,
        x_axis="target, % of the sites",
        y_axis="achieved by arg-max, %",
        lines=[*lines_of(rows, names, "asr", point), ideal],
        is_percent=True,
    )


def quality_panel(rows: Sequence[dict[str, Any]], task: str, title: str, names: dict[str, str]) -> Panel:
    def point(row: dict[str, Any]) -> Point:
        return Point(x=row["achieved"]["value"], y=row["change"]["value"], y_interval=pair(row["change"]))

    compared = [row for row in rows if row["change"] is not None]
    metric = metric_of(task)
    lower = metric.name == "wer"
    return Panel(
        title=f"{title}: {display_name(task)}",
        x_axis="achieved sparsity of the decoder, %",
        y_axis=f"{metric.name.upper()}, {'relative change in %; lower' if lower else 'change; higher'} is better",
        lines=lines_of(compared, names, task, point),
        dense=Point(x=0.0, y=0.0),
    )


def pair(record: dict[str, Any]) -> tuple[float, float] | None:
    interval = record["interval"]
    return None if interval is None else (interval[0], interval[1])


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line a run, target and task."""
    drawn = Table(title="penalty")
    for name in ("run", "target", "task", "seeds", "achieved", "score", "change"):
        drawn.add_column(name, justify="left" if name in ("run", "task") else "right")
    for row in rows:
        numbers = [shown(row[name]) for name in ("achieved", "score", "change")]
        drawn.add_row(row["run"], f"{row['target']:g}", row["task"], str(len(row["seeds"])), *numbers)
    return drawn


if __name__ == "__main__":
    typer.run(main)
