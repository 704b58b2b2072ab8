"""`skipwise sweep`: many trainings and their evaluations from one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from skipwise.experiments.sweep.cells import Cell
    from skipwise.experiments.sweep.executors import Executor
    from skipwise.experiments.sweep.run import Outcome


def sweep(
    config: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="What to run, as in docs/sweeps.md.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and leave.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Runs at once [default: one a GPU, or one a core].")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run on Ray's cluster (RAY_ADDRESS) instead of here.")] = False,
    redo_changed: Annotated[
        bool, typer.Option("--redo-changed", help="Do runs again whose config has changed, instead of refusing.")
    ] = False,
) -> None:
    """Train and evaluate every run of a sweep; called again, it goes on where it was stopped."""
    from rich.console import Console
    from rich.progress import Progress

    from skipwise.cli.tables import make_console
    from skipwise.experiments.sweep.cells import plan_cells
    from skipwise.experiments.sweep.config import load_sweep
    from skipwise.experiments.sweep.run import run_sweep
    from skipwise.experiments.sweep.search import plan_candidates

    asked = load_sweep(config)
    cells = plan_cells(asked)
    tried = [candidate.cell for candidate in plan_candidates(cells, asked.search)]
    console = make_console()
    _print_plan(console, cells, tried)
    if dry_run:
        return
    executor = _executor(jobs, ray=ray)
    num_steps = sum(cell.training.optimisation.max_steps for cell in (*tried, *cells))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Sweep", total=num_steps)

        def show(steps: float, what: str) -> None:
            progress.update(bar, completed=steps, description=what)

        outcome = run_sweep(cells, executor, search=asked.search, redo_changed=redo_changed, on_progress=show)
    _print_outcome(console, outcome, len(cells))
    if outcome.failed:
        raise typer.Exit(1)


def _executor(jobs: int | None, *, ray: bool) -> Executor:
    """Processes of one core or one GPU each, or Ray's workers."""
    import torch

    from skipwise.experiments.sweep.executors import ProcessExecutor, RayExecutor, Share

    num_gpus = torch.cuda.device_count()
    if ray:
        return RayExecutor(Share(threads=1, gpus=min(1, num_gpus)))
    num_cores = torch.get_num_threads()
    chosen = jobs or num_gpus or num_cores
    return ProcessExecutor(chosen, Share(threads=max(1, num_cores // chosen), gpus=min(1, num_gpus)))


def _print_plan(console: Console, cells: Sequence[Cell], tried: Sequence[Cell]) -> None:
    from skipwise.cli.tables import DASH, table_of
    from skipwise.experiments.sweep.folder import CellFolder

    by_run: dict[str, list[Cell]] = {}
    for cell in cells:
        by_run.setdefault(cell.run, []).append(cell)
    columns = ["run", "predictor", "scope", "tasks", "seeds", "target", "steps", "done"]
    table = table_of("Runs", columns, num_left=5)
    for run, group in by_run.items():
        labels = group[0].labels()
        states = [CellFolder(cell.folder).state() for cell in group]
        table.add_row(
            run,
            labels["predictor"],
            labels["scope"],
            labels["trained_tasks"],
            ", ".join(str(cell.training.seed) for cell in group),
            DASH if labels["target"] is None else f"{labels['target']:g}",
            str(group[0].training.optimisation.max_steps),
            f"{states.count('done')} of {len(group)}",
        )
    console.print(table)
    num_steps = sum(cell.training.optimisation.max_steps for cell in cells)
    console.print(f"{len(cells)} trainings of {len(by_run)} runs, {num_steps} steps, in {cells[0].folder.parent}.")
    if tried:
        num_searched = len({cell.run for cell in tried})
        num_steps = sum(cell.training.optimisation.max_steps for cell in tried)
        console.print(
            f"Before them a search on dev: {len(tried)} trainings of {num_searched} runs, {num_steps} steps; the "
            f"{num_searched} chosen ones are not trained again."
        )


def _print_outcome(console: Console, outcome: Outcome, num_cells: int) -> None:
    for failure in outcome.failed:
        console.print(f"\n{failure.cell} failed; the end of {failure.log}:", style="bold")
        console.print(failure.tail)
    for candidate in outcome.chosen:
        told = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in candidate.choice.items()
        )
        console.print(f"Chosen on dev for {candidate.run}: {told}.")
    if outcome.results:
        console.print(f"Written: {', '.join(map(str, outcome.results))}.")
    told = f", {len(outcome.failed)} failed" if outcome.failed else ""
    console.print(f"{len(outcome.done)} of {num_cells} trainings are done{told}.")
