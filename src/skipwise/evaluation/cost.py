"""Multiply-accumulates (MACs) of a transcript, from the sizes of the model and the sites that ran.

Counted: every product of matrices, convolution and attention score that runs for one row on its own, without the
padding of a batch. Not counted: what is no product (norms, activations, embeddings, softmax), the log-mel front end,
the CTC head, and the gate predictor (tens of thousands, once an utterance). A beam is counted as if all its hypotheses
were as long as the best one.

With T encoder frames, P prompt tokens, N tokens that are fed back, K beams, L = P + K N decoder positions, D width:

    conv embedding       sum over convolutions of  out_frames * out_bins * 9 * in_channels * D,  then  T * bins * D * D
    ffn1, ffn2           2 T D F                                           F = encoder_ffn_dim
    encoder self_attn    4 T D^2 + 2 T^2 D
    cgmlp                T D G + T (G/2) K + T (G/2) D                     G = cgmlp_dim, K = its kernel
    merge                T 2D K' + T 2D D                                  runs if self_attn or cgmlp does
    decoder self_attn    4 L D^2 + 2 D (P^2 + K sum of t from P+1 to P+N)  cached keys and values; where every step has
                                                                           gates, 3 D^2 for a skipped position whose
                                                                           key and value a later one needs
    src_attn             2 T D^2 + 2 L D^2 + 2 L T D                       its keys and values once for all beams, and
                                                                           only if it runs
    ffn                  2 L D F'                                          F' = decoder_ffn_dim
    output projection    L D V                                             V = vocab_size

Whisper's encoder: T 6 M D + 3 T D^2 for its two convolutions of M mel bins, no cgmlp and merge, one ffn a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

from skipwise.features.log_mel import HOP_LENGTH, SAMPLE_RATE, num_feature_frames
from skipwise.gating import GatePlan, GateSite, Stack
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.encoder import num_heard_features

if TYPE_CHECKING:
    from transformers import WhisperConfig
else:
    WhisperConfig = Any  # its module takes seconds to import, and an OWSM does without

_CONV_KERNEL = 9
_PROMPT_TOKENS = 4
_MERGED = ("self_attn", "cgmlp")


@final
@dataclass(frozen=True, kw_only=True)
class MacCount:
    """MACs of one decoded window; a site that did not run is not among `sites`."""

    conv_embedding: int
    """Always runs."""
    sites: Mapping[GateSite, int]
    """The sites that ran."""
    merges: Mapping[int, int]
    """The encoder layers whose merge ran."""
    output_projection: int
    """Always runs."""

    @property
    def encoder(self) -> int:
        """MACs of the encoder, conv embedding included."""
        return self.conv_embedding + self._of_stack("encoder") + sum(self.merges.values())

    @property
    def decoder(self) -> int:
        """MACs of the decoder, output projection included."""
        return self.output_projection + self._of_stack("decoder")

    @property
    def total(self) -> int:
        return self.encoder + self.decoder

    def _of_stack(self, stack: Stack) -> int:
        return sum(macs for site, macs in self.sites.items() if site.stack == stack)


@final
@dataclass(frozen=True, kw_only=True)
class StackMacs:
    """What a family says of a window's work."""

    sites: tuple[GateSite, ...]
    """All sites, encoder first."""
    conv_embedding: int
    encoder: Mapping[str, int]
    """MACs of each kind of branch of an encoder layer, and of `merge`, where a layer has one."""
    decoder: Callable[[DecoderWork], Mapping[str, int]]
    """MACs of each kind of branch of a decoder layer, for what it has to do."""
    output: int
    """MACs of the output layer at one position."""


