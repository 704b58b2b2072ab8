"""The gate adapter: predictors of one or both stacks, what base they belong to, and how they are saved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from skipwise.atomic import atomic_dir, atomic_write, usual_mode
from skipwise.errors import SkipwiseError
from skipwise.gating.context import CONTEXT_PARTS, HIDEABLE_PARTS, Context, ContextPart, encode_contexts
from skipwise.gating.draws import RowDraws
from skipwise.gating.plan import GatePlan, GateSample, all_but_least_likely, open_where_likelier
from skipwise.gating.predictors import MlpPredictorConfig, PredictorConfig
from skipwise.gating.predictors.base import PredictorShape, build_predictor, predictor_config_class
from skipwise.gating.relaxation import straight_through_gumbel
from skipwise.gating.sites import STACKS, GateSite, Scope, Stack, sites_in
from skipwise.hub import local_folder

CONFIG_FILE = "gate_config.json"
WEIGHTS_FILE = "gate_model.safetensors"
FORMAT_VERSION = 1


@final
@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """What a user chooses about gates before they are trained."""

    scope: Scope = "decoder"
    """Stacks whose sites are gated."""
    sparsity: float = 0.5
    """Target share of skipped sites per gated stack, in [0, 1)."""
    context: tuple[ContextPart, ...] = HIDEABLE_PARTS
    """Parts of the context that the predictor may use; the others count as unknown. With `budget` one adapter serves
    every sparsity, and `sparsity` is what it follows where none is asked for."""
    predictor: PredictorConfig = dataclasses.field(default_factory=MlpPredictorConfig)
    """Kind and size of the predictor of each stack."""

    def __post_init__(self) -> None:
        if self.scope not in get_args(Scope):
            raise SkipwiseError(f"scope must be one of {', '.join(get_args(Scope))}; got {self.scope!r}.")
        if not 0 <= self.sparsity < 1:
            raise SkipwiseError(
                f"sparsity must be in [0, 1), got {self.sparsity}. For the base model use GatePlan.all_open()."
            )
        unknown = [part for part in self.context if part not in CONTEXT_PARTS]
        if unknown:
            raise SkipwiseError(f"context parts are {', '.join(CONTEXT_PARTS)}; got {', '.join(unknown)}.")


@final
@dataclass(frozen=True, kw_only=True)
class GateBase:
    """The base model that an adapter belongs to."""

    family: str
    """Model family: `owsm`."""
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

    def __init__(self, config: GateConfig, base: GateBase, *, notes: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = config
        self.base = base
        self.notes = dict(notes or {})
        self.predictors = nn.ModuleDict(
            {stack: build_predictor(config.predictor, self._shape(stack)) for stack in STACKS if self.sites(stack)}
        )

    def _shape(self, stack: Stack) -> PredictorShape:
        return PredictorShape(
            pooled_size=self.base.hidden_size,
            num_languages=len(self.base.languages),
            num_tasks=len(self.base.tasks),
            num_sites=len(self.sites(stack)),
            with_budget=self.is_elastic,
        )

    @property
    def is_elastic(self) -> bool:
        """Whether it follows the budget that is asked for."""
        return "budget" in self.config.context

    def sites(self, stack: Stack) -> tuple[GateSite, ...]:
        """Return the gated sites of a stack: none if the stack is outside the scope."""
        return tuple(site for site in sites_in(self.config.scope, self.base.sites) if site.stack == stack)

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
        ids = encode_contexts(
            contexts,
            languages=self.base.languages,
            tasks=self.base.tasks,
            default_budget=self.config.sparsity,
            device=pooled.device,
        ).only(self.config.context)
        if draws is not None:
            ids = ids.drop(dropout, draws)
        return self.predictors[stack](ids, pooled)

    @torch.no_grad()
    def plan(
        self, stack: Stack, contexts: Sequence[Context], pooled: Float[Tensor, "batch dim"], *, exact: bool = False
    ) -> GatePlan:
        """Return the arg-max plan of a stack; over no site where the stack is outside the scope.

        With `exact` the least likely sites are closed until as many are as each context's budget says, rounded.
        """
        if stack not in self.predictors:
            return GatePlan.all_open((), len(contexts))
        logits = self.logits(stack, contexts, pooled)
        if not exact:
            return GatePlan(self.sites(stack), open_where_likelier(logits))
        budgets = [self.config.sparsity if context.budget is None else context.budget for context in contexts]
        return GatePlan(self.sites(stack), all_but_least_likely(logits, budgets))

    def sample(
        self,
        stack: Stack,
        contexts: Sequence[Context],
        pooled: Float[Tensor, "batch dim"],
        *,
        temperature: float,
        dropout: float,
        draws: RowDraws,
    ) -> GateSample | None:
        """Return gates drawn for training, or None where the stack is outside the scope."""
        if stack not in self.predictors:
            return None
        logits = self.logits(stack, contexts, pooled, dropout=dropout, draws=draws)
        gates = straight_through_gumbel(logits, temperature=temperature, draws=draws)
        return GateSample(self.sites(stack), gates, logits)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `gate_config.json` and `gate_model.safetensors` into `folder`, which appears whole or not at all."""
        record = {
            "format": FORMAT_VERSION,
            "config": _config_record(self.config),
            "base": {**dataclasses.asdict(self.base), "sites": [str(site) for site in self.base.sites]},
            "notes": self.notes,
        }
        with atomic_dir(folder) as aside:
            with atomic_write(aside / CONFIG_FILE) as file:
                json.dump(record, file, indent=2, ensure_ascii=False)
            with usual_mode(aside / WEIGHTS_FILE):
                save_file({name: t.contiguous() for name, t in self.state_dict().items()}, aside / WEIGHTS_FILE)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> GateAdapter:
        """Return the adapter saved in a folder, or under a name on the Hub.

        Raises:
            SkipwiseError: if files are missing or damaged, or their keys are not exactly those of the adapter.
        """
        folder = local_folder(source, what="gate adapter", needs=CONFIG_FILE, patterns=(CONFIG_FILE, WEIGHTS_FILE))
        config, base, notes = _read_record(folder / CONFIG_FILE)
        adapter = cls(config, base, notes=notes)
        try:
            weights = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise SkipwiseError(
                f"cannot read {folder / WEIGHTS_FILE}: {error}. Copy the adapter's folder again."
            ) from error
        wrong = set(weights.keys() ^ adapter.state_dict().keys())
        if wrong:
            raise SkipwiseError(f"{folder / WEIGHTS_FILE} has missing or unknown keys: {', '.join(sorted(wrong))}.")
        adapter.load_state_dict(weights)
        return adapter.eval()

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the adapter to the Hub, making the repository if need be, and return the address of the commit."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "gates")
            return str(api.upload_folder(repo_id=repo_id, folder_path=Path(folder) / "gates"))


def _config_record(config: GateConfig) -> dict[str, Any]:
    predictor = {"kind": type(config.predictor).__name__, **dataclasses.asdict(config.predictor)}
    return {**dataclasses.asdict(config), "predictor": predictor}


def _read_record(path: Path) -> tuple[GateConfig, GateBase, dict[str, Any]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT_VERSION:
            raise SkipwiseError(
                f"{path} has format {record['format']}, this version reads {FORMAT_VERSION}. Update skipwise."
            )
        predictor = dict(record["config"]["predictor"])
        predictor_config = predictor_config_class(predictor.pop("kind"))(**predictor)
        config: dict[str, Any] = dict(
            record["config"], predictor=predictor_config, context=tuple(record["config"]["context"])
        )
        base: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record["base"].items()
        }
        base["sites"] = tuple(GateSite.parse(text) for text in base["sites"])
        return GateConfig(**config), GateBase(**base), dict(record["notes"])
    except FileNotFoundError as error:
        raise SkipwiseError(f"no gate adapter in {path.parent}: {path.name} is missing.") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SkipwiseError(f"{path} is not a gate adapter's config: {error}.") from error
