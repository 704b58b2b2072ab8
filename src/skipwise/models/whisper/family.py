"""Whisper as a model family: transformers' `WhisperForConditionalGeneration`, tiny to large-v3 and distilled ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import WhisperForConditionalGeneration

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.models.family import (
    DecoderGates,
    EncoderGates,
    HeldGates,
    NetworkDescription,
    SpeechModel,
    Vocabulary,
)
from skipwise.models.precision import Dtype
from skipwise.models.trainable import FreshModel, LossConfig, Statistics, TrainableFamily, kept_layers
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.engine import WhisperEngine
from skipwise.models.whisper.fresh import fresh_whisper
from skipwise.models.whisper.front_end import WhisperFrontEnd
from skipwise.models.whisper.live import LiveGates
from skipwise.models.whisper.loading import WhisperSpeechModel, save_whisper
from skipwise.models.whisper.tokens import WhisperTokens
from skipwise.models.whisper.vocabulary import WhisperVocabulary
from skipwise.models.whisper.words import WhisperWords


@final
class WhisperFamily(TrainableFamily):
    """Everything that differs between its models is in their configs."""

    @property
    def name(self) -> str:
        return "whisper"

    def network(self, model: nn.Module) -> WhisperForConditionalGeneration:
        return _whisper(model)

    def describe(self, network: nn.Module) -> NetworkDescription:
        model = _whisper(network)
        words = WhisperWords.of(model.generation_config)
        return NetworkDescription(
            hidden_size=model.config.d_model,
            sites=stacks.gate_sites(model),
            languages=words.languages,
            tasks=words.tasks,
        )

    def base_state(self, network: nn.Module) -> dict[str, Tensor]:
        own = {f"{name}.weight": weight.detach() for name, weight in self.held(network).base_weights.items()}
        return {name: own.get(name, tensor) for name, tensor in network.state_dict().items()}

    def held(self, network: nn.Module) -> HeldGates:
        return LiveGates.of(_whisper(network))

    def settle(self, network: nn.Module, held: HeldGates) -> None:
        assert isinstance(held, LiveGates)
        held.settle()

    def config(self, network: nn.Module) -> WhisperTokens:
        model = _whisper(network)
        return WhisperTokens.of(model.config, model.generation_config)

    def engine(self, network: nn.Module, dtype: Dtype = "fp32") -> WhisperEngine:
        return WhisperEngine(_whisper(network), dtype)

    def decoder_parameters(self, network: nn.Module) -> Iterator[nn.Parameter]:
        whisper = _whisper(network)  # whose output head is tied to the embeddings, unless its config says otherwise
        return nn.ModuleList([whisper.model.decoder, whisper.proj_out]).parameters()

    def embed(self, network: nn.Module, features: SpeechStates) -> SpeechStates:
        return stacks.embed(_whisper(network), features)

    def encode(self, network: nn.Module, embedded: SpeechStates, gates: EncoderGates = None) -> SpeechStates:
        return stacks.encode(_whisper(network), embedded, gates)

    def decode(
        self,
        network: nn.Module,
        tokens: Int[Tensor, "batch length"],
        encoded: SpeechStates,
        gates: DecoderGates = None,
    ) -> Float[Tensor, "batch length vocab"]:
        return stacks.decode(_whisper(network), tokens, encoded, gates)

    def front_end(self, network: nn.Module) -> WhisperFrontEnd:
        config = _whisper(network).config
        # the second convolution takes every other frame
        return WhisperFrontEnd(bins=config.num_mel_bins, frames=2 * config.max_source_positions)

    def loss_config(self, network: nn.Module) -> LossConfig:
        """Return what transformers' own loss is: the mean over tokens, not smoothed."""
        return LossConfig(label_smoothing=0.0, length_normalized=True, ctc_weight=0.0)

    def ctc_head(self, network: nn.Module) -> None:
        """Return None: Whisper has none."""

    def max_positions(self, network: nn.Module) -> int:
        return _whisper(network).config.max_target_positions

    def said(
        self, network: nn.Module, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length dim"]]:
        return stacks.said(_whisper(network), tokens)

    def masking_value(self, network: nn.Module) -> Float[Tensor, " mels"]:
        """Return zeros, as transformers' SpecAugment has it: in the middle of what its scaled features are."""
        return torch.zeros(_whisper(network).config.num_mel_bins)

    def configure(self, network: nn.Module, changes: Mapping[str, Any]) -> None:
        if changes:
            raise SkipwiseError(
                f"model.architecture.{min(changes)} cannot change in a trained Whisper. Leave model.architecture out, "
                "or train one from scratch (model.init: scratch, model.family: whisper)."
            )

    def keep_decoder_layers(self, network: nn.Module, kept: Sequence[int]) -> None:
        whisper: Any = _whisper(network)  # transformers types the parts of a model as any module
        decoder = whisper.model.decoder
        decoder.layers = kept_layers(decoder.layers, kept)
        of_layers: Any = decoder.layers
        for index, layer in enumerate(of_layers):
            layer.self_attn.layer_idx = layer.encoder_attn.layer_idx = index  # where the cache keeps theirs
        whisper.config.decoder_layers = len(kept)
        heads = getattr(whisper.generation_config, "alignment_heads", None)
        if heads is not None:  # those that word timestamps are read from
            places = {layer: index for index, layer in enumerate(kept)}
            whisper.generation_config.alignment_heads = [
                [places[layer], head] for layer, head in heads if layer in places
            ]

    def remember_shares(self, network: nn.Module, *, timestamps: float, previous_text: float) -> None:
        """Do nothing: a Whisper's config has no place for it, and decoding believes that it learned both."""

    def fresh(self, wanted: FreshModel, texts: Iterable[str]) -> WhisperSpeechModel:
        return fresh_whisper(wanted, texts)

    def take_statistics(self, network: nn.Module, statistics: Statistics) -> None:
        """Do nothing: each window is scaled by its own loudest bin."""

    def take_encoder(self, network: nn.Module, donor: SpeechModel[nn.Module, Vocabulary]) -> None:
        raise SkipwiseError(
            f"model.encoder is for a fresh OWSM; a Whisper does not start from the encoder of {donor.name}. Leave it "
            "out, or start from a whole Whisper (model.init)."
        )

    def save(self, folder: Path, model: SpeechModel[nn.Module, Vocabulary]) -> None:
        assert isinstance(model.vocabulary, WhisperVocabulary)
        save_whisper(folder, _whisper(model.network), model.vocabulary)


def _whisper(model: nn.Module) -> WhisperForConditionalGeneration:
    assert isinstance(model, WhisperForConditionalGeneration)
    return model


FAMILY = WhisperFamily()
