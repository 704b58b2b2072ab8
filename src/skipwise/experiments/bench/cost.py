"""The cost table of a model: MACs, bytes of weights and measured milliseconds of every site, in one setting."""

from __future__ import annotations

from functools import partial

from skipwise.evaluation.cost import count_macs
from skipwise.experiments.bench.settings import BenchSettings, describe_machine
from skipwise.experiments.bench.site_costs import (
    MERGE,
    Seconds,
    decoder_site_seconds,
    encoder_site_seconds,
    weight_bytes,
)
from skipwise.experiments.bench.subject import Subject, decode_once, encode_once
from skipwise.experiments.bench.timing import take_turns
from skipwise.gating import Stack
from skipwise.gating.cost_table import CostTable, SiteCost


def measure_costs(subject: Subject, settings: BenchSettings) -> CostTable:
    """Return what each site takes over one utterance of the first length and beam size of the settings.

    The milliseconds of source attention hold the projection of the whole utterance's keys and values. The rest of a
    stack is what its dense run takes beyond its sites and merges.
    """
    audio_s, beam_size, engine = settings.audio_s[0], settings.beam_sizes[0], subject.engine()
    waveforms, encoded = [subject.audio(audio_s)], subject.encoded(audio_s)
    decoding = {"num_tokens": settings.num_tokens, "beam_size": beam_size}
    rounds = take_turns(
        {
            "encoder": partial(encode_once, engine, waveforms),
            "decoder": partial(decode_once, engine, encoded, subject.prompt, **decoding),
        },
        rounds=settings.rounds,
    )
    seconds = encoder_site_seconds(engine, waveforms, rounds=settings.rounds) | decoder_site_seconds(
        engine, encoded, subject.prompt, rounds=settings.rounds, **decoding
    )
    macs = count_macs(
        subject.network.config,
        duration_s=audio_s,
        num_prompt_tokens=len(subject.prompt),
        num_fed_tokens=settings.num_tokens,
        num_beams=beam_size,
    )
    bytes_of = weight_bytes(engine)
    sites = [site for site in seconds if site.kind != MERGE]
    return CostTable(
        setting={
            "model": settings.label,
            "device": "cpu",
            "dtype": engine.dtype,
            "beam_size": beam_size,
            "audio_s": audio_s,
            "num_tokens": settings.num_tokens,
            "threads": settings.threads,
            "machine": describe_machine(),
        },
        sites={
            site: SiteCost(macs=macs.sites[site], weight_bytes=bytes_of[site], ms=1e3 * seconds[site]) for site in sites
        },
        merge_ms={site.layer: 1e3 * ms for site, ms in seconds.items() if site.kind == MERGE},
        rest_ms={
            stack: 1e3 * max(0.0, rounds.median_s(stack, stack) - _sum_of(stack, seconds))
            for stack in ("encoder", "decoder")
        },
    )


def _sum_of(stack: Stack, seconds: Seconds) -> float:
    return sum(value for site, value in seconds.items() if site.stack == stack)
