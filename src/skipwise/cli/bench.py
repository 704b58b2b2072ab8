"""`skipwise bench`: how fast, against what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipwise.cli import options

if TYPE_CHECKING:
    from rich.console import Console

_NAMES_HELP = (
    "dtypes, sparsity, batch, planner, roofline, generate, espnet, whisper, memory, cost, or all [default: dtypes "
    "sparsity planner]."
)


def bench(  # noqa: PLR0913 one argument is one option
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help=_NAMES_HELP)] = None,
    shape: Annotated[
        str,
        typer.Option("--shape", help="reference; base, small, medium: OWSM with random weights; whisper-base, -small."),
    ] = "reference",
    model: options.Model = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="fp32, fp16-packed, int8, bf16; may be given again.")
    ] = None,
    beam_size: Annotated[list[int] | None, typer.Option("--beam-size", "-b", help="May be given again.")] = None,
    audio_s: Annotated[
        list[int] | None, typer.Option("--audio-s", help="Seconds of audio; may be given again.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", help="Tokens to decode, whatever is said.")] = 40,
    threads: Annotated[int, typer.Option("--threads", help="Threads of torch.")] = 1,
    rounds: Annotated[int, typer.Option("--rounds", help="How often each work takes its turn.")] = 5,
    espnet: Annotated[
        str | None, typer.Option("--espnet", help="Virtual environment with ESPnet, as `make oracle` makes it.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder [default: runs/bench/SHAPE].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what the folder holds, and go on.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of random weights and audio.")] = 0,
) -> None:
    """Measure speed in runs that take turns: medians with quartiles, written as JSON and PNG."""
    from rich.console import Console
    from rich.progress import Progress

    from skipwise.cli.tables import make_console
    from skipwise.experiments.bench.run import QUICK, BenchRun, command_line
    from skipwise.experiments.bench.settings import BenchSettings
    from skipwise.experiments.bench.table import CELLS

    chosen = list(CELLS) if names == ["all"] else list(names or QUICK)
    settings = BenchSettings(
        shape=shape,
        model=model,
        dtypes=tuple(dtype or ("fp32", "fp16-packed")),
        beam_sizes=tuple(beam_size or (1, 5)),
        audio_s=tuple(audio_s or (10, 30)),
        num_tokens=tokens,
        threads=threads,
        rounds=rounds,
        espnet=espnet,
        seed=seed,
    )
    folder = output or Path("runs/bench") / settings.label
    run = BenchRun(settings, folder, resume=resume, command=command_line())
    console = make_console()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bars = {name: progress.add_task(name, total=1.0) for name in chosen if name in CELLS}
        records = run.run(chosen, lambda name, share: progress.update(bars[name], completed=share))
    for name, record in records.items():
        _show(console, name, record)
        _draw(folder, name, record)
    console.print(_machine(next(iter(records.values()))), style="dim")
    console.print(f"Written to {folder}.")


def _show(console: Console, name: str, record: Mapping[str, Any]) -> None:
    from skipwise.cli.bench_tables import tables_of

    for table in tables_of(name, record):
        console.print(table)


def _draw(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Figures, where matplotlib is there; without it the numbers are all that is written."""
    from importlib.util import find_spec

    if name not in ("sparsity", "espnet") or find_spec("matplotlib") is None:
        return
    from skipwise.analysis.bench import beside_espnet, time_against_sparsity
    from skipwise.analysis.figure import save_png

    figure = time_against_sparsity(record) if name == "sparsity" else beside_espnet(record)
    save_png(figure, folder / f"{name}.png")


def _machine(record: Mapping[str, Any]) -> str:
    machine, settings = record["machine"], record["settings"]
    flat = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"{machine['processor']}, {machine['instructions']}, torch {machine['packages']['torch']}\n{flat}"
