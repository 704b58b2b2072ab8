"""`skipwise tradeoff`: several budgets beside the dense model, to choose one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipwise.cli import options
from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from rich.table import Table

    from skipwise.data.manifest import Utterance
    from skipwise.evaluation.tradeoff import Point
    from skipwise.gating.sites import Scope
    from skipwise.pipeline import Transcriber

_BUDGETS = (0.3, 0.5, 0.7)


def tradeoff(  # noqa: PLR0913 one argument is one option
    data: Annotated[str, typer.Option("--data", help="File or folder in one of the layouts of docs/data.md.")],
    split: Annotated[str, typer.Option("--split", help="Split of a folder: dev to choose on, test to report.")] = "dev",
    sparsity: Annotated[
        list[float] | None,
        typer.Option("--sparsity", help="Share to skip, in [0, 1); may be given again [default: 0.3, 0.5 and 0.7]."),
    ] = None,
    exact: options.Exact = False,
    scope: options.Scope = None,
    language: Annotated[
        list[str] | None, typer.Option("--language", "-l", help="Only this language; may be given again.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", help="asr, st_eng; may be given again [default: all that have references]."),
    ] = None,
    skip_bad: options.SkipBad = False,
    model: options.Model = None,
    gates: options.Gates = "auto",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Decode so many utterances, spread evenly over the data.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    batch_s: Annotated[float, typer.Option("--batch-s", min=0.1, help="Seconds of audio decoded together.")] = 120.0,
    beam_size: options.BeamSize = 1,
    ctc_weight: options.CtcWeight = 0.0,
    ctc_skips_prompt: options.CtcSkipsPrompt = False,
    max_length_ratio: options.MaxLengthRatio = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of batch order and intervals.")] = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
) -> None:
    """Decode data dense and at several budgets, in turns: what each costs in WER or BLEU, and saves in time."""
    from skipwise.cli.evaluate import tasks_of
    from skipwise.cli.tables import make_console
    from skipwise.data.layouts import has_splits, read_data
    from skipwise.decoding import DecodeOptions
    from skipwise.evaluation.rows import spread
    from skipwise.pipeline import Transcriber, base_of

    bad_lines: list[str] | None = [] if skip_bad else None
    utterances = spread(read_data(data, split, languages=language, bad_lines=bad_lines), limit)
    decoding = DecodeOptions(
        beam_size=beam_size,
        ctc_weight=ctc_weight,
        ctc_skips_prompt=ctc_skips_prompt,
        max_length_ratio=max_length_ratio,
    )
    dense = Transcriber(model or base_of(gates), gates="none", device=device, dtype=dtype, options=decoding)
    systems = {None: dense} | _pruned(dense, gates, sparsity, exact=exact, scope=scope)
    tasks = task or tasks_of(dense, utterances)
    notes = {"data": data, "split": split, "limit": limit, "exact": exact, "scope": scope, "bad_lines": bad_lines}
    points = _points(systems, utterances, tasks, batch_s=batch_s, seed=seed, notes=notes)
    console = make_console()
    console.print(_table(points, tasks))
    place = f"{data}, {split}" if has_splits(data) else data
    console.print(f"{len(utterances)} utterances of {place}. Brackets are 95 % intervals; speakers are resampled.")
    if bad_lines:
        console.print("\n".join([f"{len(bad_lines)} bad lines of the data are left out:", *bad_lines]))
    if json_file is not None:
        from skipwise.atomic import atomic_write

        with atomic_write(json_file) as file:
            json.dump({"points": [point.to_dict() for point in points]}, file, indent=2, ensure_ascii=False)
        console.print(f"Written to {json_file}.")


def _pruned(
    dense: Transcriber, gates: str, sparsities: Sequence[float] | None, *, exact: bool, scope: Scope | None
) -> dict[float | None, Transcriber]:
    """A transcriber a budget; of gates that follow one alone that one, if nothing is asked for."""
    from skipwise.gating import Budget
    from skipwise.gating.shuffle import followed_adapter
    from skipwise.pipeline import Transcriber

    plain = Transcriber(dense.model, gates=gates, dtype=dense.engine.dtype, options=dense.options)
    adapter = followed_adapter(plain.planner)
    if adapter is None:
        raise SkipwiseError(
            f"{dense.model.name} has no gates beside it, and --gates is {gates!r}, so there are no budgets to compare. "
            "Name the folder of trained gates: --gates runs/prune/gates."
        )
    budgets = sparsities or (_BUDGETS if adapter.is_elastic else (adapter.config.sparsity,))
    return {
        share: Transcriber(
            dense.model,
            gates=adapter,
            sparsity=Budget(sparsity=share, exact=exact, scope=scope),
            dtype=dense.engine.dtype,
            options=dense.options,
        )
        for share in budgets
    }


def _points(
    systems: Mapping[float | None, Transcriber], utterances: Sequence[Utterance], tasks: Sequence[str], **how: Any
) -> list[Point]:
    from rich.console import Console
    from rich.progress import Progress

    from skipwise.evaluation.tradeoff import tradeoff as measure

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Decoding", total=None)
        return measure(
            systems,
            utterances,
            tasks,
            on_rows=lambda done, all_rows: progress.update(bar, completed=done, total=all_rows),
            **how,
        )


def _table(points: Sequence[Point], tasks: Sequence[str]) -> Table:
    from skipwise.cli.tables import DASH, percent, scored, table_of

    scores = {task: "wer" if task == "asr" else "bleu" for task in tasks}
    columns = ["asked", "closed enc.", "closed dec."]
    for task, name in scores.items():
        columns += [f"{name.upper()} of {task}", "change"]
    table = table_of("Budgets", [*columns, "MACs", "time"])
    for point in points:
        record = point.evaluation.to_dict()
        macs = record["all"]["macs"]
        cells = []
        for task, name in scores.items():
            group = record["per_task"][task]
            cells += [scored(group[name], group[f"{name}_interval"]), _change(point, task, name)]
        asked = "dense" if point.sparsity is None else percent(point.sparsity)
        closed = [percent(record["all"]["sparsity"][stack], 1) for stack in ("encoder", "decoder")]
        share = macs["total"] / macs["dense_total"] if macs["dense_total"] else None
        table.add_row(asked, *closed, *cells, DASH if share is None else f"× {share:.2f}", _time(point))
    return table


def _change(point: Point, task: str, name: str) -> str:
    if point.sparsity is None:
        return ""
    found = point.differences["per_task"][task][name]
    interval = found["absolute_interval"]
    told = "" if interval is None else f" [{interval[0]:+.1f}, {interval[1]:+.1f}]"
    return f"{found['absolute']:+.1f}{told}"


def _time(point: Point) -> str:
    interval = point.time_ratio_interval
    told = "" if interval is None or point.sparsity is None else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"× {point.time_ratio:.2f}{told}"
