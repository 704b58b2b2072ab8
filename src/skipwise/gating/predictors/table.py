"""A table of masks: one for each language and task.

Shapes: G languages, K tasks, P budget points, S sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.gating.context import ContextIds
from skipwise.gating.draws import RowDraws
from skipwise.gating.predictors.base import GatePredictor, PredictorConfig, PredictorShape, register_predictor
from skipwise.gating.predictors.budget_points import NUM_POINTS, mask_logits


@final
@dataclass(frozen=True, kw_only=True)
class TablePredictorConfig(PredictorConfig):
    """Initialisation of `TablePredictor`."""

    open_bias: float = 2.0
    """Initial logit of `open`."""
    init_std: float = 0.02
    """Standard deviation around it."""


@final
@register_predictor(TablePredictorConfig)
class TablePredictor(GatePredictor):
    """A learned mask for every (language, task), the unknown ones included; the speech does not matter."""

    def __init__(self, config: TablePredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        num_points = NUM_POINTS if shape.with_budget else 1
        rows = (shape.num_languages + 1, shape.num_tasks + 1, num_points, shape.num_sites)
        self.margins_GKPS = nn.Parameter(config.open_bias + config.init_std * torch.randn(rows))

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        return mask_logits(self.margins_GKPS[context.language, context.task], context.budget)