@final
@dataclass(frozen=True, kw_only=True)
class DecoderWork:
    """How much a decoder has to do in a window, or one of its sites where every step has gates."""

    num_positions: int
    """Positions of all beams at which it runs, prompt included."""
    num_filled: int
    """Positions up to the last of these: keys and values of those that were skipped are filled in."""
    keys_read: int
    """Keys that self-attention reads, over all positions."""

    @classmethod
    def everywhere(cls, num_prompt_tokens: int, num_fed_tokens: int, num_beams: int) -> DecoderWork:
        """Return the work of what runs at all positions."""
        num_positions = num_prompt_tokens + num_beams * num_fed_tokens
        fed = range(num_prompt_tokens + 1, num_prompt_tokens + num_fed_tokens + 1)
        keys_read = num_prompt_tokens**2 + num_beams * sum(fed)
        return cls(num_positions=num_positions, num_filled=num_positions, keys_read=keys_read)

    @classmethod
    def of_steps(
        cls, plan: GatePlan, num_prompt_tokens: int, num_fed_tokens: int, num_beams: int
    ) -> dict[GateSite, DecoderWork]:
        """Return the work of each site of a one-row step plan: on the whole prompt if it is open anywhere in it."""
        assert plan.num_rows == 1
        found = {}
        for column, site in enumerate(plan.sites):
            gates = plan.gates[0, : num_prompt_tokens + num_fed_tokens, column].tolist()
            in_prompt = num_prompt_tokens * any(gates[:num_prompt_tokens])
            fed = [place for place, is_open in enumerate(gates) if is_open and place >= num_prompt_tokens]
            last = max(fed, default=num_prompt_tokens - 1) + 1 - num_prompt_tokens
            found[site] = cls(
                num_positions=in_prompt + num_beams * len(fed),
                num_filled=num_prompt_tokens + num_beams * last if in_prompt or fed else 0,
                keys_read=in_prompt * num_prompt_tokens + num_beams * sum(place + 1 for place in fed),
            )
        return found


def count_macs(
    config: OwsmArchitecture | WhisperConfig,
    *,
    duration_s: float,
    num_prompt_tokens: int,
    num_fed_tokens: int,
    num_beams: int = 1,
    closed: Collection[GateSite] = (),
    steps: GatePlan | None = None,
) -> MacCount:
    """Return the MACs of one window of `duration_s` seconds, decoded with caches.

    `config` is what a network says of its sizes. `num_fed_tokens` counts the tokens that were fed back to predict the
    next: not the last one. Without a prompt the decoder did not run. `steps` are the gates of one hypothesis at all its
    positions, prompt included, of sites that every position decides; a beam is counted as if all had these.
    """
    sizes = (num_prompt_tokens, num_fed_tokens, num_beams)
    work = DecoderWork.everywhere(*sizes)
    of_steps = {} if steps is None else DecoderWork.of_steps(steps, *sizes)
    if isinstance(config, OwsmArchitecture):
        macs = _owsm_macs(config, duration_s)
    else:
        from skipwise.evaluation.whisper_cost import whisper_macs

        macs = whisper_macs(config)
    runs = ("encoder", "decoder") if num_prompt_tokens else ("encoder",)
    sites = [site for site in macs.sites if site not in closed and site.stack in runs]
    merging = {site.layer for site in sites if site.stack == "encoder" and site.kind in _MERGED}
    of_sites = {
        site: (macs.encoder if site.stack == "encoder" else macs.decoder(of_steps.get(site, work)))[site.kind]
        for site in sites
    }
    return MacCount(
        conv_embedding=macs.conv_embedding,
        sites={site: count for site, count in of_sites.items() if count},
        merges=dict.fromkeys(sorted(merging), macs.encoder["merge"]) if "merge" in macs.encoder else {},
        output_projection=(work.num_positions if num_prompt_tokens else 0) * macs.output,
    )


