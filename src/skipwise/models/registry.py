"""Which family a model belongs to, found by its class, without importing families that nobody uses."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models.family import GateFamily, HeldGates, ModelFamily


@final
@dataclass(frozen=True, kw_only=True)
class FamilyEntry:
    """Where a family lives and how its models are recognised."""

    model_type: str
    """What `config.json` calls it."""
    classes: tuple[str, ...]
    """Model classes that gates go on, with their modules; subclasses are recognised too."""
    module: str
    """The module that has the family."""
    attribute: str = "FAMILY"
    """What it is called there."""

    def load(self) -> GateFamily[Any, Any]:
        """Return the family."""
        family = getattr(importlib.import_module(self.module), self.attribute)
        assert isinstance(family, GateFamily)
        return family


_ENTRIES: dict[str, FamilyEntry] = {}


def register_family(entry: FamilyEntry) -> None:
    """Make skipwise know a family, or another version of one."""
    _ENTRIES[entry.model_type] = entry


register_family(
    FamilyEntry(
        model_type="owsm",
        classes=(
            "skipwise.models.owsm.network.OwsmNetwork",
            "skipwise.models.owsm.modeling.OwsmForConditionalGeneration",
        ),
        module="skipwise.models.owsm.family",
    )
)
register_family(
    FamilyEntry(
        model_type="whisper",
        classes=("transformers.models.whisper.modeling_whisper.WhisperForConditionalGeneration",),
        module="skipwise.models.whisper.family",
    )
)


register_family(
    FamilyEntry(
        model_type="espnet",
        classes=(
            "espnet2.s2t.espnet_model.ESPnetS2TModel",
            "espnet2.bin.s2t_inference.Speech2Text",
            "skipwise.models.espnet.network.EspnetNetwork",
        ),
        module="skipwise.models.foreign_family",
        attribute="ESPNET",
    )
)
register_family(
    FamilyEntry(
        model_type="ctc",
        classes=(
            "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2ForCTC",
            "transformers.models.hubert.modeling_hubert.HubertForCTC",
            "transformers.models.wavlm.modeling_wavlm.WavLMForCTC",
            "skipwise.models.ctc.network.CtcNetwork",
        ),
        module="skipwise.models.foreign_family",
        attribute="CTC",
    )
)


def family_called(model_type: str) -> GateFamily[Any, Any]:
    """Return the family whose `config.json` says `model_type`; KeyError if none is known."""
    return _ENTRIES[model_type].load()


def family_of(model: nn.Module) -> ModelFamily:
    """Return the family of a model that our engine decodes.

    Raises:
        SkipwiseError: if there is none, or its own library decodes it.
    """
    family = gate_family_of(model)
    if not isinstance(family, ModelFamily):
        raise SkipwiseError(
            f"a {type(model).__name__} is decoded by its own library, under the gates that attach puts on it; our "
            "engine runs OWSM and Whisper."
        )
    return family


def gate_family_of(model: object) -> GateFamily[Any, Any]:
    """Return the family of a model that gates go on.

    Raises:
        SkipwiseError: if there is none.
    """
    ancestors = {f"{ancestor.__module__}.{ancestor.__qualname__}" for ancestor in type(model).__mro__}
    for entry in _ENTRIES.values():
        if ancestors.intersection(entry.classes):
            return entry.load()
    known = sorted(name.rpartition(".")[2] for entry in _ENTRIES.values() for name in entry.classes)
    raise SkipwiseError(
        f"gates go on one of {', '.join(known)}; got a {type(model).__name__}. Load one of those, or register the "
        "family of this model with skipwise.models.registry.register_family."
    )


def held_gates(network: object) -> HeldGates:
    """Return what is put on a network now."""
    return gate_family_of(network).held(network)
