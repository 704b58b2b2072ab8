"""The core: sites, contexts, predictors, plans and how a branch is skipped. Knows torch and no base model."""

from skipwise.gating.adapter import GateAdapter, GateBase, GateConfig
from skipwise.gating.context import Context
from skipwise.gating.penalty import PenaltyConfig, SparsityPenalty
from skipwise.gating.plan import GatePlan, GateSample, sparsity_by_stack
from skipwise.gating.planner import OPEN_PLANNER, AdapterPlanner, FixedPlanner, Planner
from skipwise.gating.predictors import GatePredictor, MlpPredictor, MlpPredictorConfig
from skipwise.gating.relaxation import TemperatureSchedule
from skipwise.gating.sites import GateSite, Scope, Stack

__all__ = [
    "OPEN_PLANNER",
    "AdapterPlanner",
    "Context",
    "FixedPlanner",
    "GateAdapter",
    "GateBase",
    "GateConfig",
    "GatePlan",
    "GatePredictor",
    "GateSample",
    "GateSite",
    "MlpPredictor",
    "MlpPredictorConfig",
    "PenaltyConfig",
    "Planner",
    "Scope",
    "SparsityPenalty",
    "Stack",
    "TemperatureSchedule",
    "sparsity_by_stack",
]
