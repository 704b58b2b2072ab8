"""What each run of a sweep changes beside one of them, at equal steps, data and budget: results/beyond.

    python benchmarks/variants.py runs/beyond

Reads a sweep such as recipes/parliament/sweep_beyond.yaml, finished or not; writes variants.json and variants.png.
Quality is that of the evaluation's split: its change from the better dense system (the same weights with everything
open, or the run without gates), and from the run `--against`. Intervals are a paired bootstrap over speakers and seeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from skipwise.analysis.figure import BLUE, GREY, INK, PALE, new_figure, save_png
from skipwise.analysis.names import display_name
from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console
from skipwise.errors import SkipwiseError
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.groups import Group
from skipwise.experiments.report.load import load_sweep_data
from skipwise.experiments.report.records import recorded, shown, sweep_record

CHANGES = {"dense": "change from dense", "against": "change from {against}"}


def main(
    sweep: Annotated[Path, typer.Argument(help="Folder of the sweep.")],
    against: Annotated[str, typer.Option(help="The run that the others are set beside.")] = "plain",
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/beyond"),
) -> None:
    """Write the numbers, and draw them."""
    data = load_sweep_data(sweep)
    finder = Finder(data)
    pruned = [group for group in finder.groups if group.condition == "pruned"]
    base = {group.task: group for group in pruned if group.label("run") == against}
    if not base:
        runs = ", ".join(sorted({group.label("run") for group in pruned})) or "none yet"
        raise SkipwiseError(f"no run {against!r} is done in {sweep}. Set --against to one of: {runs}.")
    rows = [row_of(finder, group, base[group.task]) for group in pruned if group.task in base]
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / "variants.json") as file:
        json.dump({"against": against} | sweep_record(data, rows), file, indent=1)
    save_png(figure_of(rows, finder.tasks, against), output / "variants.png")
    make_console().print(table(rows, against))


def row_of(finder: Finder, group: Group, base: Group) -> dict[str, Any]:
    """What one run made of one task."""
    asr = group.task == "asr"
    beside = None if group is base else finder.change_from(base, group, relative=asr)
    changes = {"dense": finder.change(group, relative=asr), "against": beside}
    return {
        "run": group.label("run"),
        "scope": group.label("scope"),
        "target": group.label("target"),
        "task": group.task,
        "seeds": list(group.seeds),
        "achieved": recorded(finder.skipped(group)),
        "macs": recorded(group.estimate(group.macs())),
        "time": recorded(group.estimate(group.time())),
        "score": recorded(group.estimate(group.quality())),
        "change": {name: recorded(change) for name, change in changes.items()},
    }


def figure_of(rows: Sequence[dict[str, Any]], tasks: Sequence[str], against: str) -> Figure:
    """A panel a task and comparison, a line a run: the change and its interval, and zero as a rule."""
    runs = list(dict.fromkeys(row["run"] for row in rows))
    figure = new_figure(3.6 * len(CHANGES) * len(tasks), 1.3 + 0.26 * len(runs))
    axes = figure.subplots(1, len(CHANGES) * len(tasks), sharey=True, squeeze=False)[0]
    panels = [(task, change) for task in tasks for change in CHANGES]
    for own, (task, change) in zip(axes, panels, strict=True):
        lower = task == "asr"
        draw(own, [row for row in rows if row["task"] == task], runs, change)
        told = CHANGES[change].format(against=spoken(against))
        own.set_title(f"{display_name(task)}\n{told}".replace("\ninto", " into"), loc="left", fontsize=9, color=INK)
        own.set_xlabel("WER, relative %; lower is better" if lower else "BLEU; higher is better", fontsize=8, color=INK)
    axes[0].set_yticks(range(len(runs)), [spoken(run) for run in runs], fontsize=8, color=INK)
    axes[0].invert_yaxis()
    return figure


def spoken(run: str) -> str:
    """A run's name as one reads it: `static_learning_rate-0.2` is a value of a key."""
    return re.sub(r"-(?=[\d.])", " ", run.replace("_", " "))


def draw(axes: Axes, rows: Sequence[dict[str, Any]], runs: Sequence[str], change: str) -> None:
    axes.axvline(0.0, color=GREY, linewidth=1)
    for row in rows:
        found = row["change"][change]
        if found is None:
            continue
        low, high = found["interval"] or (found["value"],) * 2
        spread = [[found["value"] - low], [high - found["value"]]]
        axes.errorbar(
            found["value"], runs.index(row["run"]), xerr=spread, fmt="o", color=BLUE, capsize=2.5, markersize=4
        )
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)


def table(rows: Sequence[dict[str, Any]], against: str) -> Table:
    """A line a run and task."""
    drawn = Table(title="variants")
    for name in ("run", "scope", "target", "task", "seeds"):
        drawn.add_column(name)
    for name in ("skipped %", "MACs %", "time %", "score", "change from dense", f"from {against}"):
        drawn.add_column(name, justify="right")
    for row in rows:
        numbers = [row[name] for name in ("achieved", "macs", "time", "score")] + list(row["change"].values())
        told = (row["run"], row["scope"], f"{row['target']:g}", row["task"], str(len(row["seeds"])))
        drawn.add_row(*told, *map(shown, numbers))
    return drawn


if __name__ == "__main__":
    run_script(main)
