"""Benchmarks of the engine alone: each measures one thing of a subject and returns a record for JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from skipwise.evaluation.cost import count_macs
from skipwise.experiments.bench.plans import mixed_plan, uniform_plan
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.site_costs import MERGE, Seconds, decoder_site_seconds, encoder_site_seconds
from skipwise.experiments.bench.subject import Subject, decode_once, encode_once
from skipwise.experiments.bench.timing import Rounds, Work, take_turns, timed
from skipwise.gating import AdapterPlanner, Context, GateAdapter, GateConfig, GatePlan, GateSite, Stack
from skipwise.gating.branch import RowGate, add_branch
from skipwise.gating.steps import StepPlanner
from skipwise.models.attach import describe_base

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SCOPES: Mapping[str, tuple[Stack, ...]] = {
    "decoder": ("decoder",),
    "encoder": ("encoder",),
    "both": ("encoder", "decoder"),
}
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MIXED_ROWS = 16

_CLOSED_CALLS = 2000


def measure_dtypes(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Encoder, prefill and time per token of every precision, for all lengths and beams."""
    found = {}
    for audio_s in settings.audio_s:
        works = _encoders(subject, settings, audio_s)
        encoded = subject.encoded(audio_s, dtype=settings.dtypes[0])
        for beam_size in settings.beam_sizes:
            works |= {
                f"{dtype}, beam {beam_size}": partial(
                    decode_once,
                    subject.engine(dtype),
                    encoded,
                    subject.prompt,
                    num_tokens=settings.num_tokens,
                    beam_size=beam_size,
                )
                for dtype in settings.dtypes
            }
        found[f"{audio_s} s"] = take_turns(works, rounds=settings.rounds, on_round=on_round).to_dict()
    return {"by_audio": found}


def _encoders(subject: Subject, settings: BenchSettings, audio_s: int) -> dict[str, Work]:
    waveforms = [subject.audio(audio_s)]
    return {
        f"{dtype}, encoder": partial(encode_once, subject.engine(dtype), waveforms)
        for dtype in settings.dtypes
        if dtype != "fp16-packed"  # the encoder is not packed
    }


