"""What is made of the seconds of ESPnet and of our engine: how many times as fast each of our rows is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from skipwise.experiments.bench.espnet_works import PEERS, TO_END, PrunedRow, encoder_dtype, encoder_dtypes
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.timing import Rounds

_Ratios = dict[str, dict[str, Any]]


def ratios_to_espnet(rounds: Rounds, settings: BenchSettings, rows: list[PrunedRow]) -> dict[str, _Ratios]:
    """Return `ratios` of encoders and decoders, and `whole_ratios` of encoder and decoder together, by our rows.

    `espnet, token` is how many times as long ESPnet takes for a token; `dense, token` is our own dense engine's.
    """
    ratios = _encoder_ratios(rounds, settings, rows)
    for beam_size in settings.beam_sizes:
        for dtype in settings.dtypes:
            dense = f"{dtype}, beam {beam_size}"
            ratios[dense] = _to_peers(rounds, dense, f", beam {beam_size}", ("token", "decoder"))
            for row in rows:
                if row.decoder_how == row.how:
                    name = f"{dtype}, {row.how}, beam {beam_size}"
                    ratios[name] = _to_peers(rounds, name, f", beam {beam_size}", ("token", "decoder"))
                    ratios[name]["dense, token"] = asdict(rounds.ratio(dense, name, "token"))
            to_end = f"{dtype}, {TO_END}, beam {beam_size}"
            ratios[to_end] = _to_peers(rounds, to_end, f", {TO_END}, beam {beam_size}", ("decoder",))
    return {"ratios": ratios, "whole_ratios": _whole_ratios(rounds, settings, rows)}


def _to_peers(rounds: Rounds, ours: str, suffix: str, parts: tuple[str, ...]) -> dict[str, Any]:
    return {f"{peer}, {part}": asdict(rounds.ratio(f"{peer}{suffix}", ours, part)) for peer in PEERS for part in parts}


def _encoder_ratios(rounds: Rounds, settings: BenchSettings, rows: list[PrunedRow]) -> _Ratios:
    found: _Ratios = {}
    for dtype in encoder_dtypes(settings):
        dense = f"{dtype}, encoder"
        found[dense] = {"espnet": asdict(rounds.ratio("espnet, encoder", dense, "encoder"))}
        for name in (f"{dtype}, {row.how}, encoder" for row in rows if row.prunes_encoder):
            found[name] = {
                "espnet": asdict(rounds.ratio("espnet, encoder", name, "encoder")),
                "dense": asdict(rounds.ratio(dense, name, "encoder")),
            }
    return found


def _whole_ratios(rounds: Rounds, settings: BenchSettings, rows: list[PrunedRow]) -> _Ratios:
    """Encoder and decoder of the same round, added up."""
    found: _Ratios = {}
    for beam_size in settings.beam_sizes:
        beam = f", beam {beam_size}"
        sums = {f"{peer}{beam}": [("espnet, encoder", "encoder"), (f"{peer}{beam}", "decoder")] for peer in PEERS}
        natural = {
            f"{peer}, {TO_END}{beam}": [("espnet, encoder", "encoder"), (f"{peer}, {TO_END}{beam}", "decoder")]
            for peer in PEERS
        }
        ours: dict[str, list[tuple[str, str]]] = {}
        for dtype in settings.dtypes:
            encoder = encoder_dtype(dtype)
            ours[f"{dtype}{beam}"] = [(f"{encoder}, encoder", "encoder"), (f"{dtype}{beam}", "decoder")]
            for row in rows:
                own = f"{encoder}, {row.how}, encoder" if row.prunes_encoder else f"{encoder}, encoder"
                ours[f"{dtype}, {row.how}{beam}"] = [
                    (own, "encoder"),
                    (f"{dtype}, {row.decoder_how}{beam}", "decoder"),
                ]
            to_end = f"{dtype}, {TO_END}{beam}"
            ours[to_end] = [(f"{encoder}, encoder", "encoder"), (to_end, "decoder")]
        whole = rounds.with_sums({f"whole {name}": parts for name, parts in {**sums, **natural, **ours}.items()})
        for name in ours:
            end = f", {TO_END}{beam}" if TO_END in name else beam
            found[name] = {peer: asdict(whole.ratio(f"whole {peer}{end}", f"whole {name}", "total")) for peer in PEERS}
    return found
