"""OWSM as a model family: its network takes plans as arguments and holds its gates itself."""

from __future__ import annotations

from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.models.family import DecoderGates, EncoderGates, HeldGates, ModelFamily, NetworkDescription
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import MODEL_TYPE
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.precision import Dtype


@final
class OwsmFamily(ModelFamily):
    """OWSM v3.1 and v4."""

    @property
    def name(self) -> str:
        return MODEL_TYPE

    def network(self, model: nn.Module) -> OwsmNetwork:
        return _owsm(model if isinstance(model, OwsmNetwork) else model.get_submodule("model"))

    def describe(self, network: nn.Module) -> NetworkDescription:
        config = _owsm(network).config
        return NetworkDescription(
            hidden_size=config.hidden_size,
            sites=config.gate_sites(),
            languages=config.languages,
            tasks=config.tasks,
        )

    def base_state(self, network: nn.Module) -> dict[str, Tensor]:
        return _owsm(network).base_state()

    def held(self, network: nn.Module) -> HeldGates:
        return _owsm(network)

    def settle(self, network: nn.Module, held: HeldGates) -> None:
        """Do nothing: plans come in as arguments, and whoever calls asks `planner_of` for them."""

    def config(self, network: nn.Module) -> OwsmArchitecture:
        return _owsm(network).config

    def engine(self, network: nn.Module, dtype: Dtype = "fp32") -> OwsmEngine:
        return OwsmEngine(_owsm(network), dtype)

    def num_decoder_weights(self, network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in _owsm(network).decoder.parameters())

    def embed(self, network: nn.Module, features: SpeechStates) -> SpeechStates:
        return _owsm(network).embed(features)

    def encode(self, network: nn.Module, embedded: SpeechStates, gates: EncoderGates = None) -> SpeechStates:
        return _owsm(network).encode(embedded, gates)

    def decode(
        self,
        network: nn.Module,
        tokens: Int[Tensor, "batch length"],
        encoded: SpeechStates,
        gates: DecoderGates = None,
    ) -> Float[Tensor, "batch length vocab"]:
        return _owsm(network).decode(tokens, encoded, gates)


def _owsm(network: nn.Module) -> OwsmNetwork:
    assert isinstance(network, OwsmNetwork)
    return network


FAMILY = OwsmFamily()