def measure_sparsity(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Time against sparsity for decoder, encoder and both, and the ideal: dense less what the closed sites took."""
    audio_s, beam_size = max(settings.audio_s), settings.beam_sizes[0]
    engine, sites = subject.engine(), subject.network.config.gate_sites()
    waveforms, encoded = [subject.audio(audio_s)], subject.encoded(audio_s)
    plans = {f"{scope} {share:g}": uniform_plan(sites, SCOPES[scope], share) for scope in SCOPES for share in SHARES}
    decode = partial(decode_once, engine, encoded, subject.prompt, num_tokens=settings.num_tokens, beam_size=beam_size)
    works: dict[str, Work] = {}
    for name, plan in plans.items():
        stacks = SCOPES[name.split()[0]]
        parts: list[Work] = []
        if "encoder" in stacks:
            parts.append(partial(encode_once, engine, waveforms, plan))
        if "decoder" in stacks:
            parts.append(partial(decode, plan=plan))
        works[name] = partial(_all_parts, parts)
    rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    costs = encoder_site_seconds(engine, waveforms, rounds=settings.rounds) | decoder_site_seconds(
        engine,
        encoded,
        subject.prompt,
        num_tokens=settings.num_tokens,
        beam_size=beam_size,
        rounds=settings.rounds,
    )
    return {
        "audio_s": audio_s,
        "beam_size": beam_size,
        "curves": {scope: _curve(scope, rounds, plans, costs) for scope in SCOPES},
        "closed_site_us": 1e6 * closed_site_s(subject),
        "open_site_us": {
            stack: 1e6
            * sum(seconds for site, seconds in costs.items() if site.stack == stack and site.kind != MERGE)
            / max(1, sum(site.stack == stack for site in sites))
            / (settings.num_tokens + 1 if stack == "decoder" else 1)
            for stack in ("encoder", "decoder")
        },
    }


def _all_parts(works: list[Work]) -> Mapping[str, float]:
    parts: dict[str, float] = {}
    for work in works:
        parts |= work()
    return parts | {"total": sum(parts.get(name, 0.0) for name in ("encoder", "decoder"))}


def _curve(scope: str, rounds: Rounds, plans: Mapping[str, GatePlan], costs: Seconds) -> list[dict[str, Any]]:
    """The points of a scope: sparsity, time and ideal time as shares of the dense run of the same round."""
    dense = f"{scope} 0"
    dense_s = rounds.median_s(dense, "total")
    points = []
    for share in SHARES:
        name = f"{scope} {share:g}"
        ratio = rounds.ratio(name, dense, "total")
        saved_s = saved_seconds(plans[name], costs)
        cut, ideal_cut = 1 - ratio.median, saved_s / dense_s
        points.append(
            {
                "asked": share,
                "sparsity": {stack: plans[name].sparsity(stack) for stack in SCOPES[scope]},
                "time": asdict(ratio),
                "ideal": 1 - ideal_cut,
                "cut_over_ideal": cut / ideal_cut if share else None,
                "median_s": rounds.median_s(name, "total"),
            }
        )
    return points


def saved_seconds(plan: GatePlan, costs: Seconds) -> float:
    """Return what the closed sites of a plan took in a dense run; a merge is saved with both of its branches."""
    closed = set(plan.closed())
    saved = sum(costs[site] for site in closed)
    for site, seconds in costs.items():
        branches = {GateSite("encoder", site.layer, kind) for kind in ("self_attn", "cgmlp")}
        if site.kind == MERGE and branches <= closed:
            saved += seconds
    return saved


def closed_site_s(subject: Subject) -> float:
    """Return the seconds that passing a closed site takes."""
    hidden = torch.zeros(1, 1, subject.network.config.hidden_size)
    gate = RowGate(torch.zeros(0, dtype=torch.long), 1)

    def never(*_: Any) -> torch.Tensor:
        raise AssertionError("a closed branch ran")

    def work() -> Mapping[str, float]:
        start = time.perf_counter()
        for _ in range(_CLOSED_CALLS):
            add_branch(hidden, never, gate)
        return {"call": (time.perf_counter() - start) / _CLOSED_CALLS}

    return take_turns({"closed": work}, rounds=5).median_s("closed", "call")


def measure_batch(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Throughput against batch size, and 16 utterances with plans of their own against 16 under one of equal cost."""
    audio_s, engine = min(settings.audio_s), subject.engine()
    sites, works, batches = subject.network.config.gate_sites(), {}, {}
    for size in BATCH_SIZES:
        waveforms = [subject.audio(audio_s) for _ in range(size)]
        batches[size] = subject.encoded(audio_s, batch_size=size)
        works[f"batch {size}"] = partial(
            _all_parts,
            [
                partial(encode_once, engine, waveforms),
                partial(decode_once, engine, batches[size], subject.prompt, num_tokens=settings.num_tokens),
            ],
        )
    uniform = uniform_plan(sites, ("decoder",), 0.5)
    plans = {"uniform": uniform, "mixed": mixed_plan(uniform, MIXED_ROWS, seed=settings.seed)}
    works |= {
        name: partial(
            decode_once,
            engine,
            batches[MIXED_ROWS],
            subject.prompt,
            num_tokens=settings.num_tokens,
            plan=plan.of_stack("decoder"),
        )
        for name, plan in plans.items()
    }
    rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    return {
        "audio_s": audio_s,
        "throughput": {
            size: {
                "tokens_per_s": size / rounds.median_s(f"batch {size}", "token"),
                "encoder_rtfx": size * audio_s / rounds.median_s(f"batch {size}", "encoder"),
            }
            for size in BATCH_SIZES
        },
        "mixed_over_uniform_throughput": asdict(rounds.ratio("uniform", "mixed", "token")),
        "rounds": rounds.to_dict(),
    }


def measure_planner(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """What deciding takes, beside encoding and decoding: both stacks' plans once, and the decoder's at every step.

    The gates of every step are fresh ones, which leave everything open: all that they add is what deciding costs.
    """
    network, engine = subject.network, subject.engine()
    audio_s, base = max(settings.audio_s), describe_base(network)
    adapter = network.gate_adapter or GateAdapter(GateConfig(scope="both"), base)
    every_step = AdapterPlanner(GateAdapter(GateConfig(scope="decoder", granularity="step"), base))
    contexts = [Context(language=network.config.languages[0], task=network.config.tasks[0])]
    waveforms, encoded = [subject.audio(audio_s)], subject.encoded(audio_s)
    pooled = encoded.pooled()
    decode = partial(decode_once, engine, encoded, subject.prompt, num_tokens=settings.num_tokens)

    def plan() -> Mapping[str, float]:
        start = time.perf_counter()
        for stack in ("encoder", "decoder"):
            adapter.plan(stack, contexts, pooled)
        return {"total": time.perf_counter() - start}

    def steps() -> Mapping[str, float]:
        gates = every_step.decoder(contexts, pooled)
        assert isinstance(gates, StepPlanner)
        return decode(plan=gates)

    works: dict[str, Work] = {
        "plan": plan,
        "dense": partial(_all_parts, [partial(encode_once, engine, waveforms), decode]),
        "steps": steps,
    }
    rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    return {
        "audio_s": audio_s,
        "plan_over_dense": asdict(rounds.ratio("plan", "dense", "total")),
        "steps_over_dense": asdict(rounds.ratio("steps", "dense", "token")),
        **rounds.to_dict(),
    }


def measure_roofline(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Bytes and operations a second, beside what this machine reads and multiplies at most."""
    engine, config = subject.engine(), subject.network.config
    audio_s = max(settings.audio_s)
    encoded, waveforms = subject.encoded(audio_s), [subject.audio(audio_s)]
    many, square = torch.zeros(128 * 2**20 // 4), torch.randn(1536, 1536)
    works: dict[str, Work] = {
        "read": partial(_timed_part, "s", many.sum),
        "multiply": partial(_timed_part, "s", lambda: torch.mm(square, square)),
        "encode": partial(encode_once, engine, waveforms),
        "decode": partial(decode_once, engine, encoded, subject.prompt, num_tokens=settings.num_tokens),
    }
    rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    branches = [branch for layer in engine.decoder.layers for branch in (layer.self_attn, layer.src_attn, layer.ffn)]
    weights = sum(branch.num_weight_bytes for branch in branches)
    key_values = 2 * 4 * config.decoder_layers * encoded.states.shape[1] * config.hidden_size
    step_bytes = weights + engine.decoder.num_output_bytes + key_values
    macs = count_macs(config, duration_s=audio_s, num_prompt_tokens=len(subject.prompt), num_fed_tokens=0).encoder
    return {
        "audio_s": audio_s,
        "machine": {
            "read_gb_s": many.numel() * 4 / rounds.median_s("read", "s") / 1e9,
            "fp32_gflop_s": 2 * square.shape[0] ** 3 / rounds.median_s("multiply", "s") / 1e9,
        },
        "step": {"bytes": step_bytes, "gb_s": step_bytes / rounds.median_s("decode", "token") / 1e9},
        "encoder": {"macs": macs, "gflop_s": 2 * macs / rounds.median_s("encode", "encoder") / 1e9},
        "rounds": rounds.to_dict(),
    }


def _timed_part(name: str, work: Callable[[], object]) -> Mapping[str, float]:
    return {name: timed(work)}
