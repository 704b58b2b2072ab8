"""`skipwise demo`: the shipped clips, transcribed and translated dense and pruned, side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipwise.cli import options
from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from skipwise.data.manifest import Utterance
    from skipwise.evaluation.compare import Comparison, Turn
    from skipwise.pipeline import Transcriber

GATE_MAP_FILE = "gate_map.png"
SUMMARY_FILE = "summary.json"
_ONE_CLIP_S = 0.001
_MANY_WEIGHTS = 20_000_000
"""From here on several threads pay for one clip at a time."""
_WRONG, _CHANGED = "red", "bold underline"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the gate map and the numbers.")] = Path(
        "demo"
    ),
    model: options.Model = None,
    gates: Annotated[
        str, typer.Option("--gates", help="auto: those beside the model; or an adapter's folder.")
    ] = "auto",
    clips: Annotated[
        Path | None, typer.Option("--clips", help="Manifest of other clips [default: the ones shipped].")
    ] = None,
) -> None:
    """Transcribe and translate a dozen clips, dense and pruned, and show what changes."""
    from skipwise.analysis.figure import save_png
    from skipwise.analysis.gate_map import gate_map
    from skipwise.atomic import atomic_write
    from skipwise.cli.tables import make_console
    from skipwise.data.manifest import read_manifest
    from skipwise.pipeline import Transcriber, shipped_clips

    console = make_console()
    utterances = read_manifest(clips or shipped_clips())
    dense = Transcriber(model, gates="none")
    pruned = Transcriber(dense.model, gates=gates)
    _suit_threads(dense)
    comparison = _compared(dense, pruned, utterances)
    record = comparison.to_dict()
    console.print(_text_table(comparison))
    if console.is_terminal:
        console.print(_legend())
    console.print(_summary_table(record))
    console.print(
        f"{len(utterances)} clips are an illustration, not a measurement. For a whole test set, with intervals, see "
        "results/, or run skipwise evaluate on data of your own."
    )
    save_png(gate_map(comparison.pruned.plans()), output / GATE_MAP_FILE)
    with atomic_write(output / SUMMARY_FILE) as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
    console.print(f"Gate map: {output / GATE_MAP_FILE}\nNumbers:  {output / SUMMARY_FILE}")


def _suit_threads(transcriber: Transcriber) -> None:
    """One thread for a small model, unless OMP_NUM_THREADS says otherwise.

    Threads wait for one another at every little product: two of them on two cores, of which one had other work, took
    four to fifty times the seconds of one; on an idle machine they saved a tenth.
    """
    import torch

    num_weights = sum(weight.numel() for weight in transcriber.model.network.parameters())
    if num_weights < _MANY_WEIGHTS and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _compared(dense: Transcriber, pruned: Transcriber, utterances: Sequence[Utterance]) -> Comparison:
    from rich.console import Console
    from rich.progress import Progress

    from skipwise.evaluation.compare import compare
    from skipwise.evaluation.rows import has_reference
    from skipwise.gating import OPEN_PLANNER

    if pruned.planner is OPEN_PLANNER:
        raise SkipwiseError(
            f"{dense.model.name} has no gates, so there is nothing to compare. Name an adapter with --gates."
        )
    tasks = [task for task in dense.tasks if any(has_reference(utterance, task) for utterance in utterances)]
    total = sum(has_reference(utterance, task) for utterance in utterances for task in tasks)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Dense and pruned, taking turns", total=total)

        def advance(turn: Turn) -> None:
            progress.advance(bar, len(turn.dense))

        # one clip at a time, as a user sends them
        return compare(dense, pruned, utterances, tasks, batch_s=_ONE_CLIP_S, on_turn=advance)


def _text_table(comparison: Comparison) -> Table:
    from rich.box import HORIZONTALS
    from rich.table import Table

    table = Table(title="What was said", title_justify="left", title_style="bold", box=HORIZONTALS, show_lines=True)
    table.add_column("clip", no_wrap=True)
    table.add_column("task", no_wrap=True)
    for name in ("reference", "dense", "pruned"):
        table.add_column(name, ratio=1, overflow="fold")
    pairs = zip(comparison.dense.rows, comparison.pruned.rows, strict=True)
    for dense, pruned in sorted(pairs, key=lambda pair: (pair[0].language, pair[0].id, pair[0].task)):
        texts = (dense.hypothesis, pruned.hypothesis)
        marked = [_marked(text, dense.reference, other) for text, other in zip(texts, reversed(texts), strict=True)]
        table.add_row(dense.id, dense.task, dense.reference, *marked)
    return table


def _legend() -> Text:
    from rich.text import Text

    parts = (
        "Words that are not in the reference are ",
        ("red", _WRONG),
        "; words in which dense and pruned differ are ",
    )
    return Text.assemble(*parts, ("underlined", _CHANGED), ". A translation may be right in other words.\n")


def _marked(text: str, reference: str, other: str) -> Text:
    """Return `text` with the words marked that the reference lacks at that place, and those that `other` lacks."""
    from rich.text import Text

    words = text.split()
    found = Text()
    for index, (word, is_right, is_same) in enumerate(
        zip(words, _shared(text, reference), _shared(text, other), strict=True)
    ):
        style = " ".join(([] if is_right else [_WRONG]) + ([] if is_same else [_CHANGED]))
        found.append(" " if index else "").append(word, style=style)
    return found


def _shared(text: str, other: str) -> list[bool]:
    """Return for each word of `text` whether an alignment with `other` finds it there, punctuation and case aside."""
    from difflib import SequenceMatcher

    from skipwise.evaluation.normalise import normalise

    words, others = ([normalise(word) for word in side.split()] for side in (text, other))
    shared = [False] * len(words)
    for start, _, size in SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks():
        shared[start : start + size] = [True] * size
    return shared


def _summary_table(record: Mapping[str, Any]) -> Table:
    from skipwise.cli.tables import DASH, percent, table_of

    dense, pruned, ratios = record["dense"]["all"], record["pruned"]["all"], record["time_ratios"]["all"]
    table = table_of("Dense and pruned", ["", "dense", "pruned", "pruned vs dense"])
    for name, key in (
        ("WER, % (transcription)", "wer"),
        ("BLEU (translation)", "bleu"),
        ("chrF (translation)", "chrf"),
    ):
        if dense[key] is not None:
            table.add_row(name, f"{dense[key]:.1f}", f"{pruned[key]:.1f}", f"{pruned[key] - dense[key]:+.1f} points")
    table.add_section()
    modules = [side["modules"]["run"] for side in (dense, pruned)]
    if None not in modules:
        numbers = [f"{number:.1f} of {dense['modules']['all']}" for number in modules]
        table.add_row("modules run", *numbers, f"× {modules[1] / modules[0]:.2f}")
    for stack in ("encoder", "decoder"):
        shares = [side["sparsity"][stack] for side in (dense, pruned)]
        table.add_row(f"{stack} modules skipped", *map(percent, shares), "")
    for part in ("encoder", "decoder", "total"):
        macs = [side["macs"][part] for side in (dense, pruned)]
        name = "MACs, both" if part == "total" else f"MACs, {part}"
        table.add_row(
            name, *(f"{value / 1e9:.2f} G" for value in macs), f"× {macs[1] / macs[0]:.2f}" if macs[0] else DASH
        )
    table.add_section()
    for part in ("encoder", "decoder", "total"):
        seconds = [side["seconds"][part] for side in (dense, pruned)]
        name = "seconds, all" if part == "total" else f"seconds, {part}"
        table.add_row(name, *(f"{value:.2f}" for value in seconds), _ratio(ratios[part]))
    table.add_row("seconds per second of audio", *(f"{side['rtf']:.3f}" for side in (dense, pruned)), "")
    return table


def _ratio(ratio: Mapping[str, Any] | None) -> str:
    """The median over clips, which one slow moment of the machine does not move."""
    if ratio is None:
        return ""
    if ratio["interval"] is None:
        return f"× {ratio['median']:.2f}"
    low, high = ratio["interval"]
    return f"× {ratio['median']:.2f} [{low:.2f}, {high:.2f}]"
