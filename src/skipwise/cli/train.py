"""`skipwise train`: a base from scratch, or gates on one, from a recipe of one's own or a shipped one."""

from __future__ import annotations

from typing import Annotated

import typer

from skipwise.cli import options


def train(
    recipe: Annotated[str, typer.Argument(help="YAML recipe, as in recipes/; or a shipped one by name: prune.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: optimisation.max_steps=100 ...")
    ] = None,
    skip_bad: options.SkipBad = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run.")] = False,
) -> None:
    """Train a base model, or gates: together with their base, or an adapter for one that is kept."""
    from rich.console import Console

    from skipwise.training.recipes import load_recipe
    from skipwise.training.run import train as run

    chosen = [*(overrides or []), *(["data.skip_bad=true"] if skip_bad else [])]
    settings = load_recipe(recipe, chosen)
    console = Console()
    learned = f"{', '.join(settings.data.tasks)} of {', '.join(settings.data.languages)}"
    console.print(f"output {settings.output}, seed {settings.seed}, {settings.optimisation.max_steps} steps, {learned}")
    console.print(f"{'trained model' if settings.model.writes_base else 'adapter'}: {run(settings, resume=resume)}")
