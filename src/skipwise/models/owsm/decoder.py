"""OWSM's decoder: Transformer layers whose branches may be skipped, with cached keys and values.

Shapes: B utterances, K beams of each, L new positions, T encoder frames, D width, V vocabulary. The hidden states of an
utterance's beams stand one after the other, [B, K * L, D]: its gates and its encoder states serve all of them.
Source: ESPnet 202511, `espnet2.asr.decoder.transformer_decoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, gate_of, select_rows
from skipwise.models.cache import DecoderCache, causal_mask
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

    def forward(
        self, hidden: Float[Tensor, "rows positions dim"], rows: Rows, cache: DecoderCache | None, layer: int
    ) -> Float[Tensor, "rows positions dim"]:
        num_beams = 1 if cache is None else cache.num_beams
        normed = self.layer_norm(hidden).unflatten(1, (num_beams, -1)).flatten(0, 1)  # a beam sees itself alone
        key_values = self.attention.key_values(normed)
        if cache is not None:
            key_values = cache.self_attn[layer].append(key_values, rows)
        mask = causal_mask(normed.shape[1], key_values[0].shape[2], hidden.device)
        context = self.dropout(self.attention(normed, key_values, mask))
        return context.unflatten(0, (-1, num_beams)).flatten(1, 2)


@final
class SourceAttention(nn.Module):
    """Attention over the encoder's states; keys and values are projected once an utterance, if ever."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.attention = MultiHeadAttention(
            config.hidden_size, config.decoder_attention_heads, config.attention_dropout
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        source: SourceStates,
        rows: Rows,
        cache: DecoderCache | None,
        layer: int,
    ) -> Float[Tensor, "rows positions dim"]:
        key_values = None if cache is None else cache.src_attn[layer].key_values
        if key_values is None:
            key_values = self.attention.key_values(select_rows(source.states, rows))
            if cache is not None:
                cache.src_attn[layer].store(key_values, rows)
        mask = None if source.mask is None else select_rows(source.mask, rows)
        return self.dropout(self.attention(self.layer_norm(hidden), key_values, mask))


@final
class SourceStates:
    """The encoder's states as source attention reads them: the mask is made once a batch, not once a step."""

    def __init__(self, encoded: SpeechStates) -> None:
        self.states: Float[Tensor, "batch time dim"] = encoded.states
        self.mask: Bool[Tensor, "batch 1 1 time"] | None = (
            encoded.mask()[:, None, None, :] if encoded.is_padded() else None
        )
        self._encoded = encoded

    def keep(self, utterances: Int[Tensor, " kept"]) -> SourceStates:
        """Return the states of some utterances."""
        return SourceStates(self._encoded.select(utterances))


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

    def __init__(self, config: OwsmArchitecture, index: int) -> None:
        super().__init__()
        self.index = index
        self.self_attn = DecoderSelfAttention(config)
        self.src_attn = SourceAttention(config)
        self.ffn = FeedForward(config)

    def forward(
        self,
        hidden: Float[Tensor, "batch positions dim"],
        source: SourceStates,
        cache: DecoderCache | None,
        gates: LayerGates,
    ) -> Float[Tensor, "batch positions dim"]:
        hidden = add_branch(
            hidden,
            lambda rows_hidden, rows: self.self_attn(rows_hidden, rows, cache, self.index),
            gate_of(gates, "self_attn"),
        )
        hidden = add_branch(
            hidden,
            lambda rows_hidden, rows: self.src_attn(rows_hidden, source, rows, cache, self.index),
            gate_of(gates, "src_attn"),
        )
        return add_branch(hidden, lambda rows_hidden, _: self.ffn(rows_hidden), gate_of(gates, "ffn"))


@final
class OwsmDecoder(nn.Module):
    """Token embedding, layers and the output projection (untied)."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.decoder_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        source: SourceStates,
        gates: Sequence[LayerGates] | None = None,
        cache: DecoderCache | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the logits after each of `tokens`, which follow the positions that `cache` has seen.

        With a cache, of one beam, the layers read and extend it; without, `tokens` is the whole prefix.
        """
        return self.lm_head(self.final_norm(self._states(tokens[:, None], source, gates, cache)))

    def next_logits(
        self,
        tokens: Int[Tensor, "batch beams length"],
        source: SourceStates,
        gates: Sequence[LayerGates] | None,
        cache: DecoderCache,
    ) -> Float[Tensor, "batch beams vocab"]:
        """Return the logits after the last of `tokens`, which follow the positions that each beam has seen."""
        hidden = self._states(tokens, source, gates, cache)
        return self.lm_head(self.final_norm(hidden.unflatten(1, (tokens.shape[1], -1))[:, :, -1]))

    def start_cache(self) -> DecoderCache:
        """Return an empty cache for a new batch of utterances."""
        return DecoderCache(len(self.layers))

    def _states(
        self,
        tokens: Int[Tensor, "batch beams length"],
        source: SourceStates,
        gates: Sequence[LayerGates] | None,
        cache: DecoderCache | None,
    ) -> Float[Tensor, "batch positions dim"]:
        assert tokens.shape[1] == (1 if cache is None else cache.num_beams)
        offset = 0 if cache is None else cache.length
        embedded = add_positions(self.embed_tokens(tokens.flatten(0, 1)), offset=offset)
        hidden = self.dropout(embedded.unflatten(0, tokens.shape[:2]).flatten(1, 2))
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, source, cache, ALL_OPEN if gates is None else gates[index])
        if cache is not None:
            cache.advance(tokens.shape[2])
        return hidden
