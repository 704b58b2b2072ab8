"""OWSM as a model family: its network takes plans as arguments and holds its gates itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

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
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.fresh import fresh_owsm, take_encoder
from skipwise.models.owsm.front_end import OwsmFrontEnd
from skipwise.models.owsm.loading import MODEL_TYPE, OwsmModel, save_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.models.precision import Dtype
from skipwise.models.trainable import FreshModel, LossConfig, Statistics, TrainableFamily, kept_layers

_FREE_FIELDS = ("window_s", "max_window_s", "ctc_loss_weight", "label_smoothing", "length_normalized_loss")
"""Of `OwsmArchitecture`: those that no weight depends on."""


@final
class OwsmFamily(TrainableFamily):
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

    def decoder_parameters(self, network: nn.Module) -> Iterator[nn.Parameter]:
        return _owsm(network).decoder.parameters()

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

    def front_end(self, network: nn.Module) -> OwsmFrontEnd:
        return OwsmFrontEnd.of(_owsm(network).config)

    def loss_config(self, network: nn.Module) -> LossConfig:
        config = _owsm(network).config
        return LossConfig(
            label_smoothing=config.label_smoothing,
            length_normalized=config.length_normalized_loss,
            ctc_weight=config.ctc_loss_weight,
        )

    def ctc_head(self, network: nn.Module) -> OwsmNetwork:
        return _owsm(network)

    def max_positions(self, network: nn.Module) -> None:
        """Return None: positions are computed, however many there are."""

    def said(
        self, network: nn.Module, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length dim"]]:
        return _owsm(network).said(tokens)

    def masking_value(self, network: nn.Module) -> Float[Tensor, " mels"]:
        """Return the mean of the features, which is 0 after normalisation."""
        return _owsm(network).feature_mean.clone()

    def configure(self, network: nn.Module, changes: Mapping[str, Any]) -> None:
        fixed = changes.keys() - set(_FREE_FIELDS)
        if fixed:
            raise SkipwiseError(
                f"model.architecture.{min(fixed)} cannot change in a trained base; allowed there: "
                f"{', '.join(_FREE_FIELDS)}."
            )
        for name, value in changes.items():
            setattr(_owsm(network).config, name, value)

    def keep_decoder_layers(self, network: nn.Module, kept: Sequence[int]) -> None:
        owsm = _owsm(network)
        owsm.decoder.layers = kept_layers(owsm.decoder.layers, kept)
        owsm.config.decoder_layers = len(kept)

    def remember_shares(self, network: nn.Module, *, timestamps: float, previous_text: float) -> None:
        config = _owsm(network).config
        config.timestamps_share, config.previous_text_share = timestamps, previous_text

    def fresh(self, wanted: FreshModel, texts: Iterable[str]) -> OwsmModel:
        return fresh_owsm(wanted, texts)

    def take_statistics(self, network: nn.Module, statistics: Statistics) -> None:
        mean, std = statistics()
        _owsm(network).feature_mean.copy_(mean)
        _owsm(network).feature_std.copy_(std)

    def take_encoder(self, network: nn.Module, donor: SpeechModel[nn.Module, Vocabulary]) -> None:
        if not isinstance(donor.network, OwsmNetwork):
            raise SkipwiseError(
                f"model.encoder must be an OWSM where the fresh model is one; {donor.name} is a "
                f"{type(donor.network).__name__}. Name an OWSM, or `reference`."
            )
        take_encoder(_owsm(network), donor)

    def save(self, folder: Path, model: SpeechModel[nn.Module, Vocabulary]) -> None:
        assert isinstance(model.vocabulary, OwsmVocabulary)
        save_owsm(folder, _owsm(model.network), model.vocabulary)


def _owsm(network: nn.Module) -> OwsmNetwork:
    assert isinstance(network, OwsmNetwork)
    return network


FAMILY = OwsmFamily()
