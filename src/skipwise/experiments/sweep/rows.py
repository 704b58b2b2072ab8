"""Rows of a cell: one an utterance, task and system, with counts enough to resample any score of any group of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import SegmentFacts, read_sidecar, sidecar_path
from skipwise.errors import SkipwiseError
from skipwise.evaluation.rows import Row
from skipwise.evaluation.scores import BLEU, CHRF, WER
from skipwise.experiments.sweep.systems import System
from skipwise.gating import GatePlan, GateSite
from skipwise.gating.sites import STACKS

OPEN_BIT, CLOSED_BIT, NO_GATE = "1", "0", "-"
"""What a plan is written with, a character a site of the base in its order."""

TidyRow = dict[str, Any]


def tidy_rows(
    labels: Mapping[str, Any],
    decoded: Sequence[tuple[System, int, Row]],
    sites: Sequence[GateSite],
    facts: Mapping[str, SegmentFacts],
) -> list[TidyRow]:
    """Return the rows of what was decoded; `facts` are what is known of utterances beyond their lists, by id."""
    counts = _counts([row for _, _, row in decoded])
    rows = []
    for (system, batch, row), counted in zip(decoded, counts, strict=True):
        fact = facts.get(row.id)
        rows.append(
            {
                **labels,
                "condition": system.condition,
                "asked": system.asked,
                "task": row.task,
                "language": row.language,
                "speaker": row.speaker,
                "id": row.id,
                "batch": batch,
                "snr_db": None if fact is None else fact.snr_db,
                "noise": None if fact is None else fact.noise,
                "room": None if fact is None else fact.room,
                "reference": row.reference,
                "hypothesis": row.hypothesis,
                **counted,
                "tokens": row.num_tokens,
                "hit_limit": row.hit_limit,
                "loops": row.loops,
                **_plans(row, sites),
                **{f"macs_{stack}": row.macs[stack] for stack in STACKS},
                **{f"dense_macs_{stack}": row.dense_macs[stack] for stack in STACKS},
                "audio_s": row.timings.audio_s,
                "features_s": row.timings.features_s,
                "encoder_s": row.timings.encoder_s,
                "decoder_s": row.timings.decoder_s,
            }
        )
    return rows


def facts_of(root: Path, utterances: Iterable[Utterance]) -> dict[str, SegmentFacts]:
    """Return what sidecars below `root` know of utterances, by id; nothing where there are none."""
    paths = {sidecar_path(root, utterance.language) for utterance in utterances}
    return {fact.id: fact for path in sorted(paths) if path.is_file() for fact in read_sidecar(path)}


def write_rows(path: Path, rows: Iterable[TidyRow]) -> None:
    """Write rows as JSON lines; the file appears whole or not at all."""
    with atomic_write(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_rows(path: Path) -> Iterator[TidyRow]:
    """Yield the rows of a file.

    Raises:
        SkipwiseError: for a line that is not JSON.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SkipwiseError(
                    f"{path}, line {number}, is not JSON: {error.msg}. Remove the file and call the sweep again."
                ) from error


def _counts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """WER's counts of transcriptions, BLEU's and chrF's of translations: the columns of evaluation/scores.py."""
    found: list[dict[str, Any]] = [{"wer_counts": None, "bleu_counts": None, "chrf_counts": None} for _ in rows]
    for metric, is_scored in ((WER, True), (BLEU, False), (CHRF, False)):
        places = [place for place, row in enumerate(rows) if (row.task == "asr") == is_scored]
        for place, counts in zip(places, metric.count([rows[place].pair for place in places]).tolist(), strict=True):
            found[place][f"{metric.name}_counts"] = counts
    return found


def _plans(row: Row, sites: Sequence[GateSite]) -> dict[str, Any]:
    """The plans as texts, one a window, those of steps one a position; and what share of each stack they close."""
    decided = [*row.plans, *row.step_plans]
    shares = {}
    for stack in STACKS:
        parts = [plan.of_stack(stack) for plan in decided]
        found = [part.sparsity() for part in parts if part.sites]
        shares[f"sparsity_{stack}"] = sum(found) / len(found) if found else None
    return {
        "plans": [_bits(plan, sites)[0] for plan in row.plans],
        "step_plans": [_bits(plan, sites) for plan in row.step_plans],
        **shares,
    }


def _bits(plan: GatePlan, sites: Sequence[GateSite]) -> list[str]:
    """One text a position of a one-row plan; a single one where it is not stepwise."""
    columns = {site: column for column, site in enumerate(plan.sites)}
    gates = (plan.gates[0] if plan.is_stepwise else plan.gates).tolist()
    return [
        "".join(
            NO_GATE if site not in columns else OPEN_BIT if position[columns[site]] else CLOSED_BIT for site in sites
        )
        for position in gates
    ]
