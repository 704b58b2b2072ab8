"""OWSM's decoder over whole prefixes: Transformer layers whose branches may be skipped.

This is what is trained. Decoding runs the same weights packed, with caches: `skipwise.models.owsm.engine`.

Shapes: B rows, L positions, T encoder frames, D width, V vocabulary.
Source: ESPnet 202511, `espnet2.asr.decoder.transformer_decoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, gate_of, select_rows
from skipwise.models.cache import causal_mask
from skipwise.models.engine.branches import Source
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.attention import MultiHeadAttention
from skipwise.models.owsm.encoder import LAYER_NORM_EPS
from skipwise.models.owsm.positions import add_positions


@final
class DecoderSelfAttention(nn.Module):
    """Causal self-attention over the tokens so far."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.attention = MultiHeadAttention(
            config.hidden_size, config.decoder_attention_heads, config.attention_dropout
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Float[Tensor, "rows positions dim"]) -> Float[Tensor, "rows positions dim"]:
        normed, length = self.layer_norm(hidden), hidden.shape[1]
        mask = causal_mask(length, length, hidden.device)
        return self.dropout(self.attention(normed, self.attention.key_values(normed), mask))


@final
class SourceAttention(nn.Module):
    """Attention over the encoder's states."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.attention = MultiHeadAttention(
            config.hidden_size, config.decoder_attention_heads, config.attention_dropout
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "rows positions dim"], source: Source, rows: Rows
    ) -> Float[Tensor, "rows positions dim"]:
        key_values = self.attention.key_values(select_rows(source.states, rows))
        mask = None if source.mask is None else select_rows(source.mask, rows)
        return self.dropout(self.attention(self.layer_norm(hidden), key_values, mask))


@final
class FeedForward(nn.Module):
    """W2 relu(W1 norm(x))."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.fc1 = nn.Linear(config.hidden_size, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Float[Tensor, "rows positions dim"]) -> Float[Tensor, "rows positions dim"]:
        return self.dropout(self.fc2(self.dropout(self.fc1(self.layer_norm(hidden)).relu())))


@final
class DecoderLayer(nn.Module):
    """One Transformer decoder layer; its sites are `self_attn`, `src_attn` and `ffn`."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.self_attn = DecoderSelfAttention(config)
        self.src_attn = SourceAttention(config)
        self.ffn = FeedForward(config)

    def forward(
        self, hidden: Float[Tensor, "batch positions dim"], source: Source, gates: LayerGates
    ) -> Float[Tensor, "batch positions dim"]:
        hidden = add_branch(hidden, lambda own, _: self.self_attn(own), gate_of(gates, "self_attn"))
        hidden = add_branch(hidden, lambda own, rows: self.src_attn(own, source, rows), gate_of(gates, "src_attn"))
        return add_branch(hidden, lambda own, _: self.ffn(own), gate_of(gates, "ffn"))


def _embedding(num_tokens: int, dim: int) -> nn.Embedding:
    """torch's own, but for the meta device, where drawing values that nobody reads imports a compiler: 1.3 s."""
    weight = torch.empty(num_tokens, dim)
    if not weight.is_meta:
        nn.init.normal_(weight)
    return nn.Embedding(num_tokens, dim, _weight=weight)


@final
class OwsmDecoder(nn.Module):
    """Token embedding, layers and the output projection (untied)."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.embed_tokens = _embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Int[Tensor, "batch length"], source: Source, gates: Sequence[LayerGates] | None = None
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the logits after each of `tokens`, the whole prefix of each row."""
        hidden = self.dropout(add_positions(self.embed_tokens(tokens)))
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, source, ALL_OPEN if gates is None else gates[index])
        return self.lm_head(self.final_norm(hidden))
