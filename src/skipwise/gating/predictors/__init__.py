"""Gate predictors: one method = one file; importing the package registers them."""

from skipwise.gating.predictors.base import GatePredictor, PredictorConfig, register_predictor
from skipwise.gating.predictors.mlp import MlpPredictor, MlpPredictorConfig

__all__ = ["GatePredictor", "MlpPredictor", "MlpPredictorConfig", "PredictorConfig", "register_predictor"]
