"""ESPnet on a subject's weights, as it is and with the keys and values of source attention projected once.

The second is our own patch at run time, as proposed in espnet#6624: the stronger baseline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from skipwise.experiments.bench.subject import Ending
from skipwise.experiments.bench.timing import Parts, by_length, timed
from skipwise.features.log_mel import SAMPLE_RATE


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

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """Return the states of a window, padded to 30 s as ESPnet's users have it."""
        window = torch.zeros(1, 30 * SAMPLE_RATE)
        window[0, : len(samples)] = samples
        return self.model.encode(window, torch.tensor([window.shape[1]]))[0]

    @torch.inference_mode()
    def search(
        self, states: Tensor, prompt: list[int], *, beam_size: int, num_tokens: int, once: bool = False
    ) -> list[list[int]]:
        """Return the best hypotheses' tokens, prompt included, as many as there are beams; at most `num_tokens` long.

        With `once` source attention keeps the keys and values that it has projected.
        """
        beam = self._s2t.beam_search
        beam.beam_size, beam.pre_beam_size = beam_size, int(1.5 * beam_size)
        beam.set_hyp_primer(prompt)
        with projected_once(self.model) if once else nullcontext():
            found = beam(x=states[0], maxlenratio=-float(num_tokens))
        return [hypothesis.yseq.tolist() for hypothesis in found[:beam_size]]

    @contextmanager
    def ends(self, ending: Ending) -> Iterator[None]:
        """Have the output layer say `<eos>` as `ending` has it, until the block ends."""
        output, token = self.model.decoder.output_layer, self.model.eos
        with torch.no_grad():
            before = Ending(output.weight[token].clone(), output.bias[token].item())
            ending.write(output, token)
            try:
                yield
            finally:
                before.write(output, token)

    def time_encoder(self, samples: Tensor) -> Parts:
        """Encode a window."""
        return {"encoder": timed(lambda: self.encode(samples))}

    def time_decoder(self, states: Tensor, prompt: list[int], *, once: bool, beam_size: int, num_tokens: int) -> Parts:
        """Search for few and for as many tokens."""

        def decode(num_tokens: int) -> int:
            self.search(states, prompt, beam_size=beam_size, num_tokens=num_tokens, once=once)
            return num_tokens

        return by_length(decode, num_tokens)

    def time_to_end(
        self, states: Tensor, prompt: list[int], *, once: bool, beam_size: int, most_tokens: int, ending: Ending
    ) -> Parts:
        """Search until the hypotheses have ended."""
        with self.ends(ending):
            start = time.perf_counter()
            self.search(states, prompt, beam_size=beam_size, num_tokens=most_tokens, once=once)
            return {"decoder": time.perf_counter() - start}


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