def mac_weights(config: OwsmArchitecture | WhisperConfig, *, audio_s: float, num_tokens: int) -> tuple[float, ...]:
    """Return the MACs of every site, in the base's order: what a budget in MACs counts.

    For `audio_s` seconds decoded greedily to `num_tokens` tokens after a prompt of `<sos>`, language, task and
    `<notimestamps>`. An encoder layer's merge, which runs if one of its two branches does, is shared between them.
    """
    count = count_macs(config, duration_s=audio_s, num_prompt_tokens=_PROMPT_TOKENS, num_fed_tokens=num_tokens)
    shared = {
        site: count.merges[site.layer] / len(_MERGED)
        for site in count.sites
        if site.stack == "encoder" and site.kind in _MERGED and site.layer in count.merges
    }
    return tuple(macs + shared.get(site, 0.0) for site, macs in count.sites.items())


def _owsm_macs(architecture: OwsmArchitecture, duration_s: float) -> StackMacs:
    num_features = _num_feature_frames(architecture, duration_s)
    _, num_frames = _conv_embedding(architecture, num_features)
    conv_macs, _ = _conv_embedding(architecture, _num_computed_features(architecture, duration_s, num_features))
    return StackMacs(
        sites=architecture.gate_sites(),
        conv_embedding=conv_macs,
        encoder=_encoder_layer(architecture, num_frames),
        decoder=partial(decoder_layer_macs, architecture.hidden_size, architecture.decoder_ffn_dim, num_frames),
        output=architecture.hidden_size * architecture.vocab_size,
    )


def _num_feature_frames(architecture: OwsmArchitecture, duration_s: float) -> int:
    if architecture.window_s is not None:
        return num_feature_frames(round(architecture.window_s * SAMPLE_RATE))
    shortest = (2 * architecture.subsampling_factor - 1) * HOP_LENGTH
    return num_feature_frames(max(round(duration_s * SAMPLE_RATE), shortest))


def _num_computed_features(architecture: OwsmArchitecture, duration_s: float, num_features: int) -> int:
    """The padding of a fixed window has one embedding, which is computed once."""
    if architecture.window_s is None:
        return num_features
    num_real = num_feature_frames(round(min(duration_s, architecture.window_s) * SAMPLE_RATE))
    return num_heard_features(architecture, num_real, num_features)


def _conv_embedding(architecture: OwsmArchitecture, num_features: int) -> tuple[int, int]:
    """Return the MACs of the conv embedding and its number of frames T."""
    width, bins, channels, macs = architecture.hidden_size, architecture.num_mel_bins, 1, 0
    factor = architecture.subsampling_factor
    # feature frames at the end that are no whole frame are not computed
    num_features = factor * ((num_features + 1) // factor) - 1
    for _ in range(factor.bit_length() - 1):
        num_features, bins = (num_features - 1) // 2, (bins - 1) // 2
        macs += num_features * bins * _CONV_KERNEL * channels * width
        channels = width
    return macs + num_features * bins * width * width, num_features


def _encoder_layer(architecture: OwsmArchitecture, num_frames: int) -> dict[str, int]:
    width, gated = architecture.hidden_size, architecture.cgmlp_dim
    ffn = 2 * width * architecture.encoder_ffn_dim
    per_frame = {
        "ffn1": ffn,
        "self_attn": 4 * width * width + 2 * num_frames * width,
        "cgmlp": width * gated + gated // 2 * (architecture.cgmlp_kernel_size + width),
        "merge": 2 * width * (architecture.merge_kernel_size + width),
        "ffn2": ffn,
    }
    return {kind: num_frames * macs for kind, macs in per_frame.items()}


def decoder_layer_macs(width: int, ffn_dim: int, num_frames: int, work: DecoderWork) -> dict[str, int]:
    """Return the MACs of each kind of branch of a decoder layer with cached keys and values."""
    # what is filled in goes through the one product of queries, keys and values
    own = (work.num_positions + 3 * work.num_filled) * width * width + 2 * work.keys_read * width
    projected = 2 * (num_frames + work.num_positions) * width * width
    return {
        "self_attn": own,
        "src_attn": projected + 2 * work.num_positions * num_frames * width if work.num_positions else 0,
        "ffn": 2 * work.num_positions * width * ffn_dim,
    }
