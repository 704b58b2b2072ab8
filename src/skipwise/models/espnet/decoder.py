"""ESPnet's Transformer decoder with branches that may be skipped. Needs ESPnet.

ESPnet caches what each layer *returned* for the tokens so far, and projects keys and values of all of them anew at each
step. A plan holds for all steps of an utterance, so these outputs are those of the plan, and a layer whose
self-attention is closed needs nothing of them: neither norm nor keys nor values are computed.

Shapes: R rows, or hypotheses, L tokens so far, N new ones of them (all, or the last one beside a cache), T frames,
D width.
Source: ESPnet 202511, `espnet2.asr.decoder.transformer_decoder`, whose modules do the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, final

import torch
from espnet.nets.pytorch_backend.nets_utils import make_pad_mask
from espnet.nets.pytorch_backend.transformer.decoder_layer import DecoderLayer
from espnet.nets.pytorch_backend.transformer.mask import subsequent_mask
from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from skipwise.errors import SkipwiseError
from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, all_open, gate_of, select_rows
from skipwise.gating.layerwise import gates_of_layer
from skipwise.models.espnet.call import running_call


@final
class GatedDecoderLayer(DecoderLayer):
    """One Transformer decoder layer; its sites are `self_attn`, `src_attn` and `ffn`."""

    def forward(
        self,
        tgt: Tensor,
        tgt_mask: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        cache: Tensor | None = None,
        gates: LayerGates = ALL_OPEN,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the layer's output [R, L, D], what `cache` has of it included, and the other tensors as they came."""
        if all_open(gates):
            return super().forward(tgt, tgt_mask, memory, memory_mask, cache)
        num_new = tgt.shape[1] if cache is None else 1
        query_mask = tgt_mask[:, -num_new:]

        def self_attn(_: Tensor, rows: Rows) -> Tensor:
            normed = self.norm1(select_rows(tgt, rows))
            mask = _of_rows(query_mask, rows)
            return self.dropout(self.self_attn(normed[:, -num_new:], normed, normed, mask))

        def src_attn(own: Tensor, rows: Rows) -> Tensor:
            states, mask = select_rows(memory, rows), _of_rows(memory_mask, rows)
            return self.dropout(self.src_attn(self.norm2(own), states, states, mask))

        hidden = add_branch(tgt[:, -num_new:], self_attn, gate_of(gates, "self_attn"))
        hidden = add_branch(hidden, src_attn, gate_of(gates, "src_attn"))
        hidden = add_branch(hidden, self._ffn, gate_of(gates, "ffn"))
        if cache is not None:
            hidden = torch.cat([cache, hidden], dim=1)
        return hidden, tgt_mask, memory, memory_mask

    def _ffn(self, hidden: Tensor, _: Rows) -> Tensor:
        return self.dropout(self.feed_forward(self.norm3(hidden)))


@final
class GatedDecoder(TransformerDecoder):
    """The decoder of a gated model: over whole prefixes, as in training, and step by step, as in a search."""

    def forward(
        self, hs_pad: Tensor, hlens: Tensor, ys_in_pad: Tensor, ys_in_lens: Tensor, return_hs: bool = False, **_: Any
    ) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor]:
        """Return the logits [R, L, V], with `return_hs` the states before them too, and the lengths of the rows."""
        mask = (~make_pad_mask(ys_in_lens)[:, None, :]).to(ys_in_pad.device)
        mask = mask & subsequent_mask(mask.size(-1), device=mask.device).unsqueeze(0)
        memory_mask = (~make_pad_mask(hlens, maxlen=hs_pad.size(1)))[:, None, :].to(hs_pad.device)

        def run(index: int, hidden: Tensor, gates: LayerGates) -> Tensor:
            layer, inputs = self.decoders[index], (hidden, mask, hs_pad, memory_mask, None, gates)
            if index + 1 in self.gradient_checkpoint_layers:
                return checkpoint(layer, *inputs, use_reentrant=False)[0]
            return layer(*inputs)[0]

        hidden = self.after_norm(self._run_layers(ys_in_pad, run))
        logits = self.output_layer(hidden)
        return ((logits, hidden) if return_hs else logits), mask.sum(1)

    def forward_one_step(
        self,
        tgt: Tensor,
        tgt_mask: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        *,
        cache: list[Tensor] | None = None,
        return_hs: bool = False,
    ) -> tuple[Tensor | tuple[Tensor, Tensor], list[Tensor]]:
        """Return the log-probabilities [R, V] of the next token, with `return_hs` the state too, and the new cache."""
        outputs: list[Tensor] = []

        def run(index: int, hidden: Tensor, gates: LayerGates) -> Tensor:
            cached = None if cache is None else cache[index]
            outputs.append(self.decoders[index](hidden, tgt_mask, memory, memory_mask, cached, gates)[0])
            return outputs[-1]

        last = self.after_norm(self._run_layers(tgt, run)[:, -1])
        scores = torch.log_softmax(self.output_layer(last), dim=-1)
        return ((scores, last) if return_hs else scores), outputs

    def forward_partially_AR(self, *_: Any, **__: Any) -> NoReturn:  # noqa: N802 ESPnet's name
        """Raise a SkipwiseError: partially autoregressive decoding has no gates."""
        raise SkipwiseError(
            "gates do not work with partially autoregressive decoding. Leave partial_ar off, or detach."
        )

    def _run_layers(self, tokens: Tensor, run: Callable[[int, Tensor, LayerGates], Tensor]) -> Tensor:
        """The last layer's output [R, L, D] for tokens [R, L], each layer run under its gates."""
        call = running_call()
        gates = call.decoder_gates(len(tokens))
        hidden = self.embed(tokens)
        for index in range(len(self.decoders)):
            layer_gates = gates_of_layer(gates, index, lambda: call.prompt_mean(tokens, hidden))  # noqa: B023 at once
            hidden = run(index, hidden, layer_gates)
        call.decided_on_prompt()
        return hidden


def _of_rows(mask: Tensor | None, rows: Rows) -> Tensor | None:
    """The mask of some rows; one that all rows share stays as it is."""
    return mask if mask is None or mask.shape[0] == 1 else select_rows(mask, rows)
