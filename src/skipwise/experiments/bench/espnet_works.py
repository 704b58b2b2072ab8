"""What takes turns with ESPnet: its searches and ours over one window, dense, pruned, and with ends of their own.

Rows are named `WHO, beam K` and `WHO, encoder`, where WHO is `espnet`, `espnet once`, a precision, or a precision and
how it is pruned; `WHO, to <eos>, beam K` ends by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from skipwise.audio import load_audio
from skipwise.data.manifest import read_manifest
from skipwise.decoding import DecodeOptions, search
from skipwise.decoding.hypothesis import Hypothesis
from skipwise.experiments.bench.ending import ending_after, ending_engine
from skipwise.experiments.bench.espnet_peer import Peer
from skipwise.experiments.bench.plans import uniform_plan
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.subject import Ending, Subject, encode_once, search_once
from skipwise.experiments.bench.timing import Parts, Work
from skipwise.experiments.bench.transplants import transplants
from skipwise.features import SpeechStates
from skipwise.features.log_mel import SAMPLE_RATE
from skipwise.gating import GatePlan, sparsity_by_stack
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.pipeline import shipped_clips

PEERS = {"espnet": False, "espnet once": True}
"""Both ESPnets; whether keys and values of source attention are projected once."""

HALF_DECODER, HALF_BOTH, TRANSPLANTED = "half of the decoder", "half of both", "transplanted {}"
TO_END = "to <eos>"
CLOSED_SHARE = 0.5
NATURAL_LIMIT = 2
"""A search that ends by itself is cut off at so many times the tokens of the settings."""


@final
@dataclass(frozen=True, kw_only=True)
class PrunedRow:
    """One way of pruning our engine."""

    how: str
    plan: GatePlan
    notes: dict[str, Any]
    """Where the plan comes from."""

    @property
    def prunes_encoder(self) -> bool:
        return self.plan.sparsity("encoder") > 0

    @property
    def decoder_how(self) -> str:
        """The row that has this decoder: half of both stacks has that of half of the decoder."""
        return HALF_DECODER if self.how == HALF_BOTH else self.how

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as values for JSON."""
        closed = [str(site) for site in self.plan.closed()]
        return {**self.notes, "sparsity": dict(sparsity_by_stack(self.plan)), "closed": closed}


@final
@dataclass(frozen=True, kw_only=True)
class Window:
    """One window of audio on both sides: what is decoded comes from ESPnet's encoder."""

    subject: Subject
    peer: Peer
    samples: Tensor
    states: Tensor
    """What is decoded to a fixed length."""
    natural_states: Tensor
    """What is decoded until it ends: speech where the weights were trained."""
    ending: Ending
    ending_engines: dict[str, OwsmEngine]

    @classmethod
    def of(cls, subject: Subject, peer: Peer, audio_s: int) -> Window:
        """Return noise of that length; and, for trained weights, as much of the shipped clips."""
        samples, settings = subject.audio(audio_s), subject.settings
        states = natural = peer.encode(samples)
        ending = subject.ending
        if ending is None:
            ending = ending_after(subject, as_encoded(states), settings.num_tokens)
        else:
            natural = peer.encode(shipped_speech(subject.network.config.languages[0], audio_s))
        return cls(
            subject=subject,
            peer=peer,
            samples=samples,
            states=states,
            natural_states=natural,
            ending=ending,
            ending_engines={dtype: ending_engine(subject, dtype, ending) for dtype in settings.dtypes},
        )

    def peer_to_end(self, *, once: bool, beam_size: int) -> list[list[int]]:
        """Return ESPnet's best hypotheses that end by themselves, prompt included."""
        with self.peer.ends(self.ending):
            return self.peer.search(
                self.natural_states, self.subject.prompt, once=once, beam_size=beam_size, num_tokens=self.most_tokens
            )

    def ours_to_end(self, *, dtype: str, beam_size: int) -> list[Hypothesis]:
        """Return our best hypotheses that end by themselves."""
        options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-self.most_tokens)
        encoded = as_encoded(self.natural_states)
        return search(self.ending_engines[dtype], encoded, [self.subject.prompt], options=options)[0]

    @property
    def most_tokens(self) -> int:
        return NATURAL_LIMIT * self.subject.settings.num_tokens


