"""The whole of OWSM in plain torch: what inference needs, without transformers.

Shapes: B rows, F feature frames, M mel bins, T frames, L positions, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates, extract_features
from skipwise.gating import GatePlan, GateSample, LayerwiseGates, StepPlanner, StepSampler
from skipwise.gating.branch import LayerGates
from skipwise.gating.steps import PrefixMeans
from skipwise.models.engine.branches import Source
from skipwise.models.family import GateHolder
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.decoder import OwsmDecoder
from skipwise.models.owsm.encoder import OwsmEncoder
from skipwise.models.owsm.layerwise import decode_layerwise
from skipwise.models.prompt import prompt_positions

_CTC_FRAMES_AT_ONCE = 64


@final
class OwsmNetwork(GateHolder):
    """Feature normalisation, encoder, CTC head and decoder. Plans come in as arguments."""

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: OwsmArchitecture) -> None:
        super().__init__()
        config.check()
        self.config = config
        self.register_buffer("feature_mean", torch.zeros(config.num_mel_bins))
        self.register_buffer("feature_std", torch.ones(config.num_mel_bins))
        self.encoder = OwsmEncoder(config)
        self.decoder = OwsmDecoder(config)
        self.ctc_head = nn.Linear(config.hidden_size, config.vocab_size)

    def extract(self, waveforms: Sequence[Float[Tensor, " _samples"]]) -> SpeechStates:
        """Return the log-mel features of mono 16 kHz waveforms, not yet normalised."""
        return extract_features(
            waveforms,
            num_mel_bins=self.config.num_mel_bins,
            window_s=self.config.window_s,
            min_frames=2 * self.config.subsampling_factor,
        )

    def embed(self, features: SpeechStates) -> SpeechStates:
        """Return the normalised and subsampled features: what the encoder's plan is decided from."""
        # features stay fp32 where the weights are loaded as fp16
        return self.encoder.embed(self.normalise(features, self.ctc_head.weight.dtype))

    def normalise(self, features: SpeechStates, dtype: torch.dtype) -> SpeechStates:
        """Return features with the corpus's mean and variance taken out, as `dtype`."""
        normalised = (features.states - self.feature_mean) / self.feature_std
        return SpeechStates(normalised.to(dtype), features.num_frames, features.num_real_frames)

    def encode(
        self, embedded: SpeechStates, gates: GatePlan | GateSample | LayerwiseGates | None = None
    ) -> SpeechStates:
        """Return the encoder's states for the output of `embed`; sites that `gates` does not name are open."""
        if gates is None or isinstance(gates, LayerwiseGates):
            return self.encoder(embedded, gates)
        if isinstance(gates, GatePlan):
            gates = gates.expand(embedded.states.shape[0])  # else rows that a plan lacks would silently be closed
        layer_gates = gates.layer_gates("encoder", len(self.encoder.layers), self.feature_mean.device)
        return self.encoder(embedded, layer_gates)

    def decode(
        self,
        tokens: Int[Tensor, "batch length"],
        encoded: SpeechStates,
        gates: GatePlan | GateSample | LayerwiseGates | StepPlanner | StepSampler | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the logits after each position of whole prefixes: teacher forcing."""
        if isinstance(gates, LayerwiseGates):
            prompt = prompt_positions(tokens, self.config.bos_token_id)
            return decode_layerwise(self.decoder, tokens, Source.of(encoded), gates, prompt)
        if isinstance(gates, StepPlanner):
            gates = self.step_plan(tokens, gates)
        if isinstance(gates, StepSampler):
            gates = gates.draw(*self.said(tokens))
        if isinstance(gates, GatePlan):
            gates = gates.expand(tokens.shape[0])
        layer_gates = None if gates is None else self.decoder_gates(gates)
        return self.decoder(tokens, Source.of(encoded), layer_gates)

    def step_plan(self, tokens: Int[Tensor, "batch length"], planner: StepPlanner) -> GatePlan:
        """Return the gates that a step planner decides for each position of whole prefixes."""
        embedded, means = self.said(tokens)
        return GatePlan(planner.sites, planner.gates(embedded[:, None], means[:, None])[:, 0])

    def said(
        self, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length dim"]]:
        """Return the embeddings of tokens, without positions, and their means from `<sos>` to each."""
        embedded = self.decoder.embed_tokens(tokens)
        return embedded, PrefixMeans().extend(embedded, tokens == self.config.bos_token_id)

    def decoder_gates(self, gates: GatePlan | GateSample) -> tuple[LayerGates, ...]:
        """Return the gates of each decoder layer: made once an utterance, for all its steps."""
        return gates.layer_gates("decoder", len(self.decoder.layers), self.feature_mean.device)

    def ctc_logits(self, encoded: SpeechStates) -> Float[Tensor, "batch time vocab"]:
        """Return the CTC head's logits; index 0 is the blank."""
        return self.ctc_head(encoded.states)

    def ctc_log_normalizer(self, encoded: SpeechStates) -> Float[Tensor, "batch time"]:
        """Return what to subtract from the CTC head's logits to get log-probabilities, in fp32.

        Frames go through the head in pieces: all logits of a window of 50,000 tokens would be 150 MB.
        """
        pieces = encoded.states.split(_CTC_FRAMES_AT_ONCE, dim=1)
        return torch.cat([self.ctc_head(piece).float().logsumexp(dim=-1) for piece in pieces], dim=1)

    def ctc_logits_of(
        self, encoded: SpeechStates, tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens time"]:
        """Return the CTC head's logits of some tokens alone, others for each row, in fp32."""
        weight_BND, bias_BN = self.ctc_head.weight[tokens], self.ctc_head.bias[tokens]
        return (weight_BND @ encoded.states.transpose(1, 2) + bias_BN[..., None]).float()
