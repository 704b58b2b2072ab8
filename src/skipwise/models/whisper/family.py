"""Whisper as a model family: transformers' `WhisperForConditionalGeneration`, tiny to large-v3 and distilled ones."""

from __future__ import annotations

from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import WhisperForConditionalGeneration

from skipwise.features import SpeechStates
from skipwise.models.family import DecoderGates, EncoderGates, HeldGates, ModelFamily, NetworkDescription
from skipwise.models.precision import Dtype
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.engine import WhisperEngine
from skipwise.models.whisper.live import LiveGates
from skipwise.models.whisper.tokens import WhisperTokens
from skipwise.models.whisper.words import WhisperWords


@final
class WhisperFamily(ModelFamily):
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

    def num_decoder_weights(self, network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in _whisper(network).model.decoder.parameters())

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


def _whisper(model: nn.Module) -> WhisperForConditionalGeneration:
    assert isinstance(model, WhisperForConditionalGeneration)
    return model


FAMILY = WhisperFamily()
