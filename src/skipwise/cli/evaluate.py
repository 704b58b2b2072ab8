"""`skipwise evaluate`: WER, BLEU, sparsity and time on utterances with references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from skipwise.cli import options
from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from rich.console import Console

    from skipwise.data.manifest import Utterance
    from skipwise.evaluation.rows import Item, Row
    from skipwise.evaluation.run import Evaluation
    from skipwise.gating import ShuffleLevel
    from skipwise.pipeline import Transcriber


def evaluate(  # noqa: PLR0913 one argument is one option
    data: Annotated[str, typer.Option("--data", help="File or folder in one of the layouts of docs/data.md.")],
    split: Annotated[str, typer.Option("--split", help="Split of a folder; a file is one split.")] = "test",
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
    sparsity: options.Sparsity = None,
    exact: options.Exact = False,
    scope: options.Scope = None,
    unit: options.Unit = None,
    cost_table: options.CostTable = None,
    speedup: options.Speedup = None,
    shuffle: Annotated[
        Literal["speech", "language", "task"] | None,
        typer.Option("--shuffle", help="Let the gates see another utterance's input, and compare."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Evaluate so many utterances, spread evenly over the data.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    batch_s: Annotated[float, typer.Option("--batch-s", min=0.1, help="Seconds of audio decoded together.")] = 120.0,
    method: options.Method = "attention",
    beam_size: options.BeamSize = 1,
    ctc_weight: options.CtcWeight = 0.0,
    ctc_skips_prompt: options.CtcSkipsPrompt = False,
    max_length_ratio: options.MaxLengthRatio = None,
    min_length_ratio: options.MinLengthRatio = 0.0,
    length_bonus: options.LengthBonus = 0.0,
    normalize_length: options.NormalizeLength = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of batch order and intervals.")] = 0,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
) -> None:
    """Score a model on a test set: WER, BLEU, chrF, what was skipped, and the time it took."""
    from skipwise.cli.budgets import Wish, make_transcriber
    from skipwise.cli.tables import make_console, print_evaluation
    from skipwise.data.layouts import read_data
    from skipwise.decoding import DecodeOptions
    from skipwise.evaluation.rows import make_batches, spread
    from skipwise.evaluation.run import Evaluation
    from skipwise.gating import OPEN_PLANNER, Budget

    bad_lines: list[str] | None = [] if skip_bad else None
    utterances = spread(read_data(data, split, languages=language, bad_lines=bad_lines), limit)
    decoding = DecodeOptions(
        method=method,
        beam_size=beam_size,
        ctc_weight=ctc_weight,
        ctc_skips_prompt=ctc_skips_prompt,
        max_length_ratio=max_length_ratio,
        min_length_ratio=min_length_ratio,
        length_bonus=length_bonus,
        normalize_length=normalize_length,
    )
    wish = Wish(
        budget=Budget(sparsity=sparsity, exact=exact, scope=scope, unit=unit), cost_table=cost_table, speedup=speedup
    )
    transcriber = make_transcriber(model, gates, wish, device=device, dtype=dtype, options=decoding)
    tasks = task or tasks_of(transcriber, utterances)
    batches = make_batches(transcriber, utterances, tasks, batch_s=batch_s, seed=seed)
    own = None
    if shuffle is not None:
        own, transcriber = _shuffled(transcriber, batches, shuffle, seed=seed)
    rows, stopped = _decoded(transcriber, batches)

    num_planned = sum(map(len, batches))
    notes = {
        "data": data,
        "split": split,
        "batch_s": batch_s,
        "limit": limit,
        "bad_lines": bad_lines,
        "complete": stopped is None,
    }
    if transcriber.planner is not OPEN_PLANNER:  # else `auto` has found none
        notes["gates"] = gates
    evaluation = Evaluation.of(rows, transcriber, seed=seed, notes=notes)
    record = evaluation.to_dict()
    console = make_console()
    print_evaluation(console, record)
    record |= _tell_budget(console, transcriber, rows)
    if own is not None and stopped is None:
        record |= _tell_shuffled(console, own, evaluation)
    if stopped:
        console.print(f"Stopped after {len(rows)} of {num_planned}: the numbers are of these alone.", style="bold")
    if bad_lines:
        console.print(f"{len(bad_lines)} bad lines of the data are left out:", style="bold")
        console.print("\n".join(bad_lines), markup=False, highlight=False)
    if json_file is not None:
        _write(json_file, record)
        console.print(f"Written to {json_file}.")
    if stopped:
        raise stopped


def _decoded(
    transcriber: Transcriber, batches: Sequence[Sequence[Item]]
) -> tuple[list[Row], KeyboardInterrupt | SkipwiseError | None]:
    """Return the rows and, if there are some but not all, what stopped it."""
    from rich.console import Console
    from rich.progress import Progress

    from skipwise.evaluation.rows import decode_rows

    rows: list[Row] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Decoding", total=sum(map(len, batches)))
        try:
            for row in decode_rows(transcriber, batches):
                rows.append(row)
                progress.advance(bar)
        except (KeyboardInterrupt, SkipwiseError) as error:
            if not rows:
                raise
            return rows, error
    return rows, None


def _shuffled(
    transcriber: Transcriber, batches: Sequence[Sequence[Item]], level: ShuffleLevel, *, seed: int
) -> tuple[Evaluation, Transcriber]:
    """Decode with the gates' own input; return how that did, and a transcriber whose gates see another's."""
    from skipwise.evaluation.run import Evaluation
    from skipwise.evaluation.shuffle import recorded, shuffled

    recording, planner = recorded(transcriber)
    rows, stopped = _decoded(recording, batches)
    if stopped:
        raise stopped
    own = Evaluation.of(rows, transcriber, seed=seed)
    return own, shuffled(transcriber, planner.donors, level, seed=seed)


def _tell_budget(console: Console, transcriber: Transcriber, rows: Sequence[Row]) -> dict[str, Any]:
    """Print what the budget that was asked for came to; return it for the file."""
    from skipwise.evaluation.achieved import achieved_shares
    from skipwise.gating import AdapterPlanner

    planner = transcriber.planner
    if not isinstance(planner, AdapterPlanner) or (planner.budget.sparsity is None and not planner.budget.exact):
        return {}
    budget, achieved = planner.budget, achieved_shares(rows, planner)
    asked = planner.adapter.config.sparsity if budget.sparsity is None else budget.sparsity
    shares = ", ".join(f"{share:.3f} of the {stack}'s" for stack, share in achieved.items())
    console.print(f"Budget {asked:g} of {budget.unit}{', exactly' if budget.exact else ''}: closed {shares}.")
    return {"achieved": achieved}


def _tell_shuffled(console: Console, own: Evaluation, shuffled: Evaluation) -> dict[str, Any]:
    """Print what shuffling changed; return it for the file."""
    from skipwise.cli.tables import difference_line
    from skipwise.evaluation.compare import differences

    found = differences(own, shuffled)
    console.print(f"Shuffled minus own input: {difference_line(found['all'])}")
    return {"unshuffled": own.to_dict(), "differences": found}


def tasks_of(transcriber: Transcriber, utterances: Sequence[Utterance]) -> list[str]:
    """Return the tasks that a model knows and utterances have references for.

    Raises:
        SkipwiseError: if there is none.
    """
    from skipwise.evaluation.rows import has_reference

    tasks = [task for task in transcriber.tasks if any(has_reference(utterance, task) for utterance in utterances)]
    if not tasks:
        raise SkipwiseError(
            f"these utterances have no reference for any task of this model ({', '.join(transcriber.tasks)}). Use data "
            "with transcripts or translations."
        )
    return tasks


def _write(path: Path, record: dict[str, Any]) -> None:
    from skipwise.atomic import atomic_write

    with atomic_write(path) as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
