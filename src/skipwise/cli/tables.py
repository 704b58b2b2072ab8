"""Tables of scores for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 200
DASH = "–"


def make_console() -> Console:
    """Return a console that prints texts as they are, and is wide enough for a table where nobody knows its width."""
    from rich.console import Console

    is_terminal = Console().is_terminal
    return Console(highlight=False, markup=False, width=None if is_terminal else _PIPE_WIDTH)


def print_evaluation(console: Console, record: Mapping[str, Any]) -> None:
    """Print an evaluation's record: the scores of each language and task, what was skipped, and the settings."""
    console.print(_quality_table(record))
    console.print(_cost_table(record))
    kinds = {name: share for name, share in record["all"]["sparsity_by_kind"].items() if share}
    if kinds:
        console.print("Skipped by kind: " + ", ".join(f"{name} {percent(share)}" for name, share in kinds.items()))
    console.print(describe(record["settings"]), style="dim")


def describe(settings: Mapping[str, Any]) -> str:
    """Return settings on a few lines."""
    flat = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    versions = ", ".join(f"{name} {value}" for name, value in settings["versions"].items())
    return "\n".join(
        [
            ", ".join(f"{name} {value}" for name, value in flat.items()),
            f"versions: {versions}",
            *(f"{name}: {signature}" for name, signature in settings["signatures"].items()),
        ]
    )


def scored(value: float | None, interval: Sequence[float] | None = None) -> str:
    """Return a score and its interval: `7.2 [6.1, 8.4]`."""
    if value is None:
        return DASH
    return f"{value:.1f}" if interval is None else f"{value:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as `52 %`."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


def table_of(title: str, columns: Sequence[str], *, num_left: int = 1) -> Table:
    """Return an empty table whose columns stand to the right, but for the first ones."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < num_left else "right", overflow="fold")
    return table


def difference_line(found: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return the paired differences of scores with their intervals: `wer +0.4 [0.1, 0.7], bleu ...`."""
    parts = []
    for name, difference in found.items():
        if difference is not None:
            interval = difference["absolute_interval"]
            told = "" if interval is None else f" [{interval[0]:+.2f}, {interval[1]:+.2f}]"
            parts.append(f"{name} {difference['absolute']:+.2f}{told}")
    return ", ".join(parts)


def _quality_table(record: Mapping[str, Any]) -> Table:
    columns = ["language", "task", "utterances", "WER %", "S / D / I of words", "BLEU", "BLEU, normalised", "chrF"]
    table = table_of("Quality (95 % intervals, speakers resampled)", [*columns, "loops", "length limit"], num_left=2)
    for language, task, group in _lines(record):
        errors = " / ".join(str(group[name]) for name in ("substitutions", "deletions", "insertions"))
        table.add_row(
            language,
            task,
            str(group["utterances"]),
            scored(group["wer"], group["wer_interval"]),
            DASH if group["words"] is None else f"{errors} of {group['words']}",
            scored(group["bleu"], group["bleu_interval"]),
            scored(group["bleu_normalised"], group["bleu_normalised_interval"]),
            scored(group["chrf"], group["chrf_interval"]),
            percent(group["loops"], 1),
            percent(group["length_limit"], 1),
        )
    return table


def _cost_table(record: Mapping[str, Any]) -> Table:
    columns = ["language", "task", "skipped enc.", "skipped dec.", "modules run", "GMACs", "of dense"]
    table = table_of("Cost", [*columns, "audio s", "encoder s", "decoder s", "RTF"], num_left=2)
    for language, task, group in _lines(record):
        seconds, macs, modules = group["seconds"], group["macs"], group["modules"]
        table.add_row(
            language,
            task,
            percent(group["sparsity"]["encoder"], 1),
            percent(group["sparsity"]["decoder"], 1),
            DASH if modules["run"] is None else f"{modules['run']:.1f} of {modules['all']}",
            f"{macs['total'] / 1e9:.2f}",
            percent(macs["total"] / macs["dense_total"] if macs["dense_total"] else None),
            f"{seconds['audio']:.1f}",
            f"{seconds['encoder']:.2f}",
            f"{seconds['decoder']:.2f}",
            DASH if group["rtf"] is None else f"{group['rtf']:.3f}",
        )
    return table


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each language and task, then what sums over several of them."""
    for language, tasks in record["per_language_task"].items():
        for task, group in tasks.items():
            yield language, task, group
    if len(record["per_language"]) > 1:
        for task, group in record["per_task"].items():
            yield "all", task, group
