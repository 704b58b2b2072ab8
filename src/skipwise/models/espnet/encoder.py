"""ESPnet's E-Branchformer encoder with branches that may be skipped. Needs ESPnet.

Classes of live objects are swapped for these and back, so they have no state and no parameters of their own.

Shapes: B rows, R rows that a branch runs on, T frames, D width.
Source: ESPnet 202511, `espnet2.asr.encoder.e_branchformer_encoder`, whose modules do the work.
"""

from __future__ import annotations

from typing import Any, final

import torch
from espnet.nets.pytorch_backend.nets_utils import make_pad_mask
from espnet.nets.pytorch_backend.transformer.subsampling import TooShortUttError, check_short_utt
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder, EBranchformerEncoderLayer
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, add_merged, all_open, gate_of, select_rows
from skipwise.gating.layerwise import gates_of_layer
from skipwise.models.espnet.call import running_call


@final
class GatedEncoderLayer(EBranchformerEncoderLayer):
    """One E-Branchformer layer; its sites are `ffn1`, `self_attn`, `cgmlp` and `ffn2`."""

    def forward(
        self, x_input: Tensor, mask: Tensor, cache: Tensor | None = None, gates: LayerGates = ALL_OPEN
    ) -> tuple[Tensor, Tensor]:
        """Return the layer's output [B, T, D] and the mask [B, 1, T] as it came."""
        if all_open(gates):
            return super().forward(x_input, mask, cache)
        hidden = add_branch(x_input, self._ffn1, gate_of(gates, "ffn1"))
        hidden = add_merged(
            hidden,
            (lambda own, rows: self._self_attn(own, select_rows(mask, rows)), gate_of(gates, "self_attn")),
            (lambda own, rows: self._cgmlp(own, select_rows(mask, rows)), gate_of(gates, "cgmlp")),
            self._merge,
        )
        hidden = add_branch(hidden, self._ffn2, gate_of(gates, "ffn2"))
        return self.norm_final(hidden), mask

    def _ffn1(self, hidden: Tensor, _: Rows) -> Tensor:
        return self.ff_scale * self.dropout(self.feed_forward_macaron(self.norm_ff_macaron(hidden)))

    def _ffn2(self, hidden: Tensor, _: Rows) -> Tensor:
        return self.ff_scale * self.dropout(self.feed_forward(self.norm_ff(hidden)))

    def _self_attn(self, hidden: Tensor, mask: Tensor) -> Tensor:
        normed = self.norm_mha(hidden)
        return self.dropout(self.attn(normed, normed, normed, mask))

    def _cgmlp(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return self.dropout(self.cgmlp(self.norm_mlp(hidden), mask))

    def _merge(self, both: Tensor, _: Rows) -> Tensor:
        smoothed = self.depthwise_conv_fusion(both.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.merge_proj(both + smoothed))


@final
class GatedEncoder(EBranchformerEncoder):
    """The encoder of a gated model: decides its gates between embedding and layers, and then the decoder's."""

    def forward(self, xs_pad: Tensor, ilens: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
        """Return the states [B, T, D], how many of each row take part, and None, as ESPnet's encoder does."""
        call = running_call()
        too_short, limit = check_short_utt(self.embed, xs_pad.size(1))
        if too_short:
            message = (
                f"has {xs_pad.size(1)} frames and is too short for subsampling (it needs more than {limit} frames)"
            )
            raise TooShortUttError(message, xs_pad.size(1), limit)
        mask = (~make_pad_mask(ilens)[:, None, :]).to(xs_pad.device)
        recomputed = self.gradient_checkpoint_layers
        embedded, mask = (
            checkpoint(self._embed, xs_pad, mask, use_reentrant=False) if 0 in recomputed else self._embed(xs_pad, mask)
        )
        gates = call.encoder_gates(embedded)
        hidden = self._add_positions(embedded)
        for index, layer in enumerate(self.encoders):
            layer_gates = gates_of_layer(gates, index, lambda: call.pooled(hidden))  # noqa: B023 asked at once
            if self.training and torch.empty(1).uniform_().item() < self.layer_drop_rate:
                continue
            if index + 1 in recomputed:
                hidden, mask = checkpoint(layer, hidden, mask, None, layer_gates, use_reentrant=False)
            else:
                hidden, mask = layer(hidden, mask, None, layer_gates)
        hidden = self.after_norm(hidden)
        call.finish_encoder(hidden)
        return hidden, mask.squeeze(1).sum(1), None

    def _embed(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ESPnet's embedding up to where it scales and adds positions; conv2d has both in one sequence, conv2d8 not."""
        convolved = self.embed.conv(features.unsqueeze(1))
        flat = convolved.transpose(1, 2).contiguous().flatten(2)
        for _ in range(sum(isinstance(module, torch.nn.Conv2d) for module in self.embed.conv)):
            mask = mask[:, :, :-2:2]
        linear = self.embed.out[0] if isinstance(self.embed.out, torch.nn.Sequential) else self.embed.out
        return linear(flat), mask

    def _add_positions(self, embedded: Tensor) -> Tensor:
        positions = self.embed.out[1] if isinstance(self.embed.out, torch.nn.Sequential) else self.embed.pos_enc
        return positions(embedded)
