"""Algorithm 1 of Someki et al. 2025: one small network decides all sites of a stack at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.gating.context import ContextIds
from skipwise.gating.predictors.base import GatePredictor, PredictorConfig, PredictorShape, register_predictor

_BUDGET_STEPS = 10


@final
@dataclass(frozen=True, kw_only=True)
class MlpPredictorConfig(PredictorConfig):
    """Sizes and initialisation of `MlpPredictor`."""

    hidden_size: int = 64
    """Width of the hidden layer."""
    embedding_size: int = 32
    """Width of the language, of the task and of the budget embedding."""
    open_bias: float = 2.0
    """Initial logit of `open`: training starts from a nearly dense model."""
    output_std: float = 0.02
    """Standard deviation of the output layer's initial weights."""


@final
@register_predictor(MlpPredictorConfig)
class MlpPredictor(GatePredictor):
    """logits = G(concat(language, task, norm(pooled))), with a learned value for every unknown part.

    A budget, where it is part of the context, is embedded as a line through learned points, ten to the whole.
    """

    def __init__(self, config: MlpPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        # index 0 is the unknown value
        self.language_embedding = nn.Embedding(shape.num_languages + 1, config.embedding_size)
        self.task_embedding = nn.Embedding(shape.num_tasks + 1, config.embedding_size)
        # pooled states have no fixed scale across bases: the norm is ours, the paper does not speak of one
        self.speech_norm = nn.LayerNorm(shape.pooled_size)
        self.unknown_speech = nn.Parameter(torch.zeros(shape.pooled_size))
        self.budget_embedding = nn.Embedding(_BUDGET_STEPS + 1, config.embedding_size) if shape.with_budget else None
        num_embeddings = 3 if shape.with_budget else 2
        self.hidden = nn.Linear(num_embeddings * config.embedding_size + shape.pooled_size, config.hidden_size)
        self.activation = nn.SiLU()
        self.output = nn.Linear(config.hidden_size, 2 * shape.num_sites)
        nn.init.normal_(self.output.weight, std=config.output_std)
        with torch.no_grad():
            self.output.bias.view(-1, 2).copy_(torch.tensor([0.0, config.open_bias]))

    def forward(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch sites 2"]:
        speech = torch.where(context.speech_known[:, None], self.speech_norm(pooled.float()), self.unknown_speech)
        known = [self.language_embedding(context.language), self.task_embedding(context.task), speech]
        if self.budget_embedding is not None:
            known.append(_between_points(context.budget) @ self.budget_embedding.weight)
        hidden = self.activation(self.hidden(torch.cat(known, dim=-1)))
        return self.output(hidden).unflatten(-1, (-1, 2))


def _between_points(budget: Float[Tensor, " batch"]) -> Float[Tensor, "batch points"]:
    """The weights of the two points that a budget lies between."""
    points = torch.arange(_BUDGET_STEPS + 1, device=budget.device)
    return (1 - (budget[:, None] * _BUDGET_STEPS - points).abs()).clamp_min(0)
