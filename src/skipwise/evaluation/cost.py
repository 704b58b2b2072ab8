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
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

from skipwise.features.log_mel import HOP_LENGTH, SAMPLE_RATE, num_feature_frames
from skipwise.gating import GatePlan, GateSite, Stack
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.encoder import num_heard_features

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


def count_macs(
    architecture: OwsmArchitecture,
    *,
    duration_s: float,
    num_prompt_tokens: int,
    num_fed_tokens: int,
    num_beams: int = 1,
    closed: Collection[GateSite] = (),
    steps: GatePlan | None = None,
) -> MacCount:
    """Return the MACs of one window of `duration_s` seconds, decoded with caches.

    `num_fed_tokens` counts the tokens that were fed back to predict the next: not the last one. Without a prompt the
    decoder did not run. `steps` are the gates of one hypothesis at all its positions, prompt included, of sites that
    every position decides; a beam is counted as if all had these.
    """
    num_features = _num_feature_frames(architecture, duration_s)
    _, num_frames = _conv_embedding(architecture, num_features)
    conv_macs, _ = _conv_embedding(architecture, _num_computed_features(architecture, duration_s, num_features))
    num_positions = num_prompt_tokens + num_beams * num_fed_tokens
    keys_read = num_prompt_tokens**2 + num_beams * sum(
        range(num_prompt_tokens + 1, num_prompt_tokens + num_fed_tokens + 1)
    )
    encoder = _encoder_layer(architecture, num_frames)
    everywhere = RunPositions(num_open=num_positions, num_filled=num_positions, keys_read=keys_read)
    runs = ("encoder", "decoder") if num_prompt_tokens else ("encoder",)
    sites = [site for site in architecture.gate_sites() if site not in closed and site.stack in runs]
    ran = {} if steps is None else RunPositions.of_plan(steps, num_prompt_tokens, num_fed_tokens, num_beams)
    of_sites = {
        site: encoder[site.kind]
        if site.stack == "encoder"
        else _decoder_site(architecture, site.kind, num_frames, ran.get(site, everywhere))
        for site in sites
    }
    merging = {site.layer for site in sites if site.stack == "encoder" and site.kind in _MERGED}
    return MacCount(
        conv_embedding=conv_macs,
        sites={site: macs for site, macs in of_sites.items() if macs},
        merges=dict.fromkeys(sorted(merging), encoder["merge"]),
        output_projection=(num_positions if num_prompt_tokens else 0)
        * architecture.hidden_size
        * architecture.vocab_size,
    )


@final
@dataclass(frozen=True, kw_only=True)
class RunPositions:
    """At which positions a site of the decoder ran, counted over all beams."""

    num_open: int
    """Positions at which it ran."""
    num_filled: int
    """Positions up to the last of these: the keys and values of the skipped ones are filled in later."""
    keys_read: int
    """Keys that all of these see."""

    @classmethod
    def of_plan(
        cls, plan: GatePlan, num_prompt_tokens: int, num_fed_tokens: int, num_beams: int
    ) -> dict[GateSite, RunPositions]:
        """Return where each site of a one-row step plan ran: on the whole prompt if anywhere in it."""
        assert plan.num_rows == 1
        found = {}
        for column, site in enumerate(plan.sites):
            gates = plan.gates[0, : num_prompt_tokens + num_fed_tokens, column].tolist()
            in_prompt = num_prompt_tokens * any(gates[:num_prompt_tokens])
            fed = [place for place, is_open in enumerate(gates) if is_open and place >= num_prompt_tokens]
            last = max(fed, default=num_prompt_tokens - 1) + 1 - num_prompt_tokens
            found[site] = cls(
                num_open=in_prompt + num_beams * len(fed),
                num_filled=num_prompt_tokens + num_beams * last if in_prompt or fed else 0,
                keys_read=in_prompt * num_prompt_tokens + num_beams * sum(place + 1 for place in fed),
            )
        return found


def mac_weights(architecture: OwsmArchitecture, *, audio_s: float, num_tokens: int) -> tuple[float, ...]:
    """Return the MACs of every site, in the order of `gate_sites()`: what a budget in MACs counts.

    For `audio_s` seconds decoded greedily to `num_tokens` tokens after a prompt of `<sos>`, language, task and
    `<notimestamps>`. An encoder layer's merge, which runs if one of its two branches does, is shared between them.
    """
    count = count_macs(architecture, duration_s=audio_s, num_prompt_tokens=_PROMPT_TOKENS, num_fed_tokens=num_tokens)
    merging = [site for site in count.sites if site.stack == "encoder" and site.kind in _MERGED]
    shared = {site: count.merges[site.layer] / len(_MERGED) for site in merging}
    return tuple(count.sites[site] + shared.get(site, 0.0) for site in architecture.gate_sites())


def _decoder_site(architecture: OwsmArchitecture, kind: str, num_frames: int, run: RunPositions) -> int:
    """MACs of a site of the decoder from the positions at which it ran."""
    width = architecture.hidden_size
    match kind:
        case "self_attn":
            # what is filled in goes through the one product of queries, keys and values
            return (run.num_open + 3 * run.num_filled) * width * width + 2 * run.keys_read * width
        case "src_attn":
            if not run.num_open:
                return 0
            projected = 2 * (num_frames + run.num_open) * width * width
            return projected + 2 * run.num_open * num_frames * width
        case _:
            return 2 * run.num_open * width * architecture.decoder_ffn_dim


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
