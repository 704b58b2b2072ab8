"""Which family a model belongs to, found by its class, without importing families that nobody uses."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, final

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
        """Return the family.

        Raises:
            SkipwiseError: if the module has none under that name.
        """
        family = getattr(importlib.import_module(self.module), self.attribute, None)
        if not isinstance(family, GateFamily):
            raise SkipwiseError(
                f"the family {self.model_type!r} must be a GateFamily; got {_said(family)} as {self.attribute} of "
                f"{self.module}. Name the right module and attribute in its FamilyEntry."
            )
        return family


@final
@dataclass(frozen=True, kw_only=True)
class _Family:
    """A family that is there already."""

    family: GateFamily[Any, Any]
    classes: tuple[str, ...]

    def load(self) -> GateFamily[Any, Any]:
        return self.family


ENTRY_POINTS: Final = "skipwise.families"
"""The group of entry points by which an installed package makes its families known."""

_BUILT_IN: Final = (
    FamilyEntry(
        model_type="owsm",
        classes=(
            "skipwise.models.owsm.network.OwsmNetwork",
            "skipwise.models.owsm.modeling.OwsmForConditionalGeneration",
        ),
        module="skipwise.models.owsm.family",
    ),
    FamilyEntry(
        model_type="whisper",
        classes=("transformers.models.whisper.modeling_whisper.WhisperForConditionalGeneration",),
        module="skipwise.models.whisper.family",
    ),
    FamilyEntry(
        model_type="espnet",
        classes=(
            "espnet2.s2t.espnet_model.ESPnetS2TModel",
            "espnet2.bin.s2t_inference.Speech2Text",
            "skipwise.models.espnet.network.EspnetNetwork",
        ),
        module="skipwise.models.foreign_family",
        attribute="ESPNET",
    ),
    FamilyEntry(
        model_type="ctc",
        classes=(
            "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2ForCTC",
            "transformers.models.hubert.modeling_hubert.HubertForCTC",
            "transformers.models.wavlm.modeling_wavlm.WavLMForCTC",
            "transformers.models.parakeet.modeling_parakeet.ParakeetForCTC",
            "skipwise.models.ctc.network.CtcNetwork",
        ),
        module="skipwise.models.foreign_family",
        attribute="CTC",
    ),
)

_KNOWN: dict[str, FamilyEntry | _Family] = {entry.model_type: entry for entry in _BUILT_IN}


def register_family(family: GateFamily[Any, Any], *models: type) -> None:
    """Make skipwise know a family under its name; gates go on its `models` and on classes that derive from them.

    A package does the same without being imported: its entry point in the group `skipwise.families` names a
    `FamilyEntry`.

    Raises:
        SkipwiseError: if `family` is none, no model class is given, or the name or a class belongs to another family.
    """
    if not isinstance(family, GateFamily):
        raise SkipwiseError(
            f"a family is an object of a class that derives from GateFamily; got {_said(family)}. Call "
            "register_family(TheFamily(), TheModel)."
        )
    if strange := [model for model in models if not isinstance(model, type)]:
        raise SkipwiseError(
            f"a family is found by the classes of its models; got {_said(strange[0])}. Call "
            "register_family(family, TheModel)."
        )
    if not models:
        raise SkipwiseError(
            f"a family is found by the classes of its models; got none for {family.name!r}. Call "
            "register_family(family, TheModel)."
        )
    _add(family.name, _Family(family=family, classes=tuple(map(_full_name, models))))


def unregister_family(name: str) -> None:
    """Make skipwise forget a family, as before its cell in a notebook runs again.

    Raises:
        SkipwiseError: if there is none of that name.
    """
    if name not in _KNOWN:
        raise SkipwiseError(f"there is no family {name!r} to forget. Known: {', '.join(sorted(_KNOWN))}.")
    del _KNOWN[name]


def _add(name: str, known: FamilyEntry | _Family) -> None:
    if name in _KNOWN:
        raise SkipwiseError(
            f"there is a family {name!r} already, for {', '.join(_KNOWN[name].classes)}. Give yours another name, or "
            f"call unregister_family({name!r}) first."
        )
    for other, entry in _KNOWN.items():
        if taken := sorted(set(entry.classes).intersection(known.classes)):
            raise SkipwiseError(
                f"{', '.join(taken)} belongs to the family {other!r} already; {name!r} wants it too. Register a class "
                f"that derives from it, or call unregister_family({other!r}) first."
            )
    _KNOWN[name] = known


@cache
def _add_installed() -> None:
    """Make the families of installed packages known: asked once, when a model belongs to none of the others."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            entry = point.load()
        except Exception as error:  # whatever a foreign package does
            raise SkipwiseError(
                f"the family {point.name!r} of the package {_package(point)} cannot be loaded: {error}. Repair or "
                "uninstall it."
            ) from error
        if not isinstance(entry, FamilyEntry):
            raise SkipwiseError(
                f"the entry point {point.name!r} of the package {_package(point)} must name a "
                f"skipwise.models.registry.FamilyEntry, got {type(entry).__name__}."
            )
        if _KNOWN.get(entry.model_type) != entry:
            _add(entry.model_type, entry)


def family_called(model_type: str) -> GateFamily[Any, Any]:
    """Return the family whose `config.json` says `model_type`; KeyError if none is known."""
    return _KNOWN[model_type].load()


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
    found = _nearest(type(model))
    if found is None:
        _add_installed()
        found = _nearest(type(model))
    if found is not None:
        return found.load()
    known = sorted(name.rpartition(".")[2] for entry in _KNOWN.values() for name in entry.classes)
    raise SkipwiseError(
        f"gates go on one of {', '.join(known)}; got a {type(model).__name__}. Load one of those, or register the "
        "family of this model with skipwise.models.registry.register_family."
    )


def held_gates(network: object) -> HeldGates:
    """Return what is put on a network now."""
    return gate_family_of(network).held(network)


def _nearest(model: type) -> FamilyEntry | _Family | None:
    """The family that a class belongs to, by its nearest ancestor that is known."""
    for name in map(_full_name, model.__mro__):
        for entry in _KNOWN.values():
            if name in entry.classes:
                return entry
    return None


def _full_name(model: type) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _said(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
