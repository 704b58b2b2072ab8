"""The core: sites, contexts, predictors, plans and how a branch is skipped. Knows torch and no base model."""

from skipwise.gating.adapter import GateAdapter, GateBase, GateConfig, Granularity
from skipwise.gating.budget import Budget, SparsityWarmup, Unit
from skipwise.gating.context import Context, as_vector
from skipwise.gating.layerwise import LayerPlanner, LayerSampler, LayerwiseGates
from skipwise.gating.library import LibraryPlanner
from skipwise.gating.lora import LoraWeights
from skipwise.gating.penalty import PenaltyConfig, SparsityPenalty
from skipwise.gating.plan import GatePlan, GateSample, sparsity_by_stack
from skipwise.gating.planner import OPEN_PLANNER, AdapterPlanner, FixedPlanner, Planner
from skipwise.gating.predictors import (
    GatePredictor,
    LayerDropPredictorConfig,
    LayerPredictor,
    LocalPredictorConfig,
    MlpPredictor,
    MlpPredictorConfig,
    RandomPredictorConfig,
    StaticPredictorConfig,
    StepPredictor,
    TablePredictorConfig,
)
from skipwise.gating.relaxation import Sampling, TemperatureSchedule
from skipwise.gating.shuffle import RecordingPlanner, ShuffledPlanner, ShuffleLevel
from skipwise.gating.sites import GateSite, Scope, Stack
from skipwise.gating.steps import StepPlanner
from skipwise.gating.stepwise import StepSampler
from skipwise.gating.transplant import transplanted

__all__ = [
    "OPEN_PLANNER",
    "AdapterPlanner",
    "Budget",
    "Context",
    "FixedPlanner",
    "GateAdapter",
    "GateBase",
    "GateConfig",
    "GatePlan",
    "GatePredictor",
    "GateSample",
    "GateSite",
    "Granularity",
    "LayerDropPredictorConfig",
    "LayerPlanner",
    "LayerPredictor",
    "LayerSampler",
    "LayerwiseGates",
    "LibraryPlanner",
    "LocalPredictorConfig",
    "LoraWeights",
    "MlpPredictor",
    "MlpPredictorConfig",
    "PenaltyConfig",
    "Planner",
    "RandomPredictorConfig",
    "RecordingPlanner",
    "Sampling",
    "Scope",
    "ShuffleLevel",
    "ShuffledPlanner",
    "SparsityPenalty",
    "SparsityWarmup",
    "Stack",
    "StaticPredictorConfig",
    "StepPlanner",
    "StepPredictor",
    "StepSampler",
    "TablePredictorConfig",
    "TemperatureSchedule",
    "Unit",
    "as_vector",
    "sparsity_by_stack",
    "transplanted",
]
