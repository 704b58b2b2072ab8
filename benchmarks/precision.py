"""What each precision changes: texts, WER and BLEU with intervals, and time, against fp32 on the same batches in turns.

    python benchmarks/precision.py --data CORPUS [--limit N] [--beam-size K]

Writes results/engine/precision.json, one entry a precision.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import Progress

from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.cli.tables import make_console
from skipwise.data.layouts import read_data
from skipwise.decoding import DecodeOptions
from skipwise.evaluation import Comparison, compare
from skipwise.evaluation.rows import has_reference, spread
from skipwise.pipeline import Transcriber

COMPARED = ("fp16-packed", "int8", "bf16")


def main(
    data: Annotated[str, typer.Option(help="Corpus in Europarl-ST layout, or a manifest.")],
    split: Annotated[str, typer.Option(help="Its split.")] = "test",
    model: Annotated[str | None, typer.Option(help="Model [default: the reference model].")] = None,
    gates: Annotated[str, typer.Option(help="Gates [default: those beside the model].")] = "auto",
    limit: Annotated[int | None, typer.Option(help="So many utterances, spread over the split.")] = None,
    beam_size: Annotated[int, typer.Option(help="Width of the beam.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    output: Annotated[Path, typer.Option(help="File of the results.")] = Path("results/engine/precision.json"),
) -> None:
    """Compare every precision with fp32."""
    torch.set_num_threads(threads)
    utterances = spread(read_data(data, split), limit)
    options = DecodeOptions(beam_size=beam_size)
    plain = Transcriber(model, gates=gates, dtype="fp32", options=options)
    tasks = [task for task in plain.tasks if any(has_reference(utterance, task) for utterance in utterances)]
    console, records = make_console(), {}
    for dtype in COMPARED:
        other = Transcriber(plain.model, gates=gates, dtype=dtype, options=options)
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task(dtype, total=len(utterances) * len(tasks))
            comparison = compare(
                plain,
                other,
                utterances,
                tasks,
                notes={"data": Path(data).name, "split": split, "limit": limit},
                on_turn=lambda turn, bar=bar, progress=progress: progress.advance(bar, len(turn.dense)),
            )
        records[dtype] = _record(comparison)
        console.print(f"{dtype}: {json.dumps(records[dtype]['identical'])}")
        with atomic_write(output) as file:
            json.dump({"command": shlex.join(["python", *sys.argv]), **records}, file, indent=2, ensure_ascii=False)


def _record(comparison: Comparison) -> dict[str, Any]:
    pairs = [pair for turn in comparison.turns for pair in zip(turn.dense, turn.pruned, strict=True)]
    same = sum(a.hypothesis == b.hypothesis and a.num_tokens == b.num_tokens for a, b in pairs)
    record = comparison.to_dict()
    return {
        "identical": {"texts": same, "of": len(pairs)},
        "settings": record["pruned"]["settings"],
        "fp32": {name: record["dense"]["all"][name] for name in ("wer", "bleu")},
        "here": {name: record["pruned"]["all"][name] for name in ("wer", "bleu")},
        "differences": record["differences"]["all"],
        "time_ratios": record["time_ratios"]["all"],
    }


if __name__ == "__main__":
    run_script(main)
