"""A live model of another library in the words of our own networks, which is how `attach` and its kin see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from skipwise.gating import GateAdapter, GateSite, Planner

ADAPTER: Final = "gate_adapter"
"""The module of the gates in a model."""
_KEPT = "_skipwise"


class ForeignNetwork(ABC):
    """The part of a live model that gates go on.

    It holds nothing itself, so that two of the same model are the same: the adapter is a module of the model, and what
    else is known lies in the model's `__dict__`, gone with the gates.
    """

    family: ClassVar[str]
    """What adapters call the family of the model."""

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model

    @property
    @abstractmethod
    def config(self) -> Any:
        """The sizes and words of the model: `hidden_size`, `languages`, `tasks`, `gate_sites()`."""

    @abstractmethod
    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Return the modules with weights by the names that adapters know."""

    @abstractmethod
    def base_state(self) -> dict[str, Tensor]:
        """Return the weights of the base alone by the names that adapters know."""

    @abstractmethod
    def swap_classes(self, *, gated: bool) -> None:
        """Give modules the classes that follow gates, or their own."""

    @property
    def gate_adapter(self) -> GateAdapter | None:
        """The gates that `attach` put on."""
        return dict(self.model.named_children()).get(ADAPTER)

    @gate_adapter.setter
    def gate_adapter(self, adapter: GateAdapter | None) -> None:
        if adapter is None:
            self.model._modules.pop(ADAPTER, None)
        else:
            self.model.add_module(ADAPTER, adapter)
        self._settle()

    @property
    def forced_planner(self) -> Planner | None:
        """What a `gated` block follows instead."""
        return self.kept("forced_planner")

    @forced_planner.setter
    def forced_planner(self, planner: Planner | None) -> None:
        self.keep("forced_planner", planner)
        self._settle()

    @property
    def base_weights(self) -> dict[str, nn.Parameter]:
        """The base's own weights of layers that the attached adapter changes, by the layers' names."""
        return self.kept("base_weights") or {}

    @base_weights.setter
    def base_weights(self, weights: dict[str, nn.Parameter]) -> None:
        self.keep("base_weights", weights or None)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def gate_sites(self) -> tuple[GateSite, ...]:
        """Return all sites."""
        return self.config.gate_sites()

    def get_submodule(self, name: str) -> nn.Module:
        """Return the module of a name that adapters know."""
        return dict(self.named_modules())[name]

    def kept(self, name: str) -> Any:
        """Return what is kept in the model under a name; None if nothing is."""
        return self.model.__dict__.get(_KEPT, {}).get(name)

    def keep(self, name: str, value: object) -> None:
        """Keep something in the model; None forgets it."""
        kept = {
            key: old for key, old in (self.model.__dict__.get(_KEPT, {}) | {name: value}).items() if old is not None
        }
        self.model.__dict__.pop(_KEPT, None)
        if kept:
            self.model.__dict__[_KEPT] = kept

    def _settle(self) -> None:
        self.swap_classes(gated=self.gate_adapter is not None or self.forced_planner is not None)
