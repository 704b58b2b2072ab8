"""The gate adapter: predictors of one or both stacks, and what base they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating.budget import Unit, check_unit, stack_weights
from skipwise.gating.context import (
    CONTEXT_PARTS,
    HIDEABLE_PARTS,
    VECTOR_PARTS,
    Context,
    ContextCodec,
    ContextIds,
    ContextPart,
    VectorPart,
)
from skipwise.gating.draws import RowDraws
from skipwise.gating.layerwise import LayerDecider, LayerPlanner, LayerSampler
from skipwise.gating.lora import LoraWeights
from skipwise.gating.plan import GatePlan, GateSample, all_but_least_likely, open_where_likelier
from skipwise.gating.predictors import (
    LayerPredictor,
    MlpPredictorConfig,
    PredictorConfig,
    StepPredictor,
    check_decides_steps,
)
from skipwise.gating.predictors.base import AnyPredictor, PredictorShape, build_predictor
from skipwise.gating.relaxation import Sampling
from skipwise.gating.sites import STACKS, GateSite, Scope, Stack, check_scope, sites_in
from skipwise.gating.steps import StepPlanner
from skipwise.gating.stepwise import AdapterStepPlanner, StepDecider, StepSampler

Granularity = Literal["utterance", "step"]
"""One plan an utterance, decided before the first step; or gates of their own at every position of the decoder. The
encoder's are always one plan an utterance."""


@final
@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """What a user chooses about gates before they are trained."""

    scope: Scope = "decoder"
    """Stacks whose sites are gated."""
    sparsity: float = 0.5
    """Target share of what is skipped per gated stack, in [0, 1)."""
    default_scope: Scope | None = None
    """Stacks that are pruned where a request names none; None: all that are gated."""
    context: tuple[ContextPart, ...] = HIDEABLE_PARTS
    """Parts of the context that the predictor may use; the others count as unknown. With `budget` one adapter serves
    every sparsity, and `sparsity` is what it follows where none is asked for."""
    predictor: PredictorConfig = dataclasses.field(default_factory=MlpPredictorConfig)
    """Kind and size of the predictor of each stack."""
    granularity: Granularity = "utterance"
    """How often the decoder's gates are decided."""
    unit: Unit = "sites"
    """What sparsity counts: sites, as in the paper, or each site's share of the MACs or of the milliseconds."""
    site_weights: tuple[float, ...] = ()
    """What each site of the base counts for, in the base's order, in any scale; empty: all the same."""
    speaker_size: int = 0
    """Numbers of a speaker embedding, where `speaker` is part of the context."""
    event_size: int = 0
    """Numbers of an event embedding, where `event` is part of the context."""
    speaker_extractor: str = ""
    """What computes a speaker embedding where a request brings none; empty: nothing, it is unknown then."""
    event_extractor: str = ""
    """What computes an event embedding where a request brings none."""

    def __post_init__(self) -> None:
        self._check_scopes()
        if not 0 <= self.sparsity < 1:
            raise SkipwiseError(
                f"sparsity must be in [0, 1), got {self.sparsity}. For the base model use GatePlan.all_open()."
            )
        unknown = [part for part in self.context if part not in CONTEXT_PARTS]
        if unknown:
            raise SkipwiseError(f"context parts are {', '.join(CONTEXT_PARTS)}; got {', '.join(unknown)}.")
        if self.granularity not in get_args(Granularity):
            raise SkipwiseError(
                f"granularity must be one of {', '.join(get_args(Granularity))}; got {self.granularity!r}."
            )
        if self.granularity == "step":
            if self.scope == "encoder":
                raise SkipwiseError("granularity step is for the decoder's gates; scope encoder has none.")
            check_decides_steps(self.predictor)
        check_unit(self.unit)
        if self.unit != "sites" and not self.site_weights:
            raise SkipwiseError(f"a budget in {self.unit} needs site_weights: what each site costs in that unit.")
        for part in VECTOR_PARTS:
            if (part in self.context) != (self.vector_size(part) > 0):
                raise SkipwiseError(
                    f"{part}_size must be the numbers of an embedding if {part} is among the context parts, and 0 if "
                    f"not; got {self.vector_size(part)} with context {', '.join(self.context)}."
                )

    def _check_scopes(self) -> None:
        check_scope(self.scope)
        if self.default_scope is None:
            return
        check_scope(self.default_scope)
        if self.scope not in ("both", self.default_scope):
            raise SkipwiseError(
                f"default_scope must lie in the scope, {self.scope}; got {self.default_scope}. Leave it out to prune "
                "all that is gated."
            )

    def vector_size(self, part: VectorPart) -> int:
        """Return the numbers of an embedding that is part of the context; 0 if it is none."""
        return self.speaker_size if part == "speaker" else self.event_size

    def extractor(self, part: VectorPart) -> str:
        """Return the name of what computes an embedding; empty if nothing does."""
        return self.speaker_extractor if part == "speaker" else self.event_extractor


