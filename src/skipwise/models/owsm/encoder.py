"""OWSM's encoder: convolutional subsampling and E-Branchformer layers whose branches may be skipped.

Shapes: B rows, R rows that a branch runs on, T frames after subsampling, F feature frames, M mel bins, D width.
Source: ESPnet 202511, `espnet2.asr.encoder.e_branchformer_encoder`; Kim et al. 2022 (E-Branchformer).
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating.branch import ALL_OPEN, LayerGates, Rows, add_branch, add_merged, gate_of, select_rows
from skipwise.gating.layerwise import StackGates, gates_of_layer
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.attention import MultiHeadAttention
from skipwise.models.owsm.positions import add_positions

LAYER_NORM_EPS = 1e-12

_FRAMES_THAT_HEAR = 2

_FRAMES_AT_ONCE = 64
"""Frames of all rows that the conv embedding computes together on a CPU."""
_FEWEST_AT_ONCE = 16
"""Of one row: neighbouring pieces compute half a dozen feature frames twice."""


@final
class ConvEmbedding(nn.Module):
    """2 or 3 strided convolutions and a projection: one frame for 4 or 8 feature frames."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        num_convs = config.subsampling_factor.bit_length() - 1
        channels = [1] + [config.hidden_size] * num_convs
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], kernel_size=3, stride=2) for i in range(num_convs)
        )
        bins = config.num_mel_bins
        for _ in range(num_convs):
            bins = (bins - 1) // 2
        self.out_proj = nn.Linear(config.hidden_size * bins, config.hidden_size)

    def num_frames(self, num_feature_frames: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return T for each F."""
        for _ in self.convs:
            num_feature_frames = (num_feature_frames - 1) // 2
        return num_feature_frames

    def count_frames(self, num_feature_frames: int) -> int:
        """Return T for one F."""
        return int(self.num_frames(torch.tensor([num_feature_frames])))

    def forward(self, features: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch time dim"]:
        batch_size, num_features, _ = features.shape
        num_frames = self.count_frames(num_features)
        # a piece at a time, which stays in the cache: 1.5 times faster on a CPU than 100 MB between the convolutions
        at_once = num_frames if features.is_cuda else max(_FEWEST_AT_ONCE, _FRAMES_AT_ONCE // batch_size)
        factor = 2 ** len(self.convs)
        pieces = [
            self._piece(features[:, factor * start : factor * (min(num_frames, start + at_once) + 1) - 1])
            for start in range(0, num_frames, at_once)
        ]
        return torch.cat(pieces, dim=1)

    def _piece(self, features: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch time dim"]:
        # channels last: 2 times faster on a CPU; by strides, as contiguous() takes one channel for last already
        hidden = features[..., None].permute(0, 3, 1, 2)
        for conv in self.convs:
            hidden = nn.functional.relu(conv(hidden), inplace=True)
        return self.out_proj(hidden.transpose(1, 2).flatten(2))


@final
class MacaronFeedForward(nn.Module):
    """Half a feed-forward step: 0.5 * W2 swish(W1 norm(x))."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.fc1 = nn.Linear(config.hidden_size, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Float[Tensor, "rows time dim"]) -> Float[Tensor, "rows time dim"]:
        inner = self.dropout(nn.functional.silu(self.fc1(self.layer_norm(hidden))))
        return 0.5 * self.dropout(self.fc2(inner))


@final
class EncoderSelfAttention(nn.Module):
    """The global branch: self-attention over all frames that take part."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.attention = MultiHeadAttention(
            config.hidden_size, config.encoder_attention_heads, config.attention_dropout
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "rows time dim"], mask: Bool[Tensor, "rows time"] | None
    ) -> Float[Tensor, "rows time dim"]:
        normed = self.layer_norm(hidden)
        keys = None if mask is None else mask[:, None, None, :]
        return self.dropout(self.attention(normed, self.attention.key_values(normed), keys))


@final
class ConvGatingMlp(nn.Module):
    """The local branch (cgMLP): a feed-forward step whose halves gate each other through a depthwise convolution."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        half = config.cgmlp_dim // 2
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.in_proj = nn.Linear(config.hidden_size, config.cgmlp_dim)
        self.gate_norm = nn.LayerNorm(half, eps=LAYER_NORM_EPS)
        self.gate_conv = _depthwise(half, config.cgmlp_kernel_size)
        self.out_proj = nn.Linear(half, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Float[Tensor, "rows time dim"], mask: Bool[Tensor, "rows time"] | None
    ) -> Float[Tensor, "rows time dim"]:
        value, gate = nn.functional.gelu(self.in_proj(self.layer_norm(hidden))).chunk(2, dim=-1)
        gate = _over_time(self.gate_conv, self.gate_norm(gate), mask)
        return self.dropout(self.out_proj(self.dropout(value * gate)))


@final
class BranchMerge(nn.Module):
    """Projects the two branches, side by side and smoothed by a depthwise convolution, back to the width."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.conv = _depthwise(2 * config.hidden_size, config.merge_kernel_size)
        self.out_proj = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, branches: Float[Tensor, "rows time twice_dim"], mask: Bool[Tensor, "rows time"] | None
    ) -> Float[Tensor, "rows time dim"]:
        return self.dropout(self.out_proj(branches + _over_time(self.conv, branches, mask)))


@final
class EncoderLayer(nn.Module):
    """One E-Branchformer layer; its sites are `ffn1`, `self_attn`, `cgmlp` and `ffn2`."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.ffn1 = MacaronFeedForward(config)
        self.self_attn = EncoderSelfAttention(config)
        self.cgmlp = ConvGatingMlp(config)
        self.merge = BranchMerge(config)
        self.ffn2 = MacaronFeedForward(config)
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)

    def forward(
        self,
        hidden: Float[Tensor, "batch time dim"],
        mask: Bool[Tensor, "batch time"] | None,
        gates: LayerGates = ALL_OPEN,
    ) -> Float[Tensor, "batch time dim"]:
        """Return the layer's output; `mask` is None where every frame takes part."""
        hidden = add_branch(hidden, lambda rows_hidden, _: self.ffn1(rows_hidden), gate_of(gates, "ffn1"))
        hidden = self._add_merged(hidden, mask, gates)
        hidden = add_branch(hidden, lambda rows_hidden, _: self.ffn2(rows_hidden), gate_of(gates, "ffn2"))
        return self.final_norm(hidden)

    def _add_merged(
        self, hidden: Float[Tensor, "batch time dim"], mask: Bool[Tensor, "batch time"] | None, gates: LayerGates
    ) -> Float[Tensor, "batch time dim"]:
        return add_merged(
            hidden,
            (lambda own, rows: self.self_attn(own, _of_rows(mask, rows)), gate_of(gates, "self_attn")),
            (lambda own, rows: self.cgmlp(own, _of_rows(mask, rows)), gate_of(gates, "cgmlp")),
            lambda both, rows: self.merge(both, _of_rows(mask, rows)),
        )


