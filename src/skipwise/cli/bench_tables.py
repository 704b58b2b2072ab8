"""Tables of `skipwise bench` for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def tables_of(name: str, record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield what a benchmark's record says at a glance; nothing for one that is a file to be read by programs."""
    if name in _TABLES:
        yield from _TABLES[name](record)


def _dtype_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    for audio, found in record["by_audio"].items():
        yield _seconds_table(f"{audio} of audio", found)


def _espnet_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    for audio, found in record["by_audio"].items():
        yield _ratio_table(f"against ESPnet, {audio} of audio: times as fast", found["ratios"])
        yield _agreement_table(found["same_tokens"])


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _seconds_table(title: str, rounds: Mapping[str, Any]) -> Table:
    parts = list(dict.fromkeys(part for found in rounds.values() for part in found))
    table = _table(title, "ms", *parts)
    for work, found in rounds.items():
        table.add_row(work, *(f"{1e3 * found[part]['median_s']:.2f}" if part in found else "" for part in parts))
    return table


def _ratio_table(title: str, ratios: Mapping[str, Any]) -> Table:
    columns = list(dict.fromkeys(name for found in ratios.values() for name in found))
    table = _table(title, "", *columns)
    for ours, found in ratios.items():
        table.add_row(ours, *(_ratio(found[name]) if name in found else "" for name in columns))
    return table


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


def _agreement_table(same: Mapping[str, Any]) -> Table:
    table = _table("hypotheses that are ESPnet's, token for token", "", "same", "of")
    for name, found in same.items():
        table.add_row(name, str(found["same"]), str(found["of"]))
    return table


def _sparsity_table(record: Mapping[str, Any]) -> Table:
    scopes = list(record["curves"])
    table = _table("time of dense = 1 (ideal)", "closed", *scopes)
    for points in zip(*record["curves"].values(), strict=True):
        cells = (f"{point['time']['median']:.2f} ({point['ideal']:.2f})" for point in points)
        table.add_row(f"{points[0]['asked']:.0%}", *cells)
    return table


def _batch_table(record: Mapping[str, Any]) -> Table:
    table = _table("throughput", "utterances at once", "tokens/s", "encoder, times real time")
    for size, found in record["throughput"].items():
        table.add_row(str(size), f"{found['tokens_per_s']:.0f}", f"{found['encoder_rtfx']:.1f}")
    table.add_row("16, plans of their own / one plan", _ratio(record["mixed_over_uniform_throughput"]), "")
    return table


def _planner_table(record: Mapping[str, Any]) -> Table:
    table = _table("what deciding takes", "", "share")
    table.add_row("both plans, of the dense time", f"{record['plan_over_dense']['median']:.3%}")
    table.add_row("plans of every step, of a dense step", f"{record['steps_over_dense']['median'] - 1:.1%}")
    return table


def _roofline_table(record: Mapping[str, Any]) -> Table:
    machine = record["machine"]
    table = _table("roofline", "", "reached", "machine")
    table.add_row("decoding step, GB/s", f"{record['step']['gb_s']:.1f}", f"{machine['read_gb_s']:.1f}")
    table.add_row("encoder, GFLOP/s", f"{record['encoder']['gflop_s']:.1f}", f"{machine['fp32_gflop_s']:.1f}")
    return table


def _memory_table(record: Mapping[str, Any]) -> Table:
    found = record["by_dtype"]
    table = _table("memory and latency", "", *found)
    for name in next(iter(found.values())):
        table.add_row(name, *(f"{found[dtype][name]:.2f}" for dtype in found))
    for name, parts in record["cold_start"].items():
        table.add_row(f"{name}, s", f"{parts['total']['median_s']:.2f}")
    return table


_TABLES: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Table]]] = {
    "dtypes": _dtype_tables,
    "espnet": _espnet_tables,
    "whisper": lambda record: [
        _seconds_table("one Whisper, and the OWSM of its size", record["rounds"]),
        _ratio_table("our engine on the same weights, a token: times as fast", record["token_ratios"]),
        _ratio_table("the encoder: times as fast", record["encoder_ratios"]),
    ],
    "sparsity": lambda record: [_sparsity_table(record)],
    "generate": lambda record: [_seconds_table("greedy search", record["rounds"])],
    "batch": lambda record: [_batch_table(record)],
    "planner": lambda record: [_planner_table(record)],
    "roofline": lambda record: [_roofline_table(record)],
    "memory": lambda record: [_memory_table(record)],
}
