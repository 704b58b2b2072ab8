"""What it is worth to tell a model the text before a window: results/reference/previous_text.json

    python benchmarks/long_windows.py runs/study test runs/recordings.jsonl --longest-s 600 --longest-pause-s 600
    python benchmarks/previous_text.py --data runs/recordings.jsonl --limit 60

Recordings longer than a window, cut at quiet points, with and without `condition_on_previous`. Intervals are a paired
bootstrap over speakers.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console
from skipwise.data.layouts import read_data
from skipwise.decoding import DecodeOptions
from skipwise.evaluation import differences, evaluate
from skipwise.evaluation.rows import spread
from skipwise.evaluation.summary import metrics_of
from skipwise.pipeline import Transcriber

TASKS = ("asr", "st_eng")


def main(
    data: Annotated[str, typer.Option(help="Manifest of long recordings.")],
    model: Annotated[str | None, typer.Option(help="Model [default: the reference model].")] = None,
    split: Annotated[str, typer.Option(help="Its split.")] = "test",
    limit: Annotated[int | None, typer.Option(help="So many recordings, spread over the split.")] = None,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio decoded together.")] = 120.0,
    seed: Annotated[int, typer.Option(help="Seed of batch order and intervals.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/reference"),
) -> None:
    """Transcribe and translate recordings with beam 5, and write what telling the text before a window changes."""
    recordings = spread(read_data(data, split), limit)
    found = {}
    for task in TASKS:
        metric = metrics_of(task)[0].name
        # the CTC head would count the text before as its output
        options = DecodeOptions(beam_size=5, ctc_weight=0.3 if task == "asr" else 0.0, ctc_skips_prompt=True)
        untold = Transcriber(model, gates="none", options=options)
        told = Transcriber(untold.model, gates="none", options=replace(options, condition_on_previous=True))
        without, given = (evaluate(each, recordings, [task], batch_s=batch_s, seed=seed) for each in (untold, told))
        found[task] = {
            "metric": metric,
            "without": without.to_dict()["all"][metric],
            "given": given.to_dict()["all"][metric],
            **differences(without, given)["all"][metric],
        }
    settings = {"data": data, "model": model, "split": split, "recordings": len(recordings), "seed": seed}
    with atomic_write(output / "previous_text.json") as file:
        json.dump({"command": shlex.join(["python", *sys.argv]), "settings": settings, "tasks": found}, file, indent=1)
    table = Table(title="told the text before each window, minus not")
    for name in ("task", "not told", "told", "change"):
        table.add_column(name)
    for task, row in found.items():
        low, high = row["absolute_interval"]
        change = f"{row['absolute']:+.2f} [{low:+.2f}, {high:+.2f}]"
        table.add_row(f"{task}, {row['metric']}", f"{row['without']:.1f}", f"{row['given']:.1f}", change)
    make_console().print(table)


if __name__ == "__main__":
    run_script(main)
