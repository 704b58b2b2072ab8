"""The benchmarks by name."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skipwise.experiments.bench.cell import Cell, OnRound, Workbench, of_subject
from skipwise.experiments.bench.cells import (
    measure_batch,
    measure_dtypes,
    measure_planner,
    measure_roofline,
    measure_sparsity,
)
from skipwise.experiments.bench.cost import measure_costs
from skipwise.experiments.bench.espnet_process import run_espnet
from skipwise.experiments.bench.generate import measure_generate
from skipwise.experiments.bench.memory import measure_memory
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.whisper import measure_whisper
from skipwise.models.owsm.loading import save_owsm

COST_FILE = "cost_table.json"


def _rounds(settings: BenchSettings) -> int:
    return settings.rounds + 1


def _rounds_by_audio(settings: BenchSettings) -> int:
    return len(settings.audio_s) * (settings.rounds + 1)


def _memory(bench: Workbench, on_round: OnRound) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        save_owsm(Path(folder) / "model", bench.subject.network, bench.subject.model.vocabulary)
        return measure_memory(Path(folder) / "model", bench.settings, on_round)


def _cost(bench: Workbench, on_round: OnRound) -> Mapping[str, Any]:
    table = measure_costs(bench.subject, bench.settings)
    table.save(bench.output / COST_FILE)
    on_round()
    return {"table": COST_FILE, "rest_ms": dict(table.rest_ms)}


CELLS: dict[str, Cell] = {
    "dtypes": Cell("every precision: encoder, prefill, time per token", of_subject(measure_dtypes), _rounds_by_audio),
    "sparsity": Cell("time against sparsity, with the ideal", of_subject(measure_sparsity), _rounds),
    "batch": Cell("throughput against batch size; plans that differ against one", of_subject(measure_batch), _rounds),
    "planner": Cell("what deciding takes, once and at every step", of_subject(measure_planner), _rounds),
    "roofline": Cell("bytes and operations a second against the machine's", of_subject(measure_roofline), _rounds),
    "generate": Cell(
        "our search beside transformers' generate(), and dense beside pruned", of_subject(measure_generate), _rounds
    ),
    "espnet": Cell(
        "dense ESPnet, as it is and with keys and values of source attention projected once, beside our engine, dense "
        "and pruned, on the same weights",
        run_espnet,
        _rounds_by_audio,
    ),
    "whisper": Cell("transformers' Whisper and CTranslate2's of like size", of_subject(measure_whisper), _rounds),
    "memory": Cell(
        "loading, packing, first token, peak memory, cold start", _memory, lambda settings: len(settings.dtypes) + 1
    ),
    "cost": Cell("the cost table: MACs, bytes and milliseconds of every site", _cost, lambda settings: 1),
}
