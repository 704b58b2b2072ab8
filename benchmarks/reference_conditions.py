"""The reference model at several budgets, and by what makes speech hard: results/reference/conditions.*

    python benchmarks/reference_conditions.py --data CORPUS --dense-only MODEL --limit 1500

Systems: dense; 30, 50 and 70 % of the decoder; of both stacks, if both have gates; and the model trained without gates.
Groups of each split: all, languages, SNR, rooms. Whatever is pruned is set beside the better of the two dense systems,
task by task, in paired differences with 95 % intervals over resampled speakers. Transcription is decoded with the CTC
head's share of the score, translation without. Every system, split and task that is done is kept in --work, and not
decoded again. Writes conditions.json and conditions.csv.
"""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from skipwise.atomic import atomic_write
from skipwise.cli.main import run_script
from skipwise.data.layouts import read_data
from skipwise.data.sidecar import SegmentFacts
from skipwise.decoding import DecodeOptions
from skipwise.evaluation.compare import in_order_of
from skipwise.evaluation.rows import Item, Row, decode_rows, make_batches, spread
from skipwise.evaluation.run import Evaluation
from skipwise.evaluation.summary import CountedRows, Selection, best_at, interval_record, metrics_of
from skipwise.experiments.sweep.rows import facts_of
from skipwise.gating import Budget, Scope
from skipwise.gating.planner import AdapterPlanner
from skipwise.models.attach import fingerprint
from skipwise.models.family import SpeechModel
from skipwise.models.fingerprint import fingerprint_of
from skipwise.models.planners import planner_for
from skipwise.pipeline import Transcriber

TASKS = ("asr", "st_eng")
SHARES = (0.3, 0.5, 0.7)
SCOPES: tuple[Scope, ...] = ("decoder", "both")
DENSE, DENSE_ONLY = "dense", "dense-only"
MAY_LOSE = {"asr": 5.0, "st_eng": -0.5}
"""At half of the decoder: the upper bound of the change of WER, in per cent of it, and the lower one of BLEU's."""
CLAIM = "decoder 50 %"

Condition = Callable[[SegmentFacts | None], bool]