@final
@dataclass(frozen=True, kw_only=True)
class GateBase:
    """The base model that an adapter belongs to."""

    family: str
    """Model family, by its `model_type`: `owsm`, `whisper`."""
    fingerprint: str
    """Hash of the base's weights; an adapter refuses any other."""
    hidden_size: int
    """Width of the pooled states."""
    sites: tuple[GateSite, ...]
    """All sites of the base."""
    languages: tuple[str, ...]
    """Languages that the predictors know, ISO 639-3."""
    tasks: tuple[str, ...]
    """Tasks that the predictors know."""


@final
class GateAdapter(nn.Module):
    """Predictors for the gated stacks of one base model: small, saved beside it, loaded onto it by `attach`."""

    def __init__(
        self,
        config: GateConfig,
        base: GateBase,
        *,
        notes: Mapping[str, Any] | None = None,
        lora: LoraWeights | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.base = base
        self.notes = dict(notes or {})
        self.lora = lora
        """Changes of the base that the gates were trained with; `attach` makes them, `detach` takes them back."""
        self._weights = {
            stack: stack_weights(self.sites(stack), base.sites, config.site_weights)
            for stack in STACKS
            if self.sites(stack)
        }
        self.predictors = nn.ModuleDict(
            {stack: build_predictor(config.predictor, self._shape(stack)) for stack in self._weights}
        )

    def _shape(self, stack: Stack) -> PredictorShape:
        return PredictorShape(
            pooled_size=self.base.hidden_size,
            num_languages=len(self.base.languages),
            num_tasks=len(self.base.tasks),
            sites=self.sites(stack),
            site_weights=self.site_weights(stack),
            with_budget=self.is_elastic,
            speaker_size=self.config.speaker_size,
            event_size=self.config.event_size,
            token_size=self.base.hidden_size if stack == "decoder" and self.config.granularity == "step" else 0,
        )

    def pruned_stacks(self, asked: Scope | None = None) -> tuple[Stack, ...]:
        """Return the gated stacks that a request for the scope `asked` prunes; None: those of the default."""
        scope = asked or self.config.default_scope or "both"
        return tuple(stack for stack in STACKS if scope in ("both", stack) and self.sites(stack))

    @property
    def is_elastic(self) -> bool:
        """Whether it follows the budget that is asked for."""
        return "budget" in self.config.context

    @property
    def num_weights(self) -> int:
        """How many weights its predictors have."""
        return sum(parameter.numel() for parameter in self.predictors.parameters())

    @property
    def is_layerwise(self) -> bool:
        """Whether each layer decides when it runs, from its own input."""
        return any(isinstance(predictor, LayerPredictor) for predictor in self.predictors.values())

    def sites(self, stack: Stack) -> tuple[GateSite, ...]:
        """Return the gated sites of a stack: none if the stack is outside the scope."""
        return tuple(site for site in sites_in(self.config.scope, self.base.sites) if site.stack == stack)

    def site_weights(self, stack: Stack) -> Float[Tensor, " sites"]:
        """Return what each of `sites(stack)` counts for in a budget; they sum up to 1."""
        return self._weights[stack]

    def predictor(self, stack: Stack) -> AnyPredictor | None:
        """Return what decides a stack; None if it is outside the scope."""
        found = dict(self.predictors.items()).get(stack)
        assert found is None or isinstance(found, AnyPredictor)
        return found

    def ids(self, contexts: Sequence[Context], device: torch.device | str = "cpu") -> ContextIds:
        """Return what the predictors see of contexts."""
        parts = set(self.config.context)
        codec = ContextCodec(
            languages=self.base.languages,
            tasks=self.base.tasks,
            default_budget=self.config.sparsity,
            vector_sizes={part: self.config.vector_size(part) for part in VECTOR_PARTS if part in parts},
        )
        return codec.encode(contexts, device).only(self.config.context)

    def logits(
        self,
        stack: Stack,
        contexts: Sequence[Context],
        pooled: Float[Tensor, "batch dim"],
        *,
        dropout: float = 0.0,
        draws: RowDraws | None = None,
    ) -> Float[Tensor, "batch sites 2"]:
        """Return the logits (closed, open) of a gated stack's sites; `dropout` is the share of context parts hidden."""
        ids = self.ids(contexts, pooled.device)
        if draws is None:
            return self.predictors[stack](ids, pooled)
        return self.predictors[stack](ids.drop(dropout, draws), pooled, draws)

    def plan(
        self, stack: Stack, contexts: Sequence[Context], pooled: Float[Tensor, "batch dim"], *, exact: bool = False
    ) -> GatePlan:
        """Return the arg-max plan of a stack; over no site where the stack is outside the scope.

        With `exact` the least likely sites are closed until their weight is as near as can be to each context's budget.
        Not for layers or positions that decide when they run: see `decide`.
        """
        decided = self.decide(stack, contexts, pooled, exact=exact)
        assert isinstance(decided, GatePlan)
        return decided

    @torch.no_grad()
    def decide(
        self,
        stack: Stack,
        contexts: Sequence[Context],
        pooled: Float[Tensor, "batch dim"],
        *,
        exact: bool = False,
        weights: Float[Tensor, " sites"] | None = None,
    ) -> GatePlan | LayerPlanner | StepPlanner:
        """Return the plan of a stack, or what makes it while the stack runs.

        `weights` are what sites count for in an exact budget, if not what the adapter says.
        """
        predictor, sites = self.predictor(stack), self.sites(stack)
        if predictor is None:
            return GatePlan.all_open((), len(contexts))
        budgets = [self.config.sparsity if context.budget is None else context.budget for context in contexts]
        if not exact and not self.is_elastic:
            contexts = [replace(context, budget=None) for context in contexts]
        weights = self.site_weights(stack) if weights is None else weights
        if isinstance(predictor, LayerPredictor):
            ids = self.ids(contexts, pooled.device)
            decider = LayerDecider(predictor=predictor, context=ids, sites=sites, weights=weights)
            return LayerPlanner(decider, budgets=budgets if exact else None)
        if isinstance(predictor, StepPredictor):
            started = predictor.start(self.ids(contexts, pooled.device), pooled)
            steps = StepDecider(predictor=predictor, started=started, sites=sites, weights=weights)
            return AdapterStepPlanner(steps, budgets=budgets if exact else None)
        logits = self.logits(stack, contexts, pooled)
        if not exact:
            return GatePlan(sites, open_where_likelier(logits))
        return GatePlan(sites, all_but_least_likely(logits, budgets, weights))

    def sample(
        self,
        stack: Stack,
        contexts: Sequence[Context],
        pooled: Float[Tensor, "batch dim"],
        *,
        sampling: Sampling,
        draws: RowDraws,
    ) -> GateSample | LayerSampler | StepSampler | None:
        """Return gates drawn for training, or what draws them while the stack runs; None outside the scope."""
        predictor, sites = self.predictor(stack), self.sites(stack)
        if predictor is None:
            return None
        if isinstance(predictor, LayerPredictor):
            ids = self.ids(contexts, pooled.device).drop(sampling.dropout, draws)
            decider = LayerDecider(predictor=predictor, context=ids, sites=sites, weights=self.site_weights(stack))
            return LayerSampler(decider, sampling, draws)
        if isinstance(predictor, StepPredictor):
            started = predictor.start(self.ids(contexts, pooled.device).drop(sampling.dropout, draws), pooled)
            weights = self.site_weights(stack)
            steps = StepDecider(predictor=predictor, started=started, sites=sites, weights=weights)
            return StepSampler(steps, sampling, draws)
        logits = self.logits(stack, contexts, pooled, dropout=sampling.dropout, draws=draws)
        return GateSample(sites, sampling.gates(logits, draws), logits)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the adapter's files into `folder`, which appears whole or not at all.

        `gate_config.json`, `gate_model.safetensors` and the card `README.md`, which has what `notes["results"]` says;
        with changes of the base `gate_lora.safetensors` too.
        """
        from skipwise.gating.adapter_files import write_adapter

        write_adapter(self, folder)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> GateAdapter:
        """Return the adapter saved in a folder, or under a name on the Hub.

        Raises:
            SkipwiseError: if files are missing or damaged, or their keys are not exactly those of the adapter.
        """
        from skipwise.gating.adapter_files import read_adapter

        return read_adapter(source)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the adapter to the Hub, making the repository if need be, and return the address of the commit."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "gates")
            return str(api.upload_folder(repo_id=repo_id, folder_path=Path(folder) / "gates"))
