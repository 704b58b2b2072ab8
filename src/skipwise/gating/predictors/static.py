"""One mask for everything: the control that context-aware gates must beat.

Shapes: P budget points, S sites.
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
class StaticPredictorConfig(PredictorConfig):
    """Initialisation of `StaticPredictor`."""

    open_bias: float = 2.0
    """Initial logit of `open`."""
    init_std: float = 0.02
    """Standard deviation around it."""


@final
@register_predictor(StaticPredictorConfig)
class StaticPredictor(GatePredictor):
    """One learned mask for every input: the control that context-aware gates must beat."""

    depends_on_input = False

    def __init__(self, config: StaticPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        rows = (NUM_POINTS if shape.with_budget else 1, shape.num_sites)
        self.margins_PS = nn.Parameter(config.open_bias + config.init_std * torch.randn(rows))

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        return mask_logits(self.margins_PS.expand(pooled.shape[0], -1, -1), context.budget)
