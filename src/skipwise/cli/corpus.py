"""`skipwise corpus`: make the synthetic parliament corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from skipwise.corpus.settings import CorpusSettings

corpus_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make the synthetic parliament corpus (needs the extra `corpus`)."
)


@corpus_app.callback()
def _group() -> None:
    """Keeps `build` a command of its own although it is the only one."""


@corpus_app.command()
def build(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a stopped build in it is completed.")],
    hours: Annotated[float, typer.Option("--hours", help="Hours of training speech, all languages together.")],
    seed: Annotated[int, typer.Option("--seed", help="Same settings and seed: same bytes.")] = 1,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes that speak at once.")] = 1,
    languages: Annotated[str, typer.Option("--languages", help="Source languages, with commas.")] = "de,fr,it",
    dev_hours: Annotated[
        float | None, typer.Option("--dev-hours", help="Hours of development speech; not given: 4 %, at least 8 min.")
    ] = None,
    test_hours: Annotated[
        float | None, typer.Option("--test-hours", help="Hours of test speech; not given: 10 %, at least 20 min.")
    ] = None,
) -> None:
    """Write a corpus in the layout of Europarl-ST v1.1, spoken by espeak-ng."""
    from skipwise.corpus.settings import CorpusSettings

    settings = CorpusSettings(
        hours=hours,
        seed=seed,
        languages=tuple(code.strip() for code in languages.split(",") if code.strip()),
        dev_hours=dev_hours,
        test_hours=test_hours,
    )
    _print_summary(out, _build_with_bar(out, settings, jobs))


def _build_with_bar(out: Path, settings: CorpusSettings, jobs: int) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from skipwise.corpus.writer import build_corpus

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("speeches", total=None)
        return build_corpus(
            out, settings, jobs=jobs, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


def _print_summary(out: Path, summary: dict[str, Any]) -> None:
    for split, languages in summary["splits"].items():
        for language, counts in languages.items():
            size = f"{counts['hours']:.2f} h, {counts['segments']} segments, {counts['speakers']} speakers"
            typer.echo(f"{split} {language}: {size}")
    typer.echo(f"{out} is complete.")
