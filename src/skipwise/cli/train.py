"""`skipwise train`: a base from scratch, or gates with their base, from a YAML recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipwise.cli import options


def train(
    config: Annotated[Path, typer.Argument(help="YAML recipe, as in recipes/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: optimisation.max_steps=100 ...")
    ] = None,
    skip_bad: options.SkipBad = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run.")] = False,
) -> None:
    """Train a base model, or gates together with their base."""
    from rich.console import Console

    from skipwise.training.config import load_config
    from skipwise.training.run import train as run

    chosen = [*(overrides or []), *(["data.skip_bad=true"] if skip_bad else [])]
    settings = load_config(config, chosen)
    console = Console()
    console.print(f"output {settings.output}, seed {settings.seed}, {settings.optimisation.max_steps} steps")
    console.print(f"trained model: {run(settings, resume=resume)}")
