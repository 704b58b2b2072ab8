"""The gate predictor: from a context and pooled speech to two logits a site; and the registry of its kinds.

Shapes: B rows, D width, S sites of the stack, or of one layer of it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating.context import ContextIds
from skipwise.gating.draws import RowDraws
from skipwise.gating.sites import GateSite


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Base of every predictor's config; the config's class chooses the predictor."""


@dataclass(frozen=True, kw_only=True)
class PredictorShape:
    """What a predictor is built for: sizes that come from the base model and the context, not from the user."""

    pooled_size: int
    """Width D of the pooled speech."""
    num_languages: int
    """Known languages, the unknown one not counted."""
    num_tasks: int
    """Known tasks, the unknown one not counted."""
    sites: tuple[GateSite, ...]
    """Sites to decide, all of one stack."""
    site_weights: Float[Tensor, " sites"]
    """What each counts for in a budget; they sum up to 1."""
    with_budget: bool = False
    """Whether the budget is part of the context."""
    speaker_size: int = 0
    """Numbers of a speaker embedding; 0 where it is no part of the context."""
    event_size: int = 0
    """Numbers of an event embedding; 0 where it is no part of the context."""
    token_size: int = 0
    """Width of token embeddings, where every position of the decoder decides; 0 where one decision serves them all."""

    @property
    def num_sites(self) -> int:
        return len(self.sites)


class GatePredictor(nn.Module, ABC):
    """Decides all sites of one stack at once, before the stack runs."""

    depends_on_input: ClassVar[bool] = True
    """Whether rows may differ; where not, one plan for all of them is no collapse."""

    @abstractmethod
    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        """Return the logits (closed, open) of every site.

        `draws` are there in training, for a predictor that is random itself.
        """


class LayerPredictor(nn.Module, ABC):
    """Decides the sites of one stack layer by layer, as they run, each from what comes in there."""

    depends_on_input: ClassVar[bool] = True
    """Whether rows may differ."""

    @abstractmethod
    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], layer: int
    ) -> Float[Tensor, "batch sites 2"]:
        """Return the logits (closed, open) of one layer's sites; `pooled` is the mean of the layer's own input."""


class StepPredictor(nn.Module, ABC):
    """Decides all sites of the decoder at each position, from what is fed there and what was fed before."""

    depends_on_input: ClassVar[bool] = True
    """Whether rows may differ."""

    @abstractmethod
    def start(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch hidden"]:
        """Return what is the same at all positions of an utterance."""

    @abstractmethod
    def forward(
        self,
        started: Float[Tensor, "*#positions hidden"],
        tokens: Float[Tensor, "*positions dim"],
        prefix_means: Float[Tensor, "*positions dim"],
    ) -> Float[Tensor, "*positions sites 2"]:
        """Return the logits (closed, open) of every site at every position.

        `started` is what `start` returned, with axes of size 1 for the positions; `tokens` are the embeddings of what
        is fed there, without positions, and `prefix_means` their means from `<sos>` to there.
        """


AnyPredictor = GatePredictor | LayerPredictor | StepPredictor
P = TypeVar("P", bound=type[GatePredictor] | type[LayerPredictor])
S = TypeVar("S", bound=type[StepPredictor])

_PREDICTORS: dict[str, tuple[type[PredictorConfig], Callable[..., AnyPredictor]]] = {}
_STEP_PREDICTORS: dict[str, Callable[..., StepPredictor]] = {}


def register_predictor(config_class: type[PredictorConfig]) -> Callable[[P], P]:
    """Return a decorator that makes a predictor class the one built from `config_class`."""

    def register(predictor_class: P) -> P:
        _PREDICTORS[config_class.__name__] = (config_class, predictor_class)
        return predictor_class

    return register


def register_step_predictor(config_class: type[PredictorConfig]) -> Callable[[S], S]:
    """Return a decorator that makes a class the one built from `config_class` where every position decides."""

    def register(predictor_class: S) -> S:
        _STEP_PREDICTORS[config_class.__name__] = predictor_class
        return predictor_class

    return register


def check_decides_steps(config: PredictorConfig) -> None:
    """Raise a SkipwiseError if predictors of this kind cannot decide at every position."""
    if type(config).__name__ not in _STEP_PREDICTORS:
        able = ", ".join(_short(name) for name in sorted(_STEP_PREDICTORS))
        raise SkipwiseError(
            f"granularity step is for predictors of kind {able}; got {_short(type(config).__name__)}, which decides "
            "without the tokens. Use another kind, or granularity utterance."
        )


def predictor_config_class(name: str) -> type[PredictorConfig]:
    """Return the config class registered under its class name.

    Raises:
        SkipwiseError: if there is none of that name.
    """
    if name not in _PREDICTORS:
        raise SkipwiseError(f"unknown predictor config {name!r}. Known: {', '.join(sorted(_PREDICTORS))}.")
    return _PREDICTORS[name][0]


def predictor_kinds() -> dict[str, type[PredictorConfig]]:
    """Return the config class of every kind by its short name: `mlp` for `MlpPredictorConfig`."""
    return {_short(name): config_class for name, (config_class, _) in sorted(_PREDICTORS.items())}


def build_predictor(config: PredictorConfig, shape: PredictorShape) -> AnyPredictor:
    """Return a freshly initialised predictor for `config`."""
    name = type(config).__name__
    predictor_config_class(name)
    if shape.token_size:
        check_decides_steps(config)
        return _STEP_PREDICTORS[name](config, shape)
    return _PREDICTORS[name][1](config, shape)


def _short(name: str) -> str:
    words = re.findall(r"[A-Z][a-z0-9]*", name.removesuffix("PredictorConfig"))
    return "_".join(words).lower()