def as_encoded(states: Tensor) -> SpeechStates:
    """Return ESPnet's states of a window as ours."""
    everything = torch.tensor([states.shape[1]])
    return SpeechStates(states, everything, everything)


def shipped_speech(language: str, duration_s: int) -> Tensor:
    """Return the shipped clips in a language, of all if there is none in it, one after the other and again."""
    clips = read_manifest(shipped_clips())
    own = [clip for clip in clips if clip.language == language] or clips
    samples = torch.cat([torch.from_numpy(load_audio(c.audio, start_s=c.start_s, end_s=c.end_s)) for c in own])
    wanted = duration_s * SAMPLE_RATE
    return samples.repeat(1 + wanted // len(samples))[:wanted]


def encoder_dtypes(settings: BenchSettings) -> list[str]:
    """Return the precisions that an encoder runs in: packed fp16 is for decoders, with an encoder in fp32."""
    return list(dict.fromkeys(encoder_dtype(dtype) for dtype in settings.dtypes))


def encoder_dtype(dtype: str) -> str:
    """Return the precision of the encoder beside a decoder."""
    return "fp32" if dtype == "fp16-packed" else dtype


def pruned_rows(subject: Subject) -> list[PrunedRow]:
    """Return the ways of pruning: half of the decoder, of both stacks, and what the shipped gates close."""
    sites = subject.network.config.gate_sites()
    half = {"balanced": True}
    return [
        PrunedRow(how=HALF_DECODER, plan=uniform_plan(sites, ("decoder",), CLOSED_SHARE), notes=half),
        PrunedRow(how=HALF_BOTH, plan=uniform_plan(sites, ("encoder", "decoder"), CLOSED_SHARE), notes=half),
        *(
            PrunedRow(how=TRANSPLANTED.format(found.task), plan=found.plan, notes=found.to_dict())
            for found in transplants(sites)
        ),
    ]


def works_of(window: Window, rows: list[PrunedRow]) -> dict[str, Work]:
    """Return all that takes turns over a window."""
    settings, peer = window.subject.settings, window.peer
    works: dict[str, Work] = {"espnet, encoder": partial(peer.time_encoder, window.samples)}
    for dtype in encoder_dtypes(settings):
        encode = partial(encode_once, window.subject.engine(dtype), [window.samples])
        works[f"{dtype}, encoder"] = encode
        works |= {
            f"{dtype}, {row.how}, encoder": partial(encode, row.plan.of_stack("encoder"))
            for row in rows
            if row.prunes_encoder
        }
    for beam_size in settings.beam_sizes:
        asked = {"beam_size": beam_size, "num_tokens": settings.num_tokens}
        for name, once in PEERS.items():
            works[f"{name}, beam {beam_size}"] = partial(
                peer.time_decoder, window.states, window.subject.prompt, once=once, **asked
            )
            works[f"{name}, {TO_END}, beam {beam_size}"] = partial(
                peer.time_to_end,
                window.natural_states,
                window.subject.prompt,
                once=once,
                beam_size=beam_size,
                most_tokens=window.most_tokens,
                ending=window.ending,
            )
        for dtype in settings.dtypes:
            works |= _our_decoders(window, rows, dtype, beam_size)
    return works


def _our_decoders(window: Window, rows: list[PrunedRow], dtype: str, beam_size: int) -> dict[str, Work]:
    subject = window.subject
    decode = partial(
        search_once,
        subject.engine(dtype),
        as_encoded(window.states),
        subject.prompt,
        num_tokens=subject.settings.num_tokens,
        beam_size=beam_size,
    )
    works: dict[str, Work] = {f"{dtype}, beam {beam_size}": decode}
    for row in rows:
        if row.decoder_how == row.how:
            works[f"{dtype}, {row.how}, beam {beam_size}"] = partial(decode, plan=row.plan.of_stack("decoder"))
    works[f"{dtype}, {TO_END}, beam {beam_size}"] = partial(_time_to_end, window, dtype, beam_size)
    return works


def _time_to_end(window: Window, dtype: str, beam_size: int) -> Parts:
    start = time.perf_counter()
    window.ours_to_end(dtype=dtype, beam_size=beam_size)
    return {"decoder": time.perf_counter() - start}