@final
class OwsmEncoder(nn.Module):
    """Conv embedding and layers. `embed` and `forward` are apart because the plan is decided between them."""

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        self.config = config
        self.conv_embedding = ConvEmbedding(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def embed(self, features: SpeechStates) -> SpeechStates:
        """Return the conv embedding of normalised features, before scaling and positions.

        The padding of a fixed window is silence, whose embedding is the same in every frame: it is computed once.
        """
        num_frames = self.conv_embedding.num_frames(features.num_frames)
        return SpeechStates(
            self.conv_embedding(features.states) if self.config.window_s is None else self._embed_window(features),
            num_frames,
            self.conv_embedding.num_frames(features.num_real_frames).clamp_min(1),
        )

    def _embed_window(self, features: SpeechStates) -> Float[Tensor, "batch time dim"]:
        num_features = features.states.shape[1]
        num_heard = num_heard_features(self.config, int(features.num_real_frames.max()), num_features)
        embedded = self.conv_embedding(features.states[:, :num_heard])
        num_silent = self.conv_embedding.count_frames(num_features) - embedded.shape[1]
        return torch.cat([embedded, embedded[:, -1:].expand(-1, num_silent, -1)], dim=1) if num_silent else embedded

    def forward(self, embedded: SpeechStates, gates: StackGates = None) -> SpeechStates:
        """Return the encoder's states for the output of `embed`."""
        mask = embedded.mask() if embedded.is_padded() else None
        current = embedded.with_states(self.dropout(add_positions(embedded.states)))
        for index, layer in enumerate(self.layers):
            layer_gates = gates_of_layer(gates, index, current.pooled)
            current = current.with_states(layer(current.states, mask, layer_gates))
        return current.with_states(self.final_norm(current.states))


def num_heard_features(config: OwsmArchitecture, num_real_features: int, num_features: int) -> int:
    """Return the feature frames of a fixed window from which the last embedding, and with it all others, follows.

    It is the first one that sees nothing but padding, of which the two frames behind the real ones are no part: their
    spectra see real samples.
    """
    factor = config.subsampling_factor
    receptive_field = 2 * factor - 1
    first_silent = -(-(num_real_features + _FRAMES_THAT_HEAR) // factor)
    return min(num_features, factor * first_silent + receptive_field)


def _of_rows(mask: Bool[Tensor, "batch time"] | None, rows: Rows) -> Bool[Tensor, "rows time"] | None:
    return None if mask is None else select_rows(mask, rows)


def _depthwise(channels: int, kernel_size: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


def _over_time(
    conv: nn.Conv1d, states: Float[Tensor, "rows time channels"], mask: Bool[Tensor, "rows time"] | None
) -> Float[Tensor, "rows time channels"]:
    """Convolve over time; frames beyond a row's end are zero, so that no padding leaks into the row."""
    if mask is not None:
        states = states * mask[..., None]
    # as a 2-d convolution in channels-last order, which is how the states lie already: 10 times faster on a CPU
    as_image = states.transpose(1, 2)[:, :, None].contiguous(memory_format=torch.channels_last)
    convolved = nn.functional.conv2d(
        as_image, conv.weight[:, :, None], conv.bias, padding=(0, conv.kernel_size[0] // 2), groups=conv.groups
    )
    return convolved[:, :, 0].transpose(1, 2)
