"""Target against achieved sparsity, and quality, of each penalty and each way to train the base: results/penalty/.

    python benchmarks/penalty.py runs/penalty

Reads a sweep of recipes/parliament/sweep_penalty.yaml, finished or not; writes penalty.json, targets.png, quality.png.
Achieved is what the gates do when the model is used: arg-max, a plan an utterance. Quality is that of test, as a
difference from the better dense system: the same weights with everything open, or the run without gates. Intervals are
over speakers and seeds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from skipwise.analysis.figure import save_png
from skipwise.analysis.names import display_name
from skipwise.analysis.panels import Line, Panel, Point, line_panels
from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console
from skipwise.evaluation.resamples import rate
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.groups import Group, contrast
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
    missed = missed_rows(finder)
    with atomic_write(output / "penalty.json") as file:
        json.dump(sweep_record(data, rows) | {"missed": missed}, file, indent=1)
    forms = {name: name for name in FORMS}
    targets = [target_panel(missed, "penalty", forms), target_panel(missed, "base", BASES)]
    title = "By how much arg-max gates miss the target, over both tasks"
    save_png(line_panels(targets, title=title), output / "targets.png")
    panels = [
        quality_panel(rows, task, title, names)
        for title, names in (("penalty", forms), ("base", BASES))
        for task in finder.tasks
    ]
    save_png(line_panels(panels, title="Quality against dense"), output / "quality.png")
    make_console().print(table(rows))


def row_of(finder: Finder, group: Group) -> dict[str, Any]:
    """What one run made of one task."""
    change = finder.change(group, relative=group.task == "asr")
    return {
        "run": run_name(group),
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


def missed_rows(finder: Finder) -> list[dict[str, Any]]:
    """Achieved minus target in points of each run, in the mean over its tasks: what the penalty pulls at.

    `spread` is the standard deviation over its seeds.
    """
    by_run: defaultdict[tuple[str, float], list[Group]] = defaultdict(list)
    for group in finder.groups:
        if group.condition == "pruned":
            by_run[run_name(group), group.label("target")].append(group)
    found = []
    for (run, target), groups in sorted(by_run.items()):

        def mean_missed(*shares: np.ndarray, target: float = target) -> np.ndarray:
            return np.mean(shares, axis=0) - 100 * target

        missed = contrast(groups, finder.skips, mean_missed)
        by_seed = [rate(finder.skips(group).counts.sum(axis=1)) for group in groups]
        spread = float(np.mean(by_seed, axis=0).std(ddof=1)) if len(groups[0].seeds) > 1 else None
        found.append({"run": run, "target": target, "missed": recorded(missed), "spread": spread})
    return found


def run_name(group: Group) -> str:
    return str(group.label("run")).partition("_sparsity")[0]


def target_panel(rows: Sequence[dict[str, Any]], title: str, names: dict[str, str]) -> Panel:
    """Beside one another at each target."""
    lines = []
    for place, (run, name) in enumerate(names.items()):
        shift = 1.4 * (place - (len(names) - 1) / 2)
        points = [
            Point(x=100 * row["target"] + shift, y=row["missed"]["value"], y_interval=pair(row["missed"]))
            for row in rows
            if row["run"] == run and row["missed"] is not None
        ]
        lines.append(Line(name=name, points=points, is_joined=False))
    return Panel(
        title=title,
        x_axis="target, % of the decoder's sites",
        y_axis="achieved minus target, points",
        lines=lines,
        dense=Point(x=0.0, y=0.0),
        dense_name="as asked",
    )


def quality_panel(rows: Sequence[dict[str, Any]], task: str, title: str, names: dict[str, str]) -> Panel:
    def point(row: dict[str, Any]) -> Point:
        return Point(x=row["achieved"]["value"], y=row["change"]["value"], y_interval=pair(row["change"]))

    compared = [row for row in rows if row["change"] is not None]
    metric = metric_of(task)
    lower = metric.name == "wer"
    return Panel(
        title=f"{title}: {display_name(task)}".replace("\n", " "),
        x_axis="achieved sparsity of the decoder, %",
        y_axis=f"{metric.name.upper()}, {'relative %; lower' if lower else 'change; higher'} is better",
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
    run_script(main)