SNR: dict[str, Condition] = {
    f"SNR {low} to {high} dB": lambda fact, low=low, high=high: fact is not None and low <= fact.snr_db < high
    for low, high in ((0, 10), (10, 20), (20, 30))
}
ROOMS: dict[str, Condition] = {
    "no room": lambda fact: fact is not None and fact.rt60_s == 0,
    "RT60 below 0.5 s": lambda fact: fact is not None and 0 < fact.rt60_s < 0.5,
    "RT60 of 0.5 s and more": lambda fact: fact is not None and fact.rt60_s >= 0.5,
}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is decoded at once, and kept."""

    system: str
    split: str
    task: str

    @property
    def file(self) -> str:
        name = f"{self.system}_{self.split}_{self.task}".replace(" ", "").replace("%", "")
        return f"{name}.pkl"


def main(  # noqa: PLR0913 one argument is one option
    data: Annotated[str, typer.Option(help="Corpus in Europarl-ST layout.")],
    model: Annotated[str | None, typer.Option(help="Model with elastic gates [default: the reference model].")] = None,
    dense_only: Annotated[str | None, typer.Option(help="A model trained without gates.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits [default: test, test_unseen].")] = None,
    limit: Annotated[int | None, typer.Option(help="So many utterances of each split, spread over it.")] = None,
    beam_size: Annotated[int, typer.Option(help="Hypotheses followed at once.")] = 5,
    ctc_weight: Annotated[float, typer.Option(help="Share of the CTC head in transcription.")] = 0.3,
    ctc_skips_prompt: Annotated[bool, typer.Option(help="Do not count the prompt as its output.")] = True,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio decoded together.")] = 120.0,
    threads: Annotated[int | None, typer.Option(help="Threads of torch.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of batch order and intervals.")] = 0,
    work: Annotated[Path, typer.Option(help="Folder of what is decoded already.")] = Path("runs/reference_conditions"),
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/reference"),
) -> None:
    """Decode what is not decoded yet, and write the numbers."""
    if threads is not None:
        torch.set_num_threads(threads)
    splits = split or ["test", "test_unseen"]
    utterances = {name: spread(read_data(data, name), limit) for name in splits}
    of_asr = DecodeOptions(beam_size=beam_size, ctc_weight=ctc_weight, ctc_skips_prompt=ctc_skips_prompt)
    options = {task: of_asr if task == "asr" else DecodeOptions(beam_size=beam_size) for task in TASKS}
    settings = {"data": data, "model": model, "dense_only": dense_only, "limit": limit, "beam_size": beam_size}
    settings |= {"ctc_weight": ctc_weight, "ctc_skips_prompt": ctc_skips_prompt, "batch_s": batch_s, "seed": seed}
    base = Transcriber(model, gates="none").model
    control = None if dense_only is None else Transcriber(dense_only, gates="none").model
    of_weights = {"weights": weights_of(base), "dense_only_weights": control and weights_of(control)}
    kept = work / hashlib.sha256(json.dumps(settings | of_weights, sort_keys=True).encode()).hexdigest()[:12]
    kept.mkdir(parents=True, exist_ok=True)
    evaluations: dict[tuple[str, str], Evaluation] = {}
    for system, transcribers in systems_of(base, control, options):
        for name in splits:
            rows: list[Row] = []
            for task in TASKS:
                unit = Unit(system=system, split=name, task=task)
                batches = make_batches(transcribers[task], utterances[name], [task], batch_s=batch_s, seed=seed)
                rows += decoded(kept / unit.file, unit, transcribers[task], batches)
            evaluations[system, name] = Evaluation.of(rows, transcribers["asr"], seed=seed)
    facts = facts_of(Path(data), [one for some in utterances.values() for one in some])
    record = {"settings": settings, "command": shlex.join(["python", *sys.argv])}
    record |= summarised(evaluations, facts)
    write(output, record)
    console = Console()
    console.print(table(record))
    for line in verdicts(record):
        console.print(line)
    console.print(f"Written to {output}. What was decoded is in {kept}.")


def weights_of(model: SpeechModel) -> list[str]:
    """Return a hash of a model's weights and, if it has some, of its gates': a folder may hold others tomorrow."""
    hashes = [fingerprint(model.network)]
    planner = planner_for(model, "auto", Budget())
    if isinstance(planner, AdapterPlanner):
        hashes.append(fingerprint_of(planner.adapter.predictors.state_dict()))
    return hashes


def systems_of(
    model: SpeechModel, control: SpeechModel | None, options: Mapping[str, DecodeOptions]
) -> Iterator[tuple[str, dict[str, Transcriber]]]:
    """Yield each system by name, with a transcriber a task; stacks without gates have no systems."""
    yield DENSE, {task: Transcriber(model, gates="none", options=chosen) for task, chosen in options.items()}
    planner = planner_for(model, "auto", Budget())
    assert isinstance(planner, AdapterPlanner)
    for scope in SCOPES if "encoder" in planner.adapter.predictors else ("decoder",):
        for share in SHARES:
            budget = Budget(sparsity=share, scope=scope, exact=True)
            pruned = {
                task: Transcriber(model, gates="auto", sparsity=budget, options=chosen)
                for task, chosen in options.items()
            }
            yield f"{scope} {share:.0%}".replace("%", " %"), pruned
    if control is not None:
        yield (
            DENSE_ONLY,
            {task: Transcriber(control, gates="none", options=chosen) for task, chosen in options.items()},
        )


def decoded(path: Path, unit: Unit, transcriber: Transcriber, batches: Sequence[Sequence[Item]]) -> list[Row]:
    """Return the rows of a unit, decoded now unless they are kept."""
    if path.is_file():
        return pickle.loads(path.read_bytes())
    rows = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"{unit.system}, {unit.split}, {unit.task}", total=sum(map(len, batches)))
        for row in decode_rows(transcriber, batches):
            rows.append(row)
            progress.advance(bar)
    with atomic_write(path, mode="wb") as file:
        pickle.dump(rows, file)
    return rows


def summarised(evaluations: Mapping[tuple[str, str], Evaluation], facts: Mapping[str, SegmentFacts]) -> dict[str, Any]:
    """Return scores of every system, split, group and task, and what pruning changes in each."""
    names = list(dict.fromkeys(name for name, _ in evaluations))
    splits = list(dict.fromkeys(split for _, split in evaluations))
    better: dict[str, str] = {}
    scores: list[dict[str, Any]] = []
    for split in splits:
        first = evaluations[DENSE, split]
        base = {name: in_order_of(first, evaluations[name, split]).counted for name in names}
        better = better or {task: better_dense(base, task) for task in TASKS}
        for group, selected in groups(base[DENSE], facts):
            for task in TASKS:
                chosen = selected & base[DENSE].where(lambda row, task=task: row.task == task)
                if not chosen.any():
                    continue
                for name in names:
                    compared = None if name in (DENSE, DENSE_ONLY) else base[better[task]]
                    scores.append(
                        {"split": split, "group": group, "task": task, "system": name}
                        | _score(base[name], chosen, task, compared)
                    )
    return {"better_dense": better, "scores": scores}


def better_dense(systems: Mapping[str, CountedRows], task: str) -> str:
    """Return which dense system does a task better."""
    (metric, *_), scores = metrics_of(task), {}
    for name in [name for name in (DENSE, DENSE_ONLY) if name in systems]:
        rows = systems[name]
        scores[name] = metric.corpus_score(rows.counts[metric.name][rows.where(lambda row: row.task == task)])
    return best_at(task, scores)


def groups(rows: CountedRows, facts: Mapping[str, SegmentFacts]) -> Iterator[tuple[str, Selection]]:
    """Yield the rows of each group that has some."""
    yield "all", rows.where(lambda row: True)
    for language in sorted({row.language for row in rows.rows}):
        yield language, rows.where(lambda row, language=language: row.language == language)
    for name, condition in (SNR | ROOMS).items():
        selected = rows.where(lambda row, condition=condition: condition(facts.get(row.id)))
        if selected.any():
            yield name, selected


def _score(rows: CountedRows, selected: Selection, task: str, dense: CountedRows | None) -> dict[str, Any]:
    summary = rows.summary(selected)
    scored = metrics_of(task)[0]
    metric = scored.name
    found = {
        "utterances": summary["utterances"],
        "speakers": summary["speakers"],
        "metric": metric,
        "value": summary[metric],
        "interval": summary[f"{metric}_interval"],
        "sparsity": summary["sparsity"],
        "macs": summary["macs"]["total"] / summary["macs"]["dense_total"],
    }
    if dense is None:
        return found
    difference = dense.difference(rows, scored, selected)
    assert difference is not None
    return found | {
        "difference": difference.absolute,
        "difference_interval": interval_record(difference.absolute_interval),
        "relative": difference.relative,
        "relative_interval": interval_record(difference.relative_interval),
    }


def verdicts(record: Mapping[str, Any]) -> list[str]:
    """Return whether half of the decoder may be skipped, task by task, on the first split."""
    lines = []
    for row in record["scores"]:
        if row["system"] != CLAIM or row["group"] != "all" or row["split"] != record["scores"][0]["split"]:
            continue
        asr = row["task"] == "asr"
        bound = row["relative_interval"][1] if asr else row["difference_interval"][0]
        limit = MAY_LOSE[row["task"]]
        met = bound <= limit if asr else bound >= limit
        told = (
            f"upper bound {bound:+.1f} %, at most {limit:+g} %"
            if asr
            else f"lower bound {bound:+.2f}, at least {limit:+g}"
        )
        dense = record["better_dense"][row["task"]]
        lines.append(f"{CLAIM}, {row['task']} against {dense}: {told}: {'met' if met else 'missed'}")
    return lines


def table(record: Mapping[str, Any]) -> Table:
    """Return the whole of each split, a line a system."""
    shown = Table(title="whole splits; brackets are 95 % intervals")
    for column in ("split", "system", "task", "score", "against the better dense", "closed enc. / dec.", "MACs"):
        shown.add_column(column)
    for row in record["scores"]:
        if row["group"] != "all":
            continue
        low, high = row["interval"]
        change = ""
        if "difference" in row:
            below, above = row["difference_interval"]
            change = f"{row['difference']:+.1f} ({below:+.1f} to {above:+.1f})"
        closed = " / ".join("-" if share is None else f"{share:.0%}" for share in row["sparsity"].values())
        score = f"{row['metric'].upper()} {row['value']:.1f} ({low:.1f} to {high:.1f})"
        shown.add_row(row["split"], row["system"], row["task"], score, change, closed, f"{row['macs']:.2f}")
    return shown


def write(output: Path, record: Mapping[str, Any]) -> None:
    """Write the numbers as JSON, and as one flat table."""
    with atomic_write(output / "conditions.json") as file:
        json.dump(record, file, indent=1, ensure_ascii=False)
    columns = ["split", "group", "task", "system", "utterances", "speakers", "metric", "value", "low", "high"]
    columns += ["difference", "difference_low", "difference_high", "relative", "relative_low", "relative_high"]
    columns += ["sparsity_encoder", "sparsity_decoder", "macs"]
    with atomic_write(output / "conditions.csv") as file:
        lines = csv.DictWriter(file, fieldnames=columns, lineterminator="\n", extrasaction="ignore")
        lines.writeheader()
        for row in record["scores"]:
            flat = dict(row) | {f"sparsity_{stack}": share for stack, share in row["sparsity"].items()}
            for name, prefix in (
                ("interval", ""),
                ("difference_interval", "difference_"),
                ("relative_interval", "relative_"),
            ):
                low, high = row.get(name) or (None, None)
                flat |= {f"{prefix}low": low, f"{prefix}high": high}
            lines.writerow(flat)


if __name__ == "__main__":
    run_script(main)
