"""ESPnet and skipwise on the same weights, in turns in one process: run by the Python of an environment with ESPnet.

    python -m skipwise.experiments.bench.espnet SETTINGS.json RECORD.json

Two ESPnets: as it is, and with the keys and values of source attention projected once an utterance instead of once a
step (our own patch at run time, as proposed in espnet#6624), which is the stronger baseline.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from skipwise.atomic import atomic_write
from skipwise.decoding import DecodeOptions, search
from skipwise.experiments.bench.settings import BenchSettings, describe_machine
from skipwise.experiments.bench.subject import Subject, encode_once, search_once
from skipwise.experiments.bench.timing import Parts, Rounds, Work, by_length, take_turns
from skipwise.features import SpeechStates
from skipwise.features.log_mel import SAMPLE_RATE
from skipwise.models.owsm.convert import convert_owsm
from skipwise.models.owsm.loading import save_owsm


@final
class Peer:
    """ESPnet's `Speech2Text` on a subject's weights."""

    def __init__(self, folder: Path) -> None:
        (config,) = folder.rglob("config.yaml")
        (weights,) = folder.rglob("*.pth")
        speech2text = import_module("espnet2.bin.s2t_inference").Speech2Text
        with chdir(folder):  # a packed config names its files from there
            self._s2t = speech2text(str(config.resolve()), str(weights.resolve()), ctc_weight=0.0)
        self.model = self._s2t.s2t_model

    def encode(self, samples: Tensor) -> Tensor:
        """Return the states of a window, padded to 30 s as ESPnet's users have it."""
        window = torch.zeros(1, 30 * SAMPLE_RATE)
        window[0, : len(samples)] = samples
        return self.model.encode(window, torch.tensor([window.shape[1]]))[0]

    def search(self, states: Tensor, prompt: list[int], *, beam_size: int, num_tokens: int) -> list[list[int]]:
        """Return the n-best lists' tokens, prompt included."""
        beam = self._s2t.beam_search
        beam.beam_size, beam.pre_beam_size = beam_size, int(1.5 * beam_size)
        beam.set_hyp_primer(prompt)
        return [hypothesis.yseq.tolist() for hypothesis in beam(x=states[0], maxlenratio=-float(num_tokens))]


