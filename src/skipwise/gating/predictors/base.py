"""The gate predictor: from a context and pooled speech to two logits a site; and the registry of its kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating.context import ContextIds


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Base of every predictor's config; the config's class chooses the predictor."""


@dataclass(frozen=True, kw_only=True)
class PredictorShape:
    """What a predictor is built for: sizes that come from the base model, not from the user."""

    pooled_size: int
    """Width D of the pooled speech."""
    num_languages: int
    """Known languages, the unknown one not counted."""
    num_tasks: int
    """Known tasks, the unknown one not counted."""
    num_sites: int
    """Sites to decide."""
    with_budget: bool = False
    """Whether the budget is part of the context."""


class GatePredictor(nn.Module, ABC):
    """Decides the sites of one stack from the context."""

    @abstractmethod
    def forward(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch sites 2"]:
        """Return the logits (closed, open) of every site."""


P = TypeVar("P", bound=type[GatePredictor])

_PREDICTORS: dict[str, tuple[type[PredictorConfig], Callable[..., GatePredictor]]] = {}


def register_predictor(config_class: type[PredictorConfig]) -> Callable[[P], P]:
    """Return a decorator that makes a predictor class the one built from `config_class`."""

    def register(predictor_class: P) -> P:
        _PREDICTORS[config_class.__name__] = (config_class, predictor_class)
        return predictor_class

    return register


def predictor_config_class(name: str) -> type[PredictorConfig]:
    """Return the config class registered under its class name.

    Raises:
        SkipwiseError: if there is none of that name.
    """
    if name not in _PREDICTORS:
        raise SkipwiseError(f"unknown predictor config {name!r}. Known: {', '.join(sorted(_PREDICTORS))}.")
    return _PREDICTORS[name][0]


def build_predictor(config: PredictorConfig, shape: PredictorShape) -> GatePredictor:
    """Return a freshly initialised predictor for `config`."""
    name = type(config).__name__
    predictor_config_class(name)
    return _PREDICTORS[name][1](config, shape)
