"""`skipwise corpus`: bring data of one's own, or make the synthetic parliament corpus, and check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipwise.cli.corpus_import import import_data
from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from skipwise.corpus.check import Finding, SplitCounts
    from skipwise.corpus.settings import CorpusSettings

SAMPLE_PAGE = "samples.html"

corpus_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Import data of your own; make and check the synthetic parliament corpus (needs the extra `corpus`).",
)
corpus_app.command(name="import")(import_data)


@corpus_app.command()
def build(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make; a stopped build in it is completed.")],
    preset: Annotated[
        str | None, typer.Option("--preset", help="Size: tiny, small (if nothing is said), study or full.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", help="Instead of a preset: hours of training speech, all languages.")
    ] = None,
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
    from dataclasses import replace

    from skipwise.corpus.settings import CorpusSettings
    from skipwise.corpus.settings import preset as settings_called

    if preset is not None and hours is not None:
        raise SkipwiseError(f"give --preset or --hours, not both; got {preset} and {hours:g}.")
    base = settings_called(preset or "small") if hours is None else CorpusSettings(hours=hours)
    settings = replace(
        base,
        seed=seed,
        languages=tuple(code.strip() for code in languages.split(",") if code.strip()),
        dev_hours=dev_hours or base.dev_hours,
        test_hours=test_hours or base.test_hours,
    )
    _print_summary(out, _build_with_bar(out, settings, jobs))


@corpus_app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A corpus made by `skipwise corpus build`.")],
    floor: Annotated[
        float | None, typer.Option("--perplexity-floor", help="Least perplexity of test under a 5-gram of train.")
    ] = None,
    dense: Annotated[
        list[Path] | None,
        typer.Option("--dense", help="What `evaluate --json` wrote for a dense model on test; or once for each task."),
    ] = None,
    half: Annotated[
        list[Path] | None, typer.Option("--half", help="The same for half the decoder's depth, trained equally.")
    ] = None,
) -> None:
    """Say whether a corpus keeps its hold-outs, is hard to guess, and tells models apart (--dense, --half).

    Writes samples.html into it. Exit 1 if not.
    """
    from skipwise.corpus.check import PERPLEXITY_FLOOR, Corpus, check_corpus, count_splits
    from skipwise.corpus.sample_page import write_sample_page
    from skipwise.corpus.validity import check_validity, read_scores

    if bool(dense) != bool(half):
        raise SkipwiseError("--dense and --half are compared: give both, or neither.")
    corpus = Corpus(folder)
    counts = count_splits(corpus)
    _print_counts(counts)
    findings = check_corpus(corpus, perplexity_floor=PERPLEXITY_FLOOR if floor is None else floor)
    if dense and half:
        findings += check_validity(read_scores(dense), read_scores(half))
    _print_findings(findings)
    write_sample_page(folder / SAMPLE_PAGE, corpus, findings, counts)
    typer.echo(f"Sentences to read and hear: {folder / SAMPLE_PAGE}")
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


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


def _print_counts(counts: list[SplitCounts]) -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("split", "language", "segments", "sentences", "source words", "English words", "hours")
    table = Table(*heads)
    for one in counts:
        numbers = (one.segments, one.sentences, one.source_words, one.english_words)
        table.add_row(one.split, one.language, *(f"{number:,}" for number in numbers), f"{one.hours:.2f}")
    Console().print(table)
    words = sum(one.source_words + one.english_words for one in counts if one.split.startswith("test"))
    typer.echo(f"Words of test and test_unseen, over languages and tasks: {words:,}")


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{'passed' if finding.passed else 'FAILED'}  {finding.name}: {finding.detail}")
