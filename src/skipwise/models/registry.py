"""Which family a model belongs to, found by its class, without importing families that nobody uses."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import final

from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models.family import HeldGates, ModelFamily


@final
@dataclass(frozen=True, kw_only=True)
class FamilyEntry:
    """Where a family lives and how its models are recognised."""

    model_type: str
    """What `config.json` calls it."""
    classes: tuple[str, ...]
    """Model classes that gates go on, with their modules; subclasses are recognised too."""
    module: str
    """The module whose `FAMILY` is the family."""

    def load(self) -> ModelFamily:
        """Return the family."""
        family = importlib.import_module(self.module).FAMILY
        assert isinstance(family, ModelFamily)
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


def family_of(model: nn.Module) -> ModelFamily:
    """Return the family of a model.

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


def held_gates(network: nn.Module) -> HeldGates:
    """Return what is put on a network now."""
    return family_of(network).held(network)
