"""A trained model on a test set, dense against pruned: the numbers and figures of results/reference and others.

    python benchmarks/reference.py --data CORPUS [--dense-only MODEL]
    python benchmarks/reference.py --data CORPUS --model MODEL --language it --task asr --longest-s 7 --output FOLDER

Writes summary.json, per_language_task.csv, command.txt, quality.png and gate_map.png.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from skipwise.analysis.figure import save_png
from skipwise.analysis.gate_map import gate_map
from skipwise.analysis.quality import panels_of, quality_bars
from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console, print_evaluation
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.evaluation import Comparison, Evaluation, compare, differences, evaluate
from skipwise.evaluation.compare import Turn
from skipwise.evaluation.rows import has_reference, spread
from skipwise.evaluation.summary import best_at, metrics_of
from skipwise.pipeline import Transcriber

ONE_AT_A_TIME_S = 0.001


def main(  # noqa: PLR0913 one argument is one option
    data: Annotated[str, typer.Option(help="Corpus in Europarl-ST layout, or a manifest.")],
    split: Annotated[str, typer.Option(help="Its split.")] = "test",
    model: Annotated[str | None, typer.Option(help="Model [default: the reference model].")] = None,
    gates: Annotated[str, typer.Option(help="Gates [default: those beside the model].")] = "auto",
    dense_only: Annotated[
        str | None, typer.Option(help="A model trained without gates: dense is the better one.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only these languages.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    longest_s: Annotated[float | None, typer.Option(help="Leave longer utterances out.")] = None,
    limit: Annotated[int | None, typer.Option(help="So many utterances, spread over the split.")] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="Skip this share exactly [default: what the gates decide].")
    ] = None,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio decoded together for the scores.")] = 120.0,
    single: Annotated[int, typer.Option(help="Utterances that are timed one at a time.")] = 100,
    threads: Annotated[int | None, typer.Option(help="Threads of torch.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of batch order and intervals.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/reference"),
) -> None:
    """Evaluate the reference model dense and pruned, and write results and figures."""
    if threads is not None:
        torch.set_num_threads(threads)
    start = time.monotonic()
    found = read_data(data, split, languages=language)
    short = [utterance for utterance in found if longest_s is None or utterance.duration_s <= longest_s]
    utterances = spread(short, limit)
    dense = Transcriber(model, gates="none")
    pruned = Transcriber(dense.model, gates=gates, sparsity=sparsity, exact=sparsity is not None)
    tasks = [one for one in task or dense.tasks if any(has_reference(utterance, one) for utterance in utterances)]
    notes = {"data": data, "split": split, "limit": limit, "longest_s": longest_s, "sparsity": sparsity}

    comparison = compared(dense, pruned, utterances, tasks, batch_s=batch_s, seed=seed, notes=notes)
    one_by_one = compared(
        dense, pruned, spread(utterances, single), tasks, batch_s=ONE_AT_A_TIME_S, seed=seed, notes=notes
    )
    systems = {"dense": comparison.dense, "pruned": comparison.pruned}
    if dense_only is not None:
        transcriber = Transcriber(dense_only, gates="none")
        systems["dense-only"] = evaluate(transcriber, utterances, tasks, batch_s=batch_s, seed=seed, notes=notes)
    records = {name: system.to_dict() for name, system in systems.items()}
    summary = {
        **records,
        "differences": differences(comparison.dense, comparison.pruned),
        "better_dense": better_dense(systems, records),
        "time_ratios": {"batched": comparison.time_ratios(), "single": one_by_one.time_ratios()},
    }
    write_results(output, summary, records, start)
    save_png(quality_bars(panels_of(records), title=f"Dense and pruned, {split} set"), output / "quality.png")
    save_png(gate_map(comparison.pruned.plans()), output / "gate_map.png")
    console = make_console()
    for name, record in records.items():
        console.print(f"\n{name}", style="bold")
        print_evaluation(console, record)
    console.print(f"Written to {output}.")


def compared(
    dense: Transcriber, pruned: Transcriber, utterances: Sequence[Utterance], tasks: Sequence[str], **options: Any
) -> Comparison:
    """Return the comparison, with a progress bar."""
    total = sum(has_reference(utterance, task) for utterance in utterances for task in tasks)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"{total} utterances, dense and pruned", total=total)

        def advance(turn: Turn) -> None:
            progress.advance(bar, len(turn.dense))

        return compare(dense, pruned, utterances, tasks, on_turn=advance, **options)


def better_dense(systems: Mapping[str, Evaluation], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return for each task which dense system is the better one, and how the pruned one differs from it."""
    found = {}
    for task in records["pruned"]["per_task"]:
        metric = metrics_of(task)[0].name
        scores = {name: record["per_task"][task][metric] for name, record in records.items() if name != "pruned"}
        best = best_at(task, scores)
        difference = differences(systems[best], systems["pruned"])["per_task"][task]
        found[task] = {"system": best, "difference": difference}
    return found


def write_results(
    output: Path, summary: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], start: float
) -> None:
    """Write the numbers, and how to get them again."""
    with atomic_write(output / "summary.json") as file:
        json.dump(summary, file, indent=1, ensure_ascii=False)
    rows = [
        {"system": system, "language": language, "task": task, **flat(group)}
        for system, record in records.items()
        for language, tasks in [*record["per_language_task"].items(), ("all", record["per_task"])]
        for task, group in tasks.items()
    ]
    with atomic_write(output / "per_language_task.csv") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    with atomic_write(output / "command.txt") as file:
        file.write(f"{shlex.join(['python', *sys.argv])}\n")
        file.write(f"commit {commit()}, {time.monotonic() - start:.0f} s on {torch.get_num_threads()} threads\n")


def flat(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's numbers in one level: `sparsity.decoder`, `wer_interval.low`."""
    found: dict[str, Any] = {}
    for name, value in group.items():
        if name.endswith("_interval"):
            low, high = value or (None, None)
            found |= {f"{name}.low": low, f"{name}.high": high}
        elif isinstance(value, Mapping):
            found |= {f"{name}.{inner}": number for inner, number in value.items()}
        else:
            found[name] = value
    return found


def commit() -> str:
    """Return the commit of this tree, with a + if it was changed since."""
    folder = Path(__file__).parent
    asked = [["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no"]]
    head, changes = (subprocess.run(q, cwd=folder, capture_output=True, text=True, check=False).stdout for q in asked)
    return f"{head.strip() or 'unknown'}{'+' if changes.strip() else ''}"


if __name__ == "__main__":
    run_script(main)
