"""Gate predictors: one method = one file; importing the package registers them."""

from skipwise.gating.predictors.base import (
    AnyPredictor,
    GatePredictor,
    LayerPredictor,
    PredictorConfig,
    StepPredictor,
    check_decides_steps,
    predictor_kinds,
    register_predictor,
    register_step_predictor,
)
from skipwise.gating.predictors.controls import (
    LayerDropPredictor,
    LayerDropPredictorConfig,
    RandomPredictor,
    RandomPredictorConfig,
)
from skipwise.gating.predictors.local import LocalPredictor, LocalPredictorConfig
from skipwise.gating.predictors.mlp import MlpPredictor, MlpPredictorConfig
from skipwise.gating.predictors.static import StaticPredictor, StaticPredictorConfig
from skipwise.gating.predictors.step_mlp import StepMlpPredictor
from skipwise.gating.predictors.table import TablePredictor, TablePredictorConfig

__all__ = [
    "AnyPredictor",
    "GatePredictor",
    "LayerDropPredictor",
    "LayerDropPredictorConfig",
    "LayerPredictor",
    "LocalPredictor",
    "LocalPredictorConfig",
    "MlpPredictor",
    "MlpPredictorConfig",
    "PredictorConfig",
    "RandomPredictor",
    "RandomPredictorConfig",
    "StaticPredictor",
    "StaticPredictorConfig",
    "StepMlpPredictor",
    "StepPredictor",
    "TablePredictor",
    "TablePredictorConfig",
    "check_decides_steps",
    "predictor_kinds",
    "register_predictor",
    "register_step_predictor",
]