@contextmanager
def projected_once(model: Any) -> Iterator[None]:
    """Have source attention keep the keys and values that it projects first, until the block ends."""
    attention = import_module("espnet.nets.pytorch_backend.transformer.attention").MultiHeadedAttention
    usual = attention.forward_qkv
    kept: dict[tuple[int, int], tuple[Tensor, ...]] = {}
    branches = {id(layer.src_attn) for layer in model.decoder.decoders}

    def forward_qkv(self: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
        if id(self) not in branches:
            return usual(self, query, key, value, *rest, **named)
        rows = query.shape[0]
        if (id(self), rows) not in kept:
            once = usual(self, query[:1], key[:1], value[:1], *rest, **named)[1:]
            kept[id(self), rows] = tuple(tensor.expand(rows, -1, -1, -1).contiguous() for tensor in once)
        projected = self.linear_q(query).view(rows, -1, self.h, self.d_k).transpose(1, 2)
        return projected, *kept[id(self), rows]

    attention.forward_qkv = forward_qkv
    try:
        yield
    finally:
        attention.forward_qkv = usual


def measure_espnet(subject: Subject, settings: BenchSettings, folder: Path) -> Mapping[str, Any]:
    """Return the record: seconds, ratios to both ESPnets, and whether the tokens were the same."""
    peer = Peer(folder)
    record: dict[str, Any] = {"by_audio": {}}
    for audio_s in settings.audio_s:
        samples = subject.audio(audio_s)
        with torch.inference_mode():
            states = peer.encode(samples)
        works: dict[str, Work] = {"espnet, encoder": partial(_espnet_encoder, peer, samples)}
        works |= {
            f"{dtype}, encoder": partial(encode_once, subject.engine(dtype), [samples])
            for dtype in settings.dtypes
            if dtype != "fp16-packed"
        }
        everything = torch.tensor([states.shape[1]])
        encoded = SpeechStates(states, everything, everything)
        for beam_size in settings.beam_sizes:
            ask = {"beam_size": beam_size, "settings": settings}
            for name, once in (("espnet", False), ("espnet once", True)):
                works[f"{name}, beam {beam_size}"] = partial(
                    _espnet_decoder, peer, states, subject.prompt, once=once, **ask
                )
            for dtype in settings.dtypes:
                works[f"{dtype}, beam {beam_size}"] = partial(
                    search_once,
                    subject.engine(dtype),
                    encoded,
                    subject.prompt,
                    num_tokens=settings.num_tokens,
                    beam_size=beam_size,
                )
        rounds = take_turns(works, rounds=settings.rounds)
        record["by_audio"][f"{audio_s} s"] = {
            "ratios": _ratios(rounds, settings),
            "same_tokens": _agreement(subject, peer, states, encoded, settings),
            "rounds": rounds.to_dict(),
        }
    return record


@torch.inference_mode()
def _espnet_encoder(peer: Peer, samples: Tensor) -> Parts:
    start = time.perf_counter()
    peer.encode(samples)
    return {"encoder": time.perf_counter() - start}


@torch.inference_mode()
def _espnet_decoder(
    peer: Peer, states: Tensor, prompt: list[int], *, once: bool, beam_size: int, settings: BenchSettings
) -> Parts:
    def decode(num_tokens: int) -> int:
        with projected_once(peer.model) if once else nullcontext():
            peer.search(states, prompt, beam_size=beam_size, num_tokens=num_tokens)
        return num_tokens

    return by_length(decode, settings.num_tokens)


def _ratios(rounds: Rounds, settings: BenchSettings) -> dict[str, Any]:
    found: dict[str, Any] = {
        f"{dtype}, encoder": {"espnet": asdict(rounds.ratio("espnet, encoder", f"{dtype}, encoder", "encoder"))}
        for dtype in settings.dtypes
        if dtype != "fp16-packed"
    }
    for beam_size in settings.beam_sizes:
        for dtype in settings.dtypes:
            ours = f"{dtype}, beam {beam_size}"
            found[ours] = {
                f"{peer}, {part}": asdict(rounds.ratio(f"{peer}, beam {beam_size}", ours, part))
                for peer in ("espnet", "espnet once")
                for part in ("token", "decoder")
            }
    return found


@torch.inference_mode()
def _agreement(
    subject: Subject, peer: Peer, states: Tensor, encoded: Any, settings: BenchSettings
) -> dict[str, dict[str, float]]:
    """How many hypotheses of the n-best lists are the same, token for token, from the same encoder states."""
    found: dict[str, dict[str, float]] = {}
    for beam_size in settings.beam_sizes:
        expected = peer.search(states, subject.prompt, beam_size=beam_size, num_tokens=settings.num_tokens)
        with projected_once(peer.model):
            patched = peer.search(states, subject.prompt, beam_size=beam_size, num_tokens=settings.num_tokens)
        texts = [_text(tokens, subject) for tokens in expected]
        once = [_text(tokens, subject) for tokens in patched]
        found[f"espnet once, beam {beam_size}"] = _compared(once, texts)
        for dtype in settings.dtypes:
            options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-settings.num_tokens)
            hypotheses = search(subject.engine(dtype), encoded, [subject.prompt], options=options)[0]
            ours = [list(hypothesis.tokens) for hypothesis in hypotheses]
            found[f"{dtype}, beam {beam_size}"] = _compared(ours, texts)
    return found


def _compared(found: list[list[int]], expected: list[list[int]]) -> dict[str, float]:
    """How many are the same at their place, out of the longer list; and how many of the best one's first tokens."""
    first = [a == b for a, b in zip(found[0], expected[0], strict=False)]
    return {
        "same": sum(a == b for a, b in zip(found, expected, strict=False)),
        "of": max(len(found), len(expected)),
        "first_tokens_of_best": first.index(False) if False in first else len(first),
        "tokens_of_best": len(expected[0]),
    }


def _text(tokens: list[int], subject: Subject) -> list[int]:
    """Without the prompt and `<eos>`."""
    text = tokens[len(subject.prompt) :]
    while text and text[-1] == subject.network.config.eos_token_id:
        text.pop()
    return text


def run(settings: BenchSettings, place: Path) -> None:
    """Measure and write the record."""
    torch.set_num_threads(settings.threads)
    subject = Subject.of(settings)
    with tempfile.TemporaryDirectory() as folder:
        save_owsm(Path(folder) / "ours", subject.network, subject.model.vocabulary)
        convert_owsm(Path(folder) / "ours", Path(folder) / "espnet", to="espnet")
        record = measure_espnet(subject, settings, Path(folder) / "espnet")
    with atomic_write(place) as file:
        json.dump({"machine": describe_machine(), **record}, file)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    chosen = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    run(BenchSettings.from_dict(chosen), Path(sys.argv[2]))
