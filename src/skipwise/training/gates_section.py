"""The section `gates` of a training config, and what is inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from skipwise.errors import SkipwiseError
from skipwise.gating.adapter import Granularity
from skipwise.gating.budget import Unit
from skipwise.gating.context import HIDEABLE_PARTS, VECTOR_PARTS, ContextPart
from skipwise.gating.penalty import PenaltyForm
from skipwise.gating.predictors import PredictorConfig, check_decides_steps, predictor_kinds
from skipwise.gating.relaxation import Relaxation
from skipwise.gating.sites import Scope
from skipwise.training.section import Section

GIVEN = "manifest"
"""As an extractor's name: embeddings come with the data, and none are computed."""


class CostSection(Section):
    """What sparsity counts."""

    unit: Unit = "sites"
    """`sites`, as the paper; `macs`, counted for the model at hand; `ms`, from `file`."""
    audio_s: float = Field(default=10.0, gt=0)
    """Seconds of audio that MACs are counted for; with a fixed window the encoder always computes all of it."""
    num_tokens: int = Field(default=30, ge=1)
    """Tokens that MACs are counted for."""
    file: Path | None = None
    """JSON object from each site's name to what it costs, in any scale; for `ms`."""

    @model_validator(mode="after")
    def _milliseconds_are_measured(self) -> CostSection:
        if (self.unit == "ms") != (self.file is not None):
            raise ValueError(
                "unit ms needs file, what each site costs on the machine that counts; other units need none"
            )
        return self


class DistillationSection(Section):
    """The dense pass teaches the pruned one."""

    weight: float = Field(default=1.0, gt=0)
    """Of the divergence of the decoder's log-probabilities, beside the task loss of the pruned pass."""
    ctc_weight: float = Field(default=0.0, ge=0)
    """Of the divergence of the CTC head's; for gates on the encoder."""
    temperature: float = Field(default=1.0, gt=0)
    """Both distributions are flattened by it, and the divergence is scaled back by its square."""


class GatesSection(Section):
    """Gates to train together with the base."""

    scope: Scope = "decoder"
    """Stacks to gate."""
    init: Path | None = None
    """Folder of an adapter whose predictors these go on from, on the stacks that it has gates on; null: fresh ones."""
    default_scope: Scope | None = None
    """Stacks that are pruned where a request names none; null: all that are gated."""
    sparsity: float = Field(default=0.5, ge=0, lt=1)
    """Target share to skip of each of these stacks; with `sparsity_range` what is followed by default."""
    sparsity_range: tuple[float, float] | None = None
    """Draw each row's target between these instead, for gates that follow any budget; needs `budget` in `context`."""
    sparsity_warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the run over which the target rises from 0."""
    sparsity_warmup_shape: Literal["linear", "cubic"] = "linear"
    """How it rises; `cubic` fast at first (Zhu and Gupta 2017)."""
    cost: CostSection = CostSection()
    granularity: Granularity = "utterance"
    """How often the decoder's gates are decided: `step` is at every position, from the tokens so far too."""
    context: tuple[ContextPart, ...] = HIDEABLE_PARTS
    """What the predictor may know."""
    context_dropout: float = Field(default=0.15, ge=0, lt=1)
    """How often each part of the context is hidden in training."""
    speaker: str = "log_mel_statistics"
    """What speaker embeddings come from, if `speaker` is in `context`: an extractor, or `manifest`."""
    event: str = "noise_statistics"
    """What event embeddings come from, if `event` is in `context`: an extractor, or `manifest`."""
    predictor: dict[str, Any] = Field(default_factory=lambda: {"kind": "mlp"})
    """`kind` (mlp, local, table, static, random, layer_drop) and what its config knows, such as `hidden_size`."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate of the predictor."""
    relaxation: Relaxation = "straight_through"
    """Hard gates with the gradient of soft ones, or soft gates that the base sees."""
    temperature_start: float = Field(default=1.0, gt=0)
    """Temperature of the Gumbel-softmax at the first step."""
    temperature_end: float = Field(default=1.0, gt=0)
    """Temperature at the last step."""
    penalty: PenaltyForm = "both"
    """Form of the sparsity penalty."""
    absolute_weight: float = Field(default=1.0, ge=0)
    """beta of the penalty."""
    squared_weight: float = Field(default=20.0, ge=0)
    """alpha of the penalty."""
    multiplier_lr: float = Field(default=0.1, ge=0)
    """Dual step of the `lagrangian` form."""
    per_row: bool = False
    """Pull each row to its target instead of the mean over the rows; a `sparsity_range` does so always."""
    dense_share: float = Field(default=0.5, ge=0, lt=1)
    """Weight of the dense pass beside the pruned one, so that one set of weights serves both; 0 leaves it out."""
    open_share: float = Field(default=0.0, ge=0, lt=1)
    """How often a row's gates of a stack are held open in the pruned pass, each stack drawn for itself. With 0.4 a
    sixth of the rows is dense and half prune one stack alone, in the one pass; a dense pass takes as long again."""
    distillation: DistillationSection | None = None

    @model_validator(mode="after")
    def _budgets_are_known(self) -> GatesSection:
        if self.sparsity_range is None:
            return self
        low, high = self.sparsity_range
        if not 0 <= low <= high < 1:
            raise ValueError(f"sparsity_range must be [low, high] with 0 <= low <= high < 1, got {[low, high]}")
        if "budget" not in self.context:
            raise ValueError("sparsity_range needs budget in context, or the gates could not know what to follow")
        return self

    @model_validator(mode="after")
    def _predictor_is_known(self) -> GatesSection:
        predictor = self.predictor_config()
        if self.granularity == "step":
            if self.scope == "encoder":
                raise ValueError("granularity step is for the decoder's gates; scope encoder has none")
            try:
                check_decides_steps(predictor)
            except SkipwiseError as error:
                raise ValueError(str(error).removesuffix(".")) from error
        return self

    def predictor_config(self) -> PredictorConfig:
        """Return the config of the predictor.

        Raises:
            ValueError: for an unknown kind, field or value; names the allowed ones.
        """
        fields = dict(self.predictor)
        kinds, kind = predictor_kinds(), fields.pop("kind", None)
        if kind not in kinds:
            raise ValueError(f"predictor.kind must be one of {', '.join(kinds)}; got {kind!r}")
        known = sorted(kinds[kind].__dataclass_fields__)
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise ValueError(
                f"unknown key predictor.{unknown[0]}; allowed for {kind}: {', '.join(known) or 'nothing but kind'}"
            )
        try:
            return TypeAdapter(kinds[kind]).validate_python(fields)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ValueError(f"predictor.{where}: {problem['msg'].lower()}, got {problem['input']!r}") from error


SomeGates = TypeVar("SomeGates", bound=GatesSection)


def read_section(kind: type[SomeGates], record: Mapping[str, Any], *, name: str) -> SomeGates:
    """Return a checked section that is called `name` where it stands.

    Raises:
        SkipwiseError: for an unknown key or value.
    """
    try:
        return kind(**record)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in (name, *problem["loc"]))
        told, known = problem["msg"].removeprefix("Value error, "), ", ".join(kind.model_fields)
        raise SkipwiseError(f"{where}: {told}, got {problem['input']!r}. The keys of {name}: {known}.") from error


def for_our_trainer(section: GatesSection) -> str:
    """Return what is used of the settings that trainers of other libraries do not know; or nothing."""
    vectors = ", ".join(part for part in VECTOR_PARTS if part in section.context)
    if vectors or section.distillation is not None:
        return vectors or "distillation"
    if section.open_share > 0:
        return "open_share"
    return "" if section.init is None else "init"
