"""From the section `gates` of a training config to gates on a model and to the objective's settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from skipwise.errors import SkipwiseError
from skipwise.evaluation.cost import mac_weights
from skipwise.gating import GateAdapter, GateConfig, GateSite, PenaltyConfig, SparsityWarmup, TemperatureSchedule
from skipwise.gating.budget import costs_in_order
from skipwise.training.config import TrainConfig
from skipwise.training.distillation import Distillation
from skipwise.training.gates_section import GIVEN, CostSection, GatesSection
from skipwise.training.objective import ObjectiveConfig
from skipwise.training.vectors import ContextVectors


def gate_config(gates: GatesSection, sizes: Any, sites: Sequence[GateSite], vectors: ContextVectors) -> GateConfig:
    """Return the config of the adapter that a run trains; `sizes` is the config of the network, with these sites.

    Raises:
        SkipwiseError: if the costs of its sites cannot be read.
    """
    return GateConfig(
        scope=gates.scope,
        default_scope=gates.default_scope,
        sparsity=gates.sparsity,
        context=gates.context,
        predictor=gates.predictor_config(),
        granularity=gates.granularity,
        unit=gates.cost.unit,
        site_weights=site_costs(gates.cost, sizes, sites),
        speaker_size=vectors.sizes.get("speaker", 0),
        event_size=vectors.sizes.get("event", 0),
        speaker_extractor=_extractor("speaker" in vectors.sizes, gates.speaker),
        event_extractor=_extractor("event" in vectors.sizes, gates.event),
    )


def gates_before(gates: GatesSection | None) -> GateAdapter | None:
    """Return the adapter that a run's gates go on from, if they do.

    Raises:
        SkipwiseError: if there is none where the section says.
    """
    return None if gates is None or gates.init is None else GateAdapter.from_pretrained(gates.init)


def take_gates(adapter: GateAdapter, before: GateAdapter, *, said: str) -> None:
    """Give fresh gates the weights of the predictors of the adapter `before`, whatever weights its base had.

    A stack that it has no gates on keeps its fresh ones. `said` is what named it, for errors.

    Raises:
        SkipwiseError: if it has gates on none of the stacks, or knows other sites, languages, tasks or parts of the
            context.
    """
    shared = [stack for stack in adapter.predictors if stack in before.predictors]
    if not shared:
        raise SkipwiseError(
            f"{said} has gates on the {before.config.scope} alone, this run on the "
            f"{adapter.config.scope}. Set gates.scope: both, or leave gates.init out for fresh gates."
        )
    for name, mine, theirs in (
        ("granularity", adapter.config.granularity, before.config.granularity),
        ("context", adapter.config.context, before.config.context),
        ("predictor", adapter.config.predictor, before.config.predictor),
        ("sites", adapter.base.sites, before.base.sites),
        ("languages", adapter.base.languages, before.base.languages),
        ("tasks", adapter.base.tasks, before.base.tasks),
    ):
        if mine != theirs:
            raise SkipwiseError(
                f"{said} has other {name} than this run: {theirs} there, {mine} here. Train what it was "
                "trained for, or leave gates.init out for fresh gates."
            )
    for stack in shared:
        adapter.predictors[stack].load_state_dict(before.predictors[stack].state_dict())


def site_costs(cost: CostSection, sizes: Any, sites: Sequence[GateSite]) -> tuple[float, ...]:
    """Return what each site of the base costs, in the base's order; nothing where all count the same.

    Raises:
        SkipwiseError: if the file of costs cannot be read, or does not name every site.
    """
    if cost.unit == "sites":
        return ()
    if cost.unit == "macs":
        return mac_weights(sizes, audio_s=cost.audio_s, num_tokens=cost.num_tokens)
    assert cost.file is not None
    try:
        record = json.loads(cost.file.read_text(encoding="utf-8"))
        costs = {str(name): float(value) for name, value in record.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SkipwiseError(
            f"cannot read the costs of sites from {cost.file}: {error}. It must be a JSON object such as "
            '{"encoder.0.ffn1": 1.5, ...}.'
        ) from error
    return costs_in_order(costs, sites)


def objective_config(config: TrainConfig) -> ObjectiveConfig:
    """Return the settings of the objective of a run."""
    schedule: dict[str, Any] = {
        "max_steps": config.optimisation.max_steps,
        "seed": config.seed,
        "ctc_weight_start": config.optimisation.ctc_weight_start,
        "ctc_warmup_steps": config.optimisation.ctc_warmup_steps,
    }
    gates = config.gates
    if gates is None:
        return ObjectiveConfig(**schedule)
    return gated_objective_config(gates, schedule, base_learns=config.model.base != "frozen")


def gated_objective_config(gates: GatesSection, schedule: dict[str, Any], *, base_learns: bool) -> ObjectiveConfig:
    """Return the settings of an objective with gates; `schedule` holds those that have nothing to do with them."""
    return ObjectiveConfig(
        **schedule,
        # a frozen base learns nothing from a dense pass
        dense_share=gates.dense_share if base_learns else 0.0,
        open_share=gates.open_share,
        target_sparsity=gates.sparsity,
        sparsity_range=gates.sparsity_range,
        sparsity_warmup=SparsityWarmup(share=gates.sparsity_warmup, shape=gates.sparsity_warmup_shape),
        context_dropout=gates.context_dropout,
        temperature=TemperatureSchedule(start=gates.temperature_start, end=gates.temperature_end),
        relaxation=gates.relaxation,
        penalty=PenaltyConfig(
            form=gates.penalty,
            absolute_weight=gates.absolute_weight,
            squared_weight=gates.squared_weight,
            multiplier_lr=gates.multiplier_lr,
            per_row=gates.per_row or gates.sparsity_range is not None,
        ),
        distillation=None if gates.distillation is None else Distillation(**gates.distillation.model_dump()),
    )


def _extractor(is_used: bool, name: str) -> str:
    return name if is_used and name != GIVEN else ""
