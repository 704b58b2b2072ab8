"""Results of a sweep: one tidy row a cell, system, task and language, and all utterances' rows in one table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from skipwise.atomic import atomic_write
from skipwise.evaluation.intervals import median_interval, score_interval
from skipwise.evaluation.scores import BLEU, WER, Metric
from skipwise.experiments.sweep.folder import CellFolder
from skipwise.experiments.sweep.rows import TidyRow, read_rows
from skipwise.gating.sites import STACKS

RESULTS_FILE = "results.jsonl"
ALL_LANGUAGES = "all"

KEYS = (
    "run",
    "seed",
    "scope",
    "target",
    "elastic",
    "predictor",
    "granularity",
    "base",
    "trained_tasks",
    "condition",
    "asked",
    "task",
)
"""Columns that are the same in all rows of a group; `language` is the other key."""

_SECONDS = ("audio_s", "features_s", "encoder_s", "decoder_s")
_SEED = 0


def metric_of(task: str) -> Metric:
    """Return what a task is scored by in results: WER, lower is better, or BLEU, higher is."""
    return WER if task == "asr" else BLEU


def counts_of(rows: Sequence[TidyRow], metric: Metric) -> Int[np.ndarray, "rows counts"]:
    """Return the counts of a metric that rows hold."""
    return np.array([row[f"{metric.name}_counts"] for row in rows], dtype=np.int64)


def write_results(root: Path, folders: Sequence[Path]) -> list[Path]:
    """Write the results of finished cells, as JSON lines and, where pyarrow is there, as Parquet with all utterances.

    Returns what was written.
    """
    results = [result for folder in folders for result in cell_results(list(read_rows(CellFolder(folder).rows)))]
    written = [root / RESULTS_FILE]
    with atomic_write(written[0]) as file:
        file.writelines(json.dumps(result, ensure_ascii=False) + "\n" for result in results)
    if find_spec("pyarrow") is None:
        return written
    written += [root / "results.parquet", root / "utterances.parquet"]
    _write_parquet(written[1], [results], _result_schema(results))
    every = (list(read_rows(CellFolder(folder).rows)) for folder in folders)
    _write_parquet(written[2], every, _utterance_schema())
    return written


def cell_results(rows: Sequence[TidyRow]) -> list[dict[str, Any]]:
    """Return the results of a cell's rows: each system and task, over all languages and in each."""
    groups: defaultdict[tuple[Any, ...], list[TidyRow]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in KEYS)
        groups[(*key, ALL_LANGUAGES)].append(row)
        groups[(*key, row["language"])].append(row)
    dense_s = _dense_seconds(rows)
    return [
        dict(zip((*KEYS, "language"), key, strict=True)) | _numbers(group, dense_s) for key, group in groups.items()
    ]


def seconds_of(row: TidyRow) -> float:
    """Return the seconds that a system took for an utterance."""
    return float(row["features_s"] + row["encoder_s"] + row["decoder_s"])


def _dense_seconds(rows: Sequence[TidyRow]) -> dict[tuple[str, str], float]:
    """Seconds of the dense system for each utterance and task: of the yardstick, where there is one."""
    conditions = {row["condition"] for row in rows}
    dense = "yardstick" if "yardstick" in conditions else "open"
    return {(row["id"], row["task"]): seconds_of(row) for row in rows if row["condition"] == dense}


def _numbers(rows: Sequence[TidyRow], dense_s: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    metric = metric_of(rows[0]["task"])
    counts = counts_of(rows, metric)
    interval = score_interval(metric, counts, [row["speaker"] for row in rows], seed=_SEED)
    return {
        "utterances": len(rows),
        "speakers": len({row["speaker"] for row in rows}),
        "metric": metric.name,
        "score": metric.corpus_score(counts),
        "score_low": interval.low if interval else None,
        "score_high": interval.high if interval else None,
        **{f"{each.name}_counts": counts.sum(axis=0).tolist() if each is metric else None for each in (WER, BLEU)},
        **{f"sparsity_{stack}": _mean(row[f"sparsity_{stack}"] for row in rows) for stack in STACKS},
        "macs_share": _share_of_macs(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "hit_limit": _mean(row["hit_limit"] for row in rows),
        "loops": _mean(row["loops"] for row in rows),
        **{name: sum(row[name] for row in rows) for name in _SECONDS},
        **_time_ratio(rows, dense_s),
    }


def _time_ratio(rows: Sequence[TidyRow], dense_s: Mapping[tuple[str, str], float]) -> dict[str, float | None]:
    """The median over batches of their seconds over those of the dense system for the same utterances."""
    own: defaultdict[int, float] = defaultdict(float)
    dense: defaultdict[int, float] = defaultdict(float)
    for row in rows:
        own[row["batch"]] += seconds_of(row)
        dense[row["batch"]] += dense_s[row["id"], row["task"]]
    ratios = np.array([own[batch] / dense[batch] for batch in own if dense[batch] > 0])
    interval = median_interval(ratios, seed=_SEED)
    return {
        "time_ratio": float(np.median(ratios)) if ratios.size else None,
        "time_ratio_low": interval.low if interval else None,
        "time_ratio_high": interval.high if interval else None,
    }


def _share_of_macs(rows: Sequence[TidyRow]) -> float | None:
    run = sum(row[f"macs_{stack}"] for row in rows for stack in STACKS)
    dense = sum(row[f"dense_macs_{stack}"] for row in rows for stack in STACKS)
    return run / dense if dense else None


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _write_parquet(path: Path, tables: Iterable[Sequence[TidyRow]], schema: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with atomic_write(path, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for rows in tables:
            writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))


def _utterance_schema() -> Any:
    """The columns of `tidy_rows`."""
    import pyarrow as pa

    texts = ("run", "scope", "predictor", "granularity", "base", "trained_tasks", "condition", "task", "language")
    kinds = {
        pa.string(): (*texts, "speaker", "id", "noise", "room", "reference", "hypothesis"),
        pa.float64(): ("target", "asked", "snr_db", *(f"sparsity_{stack}" for stack in STACKS), *_SECONDS),
        pa.int64(): ("seed", "batch", "tokens", *(f"{of}macs_{stack}" for of in ("", "dense_") for stack in STACKS)),
        pa.bool_(): ("elastic", "hit_limit", "loops"),
        pa.list_(pa.int64()): ("wer_counts", "bleu_counts", "chrf_counts"),
        pa.list_(pa.string()): ("plans",),
        pa.list_(pa.list_(pa.string())): ("step_plans",),
    }
    return pa.schema([(name, kind) for kind, names in kinds.items() for name in names])


def _result_schema(results: Sequence[dict[str, Any]]) -> Any:
    """The columns of results, each of the type that its values have."""
    import pyarrow as pa

    columns = {name: pa.array([result[name] for result in results]).type for name in results[0]}
    return pa.schema([(name, pa.float64() if kind == pa.null() else kind) for name, kind in columns.items()])
