"""Random weights under ESPnet's names, bit for bit the same on every machine: drawn as integers, scaled in fp64.

Both sides of the oracle use them, and so does the golden test, which has no ESPnet: hence torch only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_STEPS = 2**15
_TO_UNIT_STD = math.sqrt(3) / _STEPS  # of a uniform distribution over [-_STEPS, _STEPS)
# The mel filters are no weights: each side has its own
FIXED = ("frontend.logmel.melmat",)

# Plain random weights say one token for ever, whatever they hear. These attend sharply and forget slowly.
_GAINS = {
    "linear_q": 2.0,
    "src_attn.linear_q": 3.0,
    "src_attn.linear_out": 4.0,
    "self_attn.linear_q": 4.0,
    "self_attn.linear_out": 4.0,
    "output_layer": 3.0,
    "ctc_lo": 2.0,
}
_GAIN = 1.2
_EMBEDDING_STD = 0.2  # small beside the positions, which keep it from going round in circles


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What random weights are made to say, so that hypotheses end, and are as sure as those of a trained model."""

    end_bias: float = 2.0
    """Added to the decoder's bias of `<eos>`."""
    end_gain: float = 2.0
    """`<eos>` depends on the state as much more than other tokens."""
    time_bias: float = -1.5
    """Added to the decoder's biases of the timestamps, which are nearly all of a tiny vocabulary."""
    symbol_bias: float = 0.0
    """Added to the decoder's biases of all other symbols such as `<na>`, which no trained model says."""
    blank_bias: float = 11.0
    """Added to the CTC head's bias of the blank."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Ids that the weights of a vocabulary are made for."""

    blank: int
    eos: int
    first_time: int
    last_time: int
    symbols: tuple[int, ...]
    """All others that are no text."""

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Tokens:
        """Return those of a token list."""
        blank, eos, first, last = (tokens.index(name) for name in ("<blank>", "<eos>", "<0.00>", "<30.00>"))
        symbols = [index for index, token in enumerate(tokens) if token[0] == "<" and token[-1] == ">"]
        others = tuple(index for index in symbols if index != eos and not first <= index <= last)
        return cls(blank=blank, eos=eos, first_time=first, last_time=last, symbols=others)


def draw_state(shapes: Mapping[str, Sequence[int]], *, seed: int, speech: Speech, tokens: Tokens) -> dict[str, Tensor]:
    """Return a tensor for each of ESPnet's keys that is not fixed; `shapes` may come in any order."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name in sorted(shapes):
        if name not in FIXED:
            noise = torch.randint(-_STEPS, _STEPS, tuple(shapes[name]), generator=generator).double() * _TO_UNIT_STD
            state[name] = _scaled(name, noise).float()
    weight, bias = state["decoder.output_layer.weight"], state["decoder.output_layer.bias"]
    weight[tokens.eos] *= speech.end_gain
    bias[tokens.eos] += speech.end_bias
    bias[tokens.first_time : tokens.last_time + 1] += speech.time_bias
    bias[list(tokens.symbols)] += speech.symbol_bias
    state["ctc.ctc_lo.bias"][tokens.blank] += speech.blank_bias
    return state


def checksum(state: Mapping[str, Tensor]) -> str:
    """Return a digest of names and bits."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _scaled(name: str, noise: Tensor) -> Tensor:
    if name == "normalize.mean":
        return noise - 9.0
    if name == "normalize.std":
        return noise * 0.25 + 3.0
    if "norm" in name:
        return noise * 0.2 + (1.0 if name.endswith("weight") else 0.0)
    if name.endswith("bias"):
        return noise * 0.1
    if name.startswith("decoder.embed"):
        return noise * _EMBEDDING_STD
    gains = [gain for key, gain in _GAINS.items() if key in name]
    return noise * ((gains[-1] if gains else _GAIN) / math.sqrt(noise[0].numel()))
