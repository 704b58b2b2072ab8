"""Algorithm 1 of Someki et al. 2025: one small network decides all sites of a stack at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.gating.context import ContextIds, VectorBatch
from skipwise.gating.draws import RowDraws
from skipwise.gating.predictors.base import GatePredictor, PredictorConfig, PredictorShape, register_predictor
from skipwise.gating.predictors.budget_points import NUM_POINTS, point_weights


@final
@dataclass(frozen=True, kw_only=True)
class MlpPredictorConfig(PredictorConfig):
    """Sizes and initialisation of `MlpPredictor`."""

    hidden_size: int = 64
    """Width of the hidden layer."""
    embedding_size: int = 32
    """Width of the language, of the task and of the budget embedding, and of what is made of each given embedding."""
    open_bias: float = 2.0
    """Initial logit of `open`: training starts from a nearly dense model."""
    output_std: float = 0.02
    """Standard deviation of the output layer's initial weights."""


@final
class GivenEmbedding(nn.Module):
    """An embedding that comes with the context, normalised and projected; a learned value where it is unknown."""

    def __init__(self, given_size: int, embedding_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(given_size)
        self.projection = nn.Linear(given_size, embedding_size)
        self.unknown = nn.Parameter(torch.zeros(embedding_size))

    def forward(self, given: VectorBatch) -> Float[Tensor, "batch dim"]:
        return torch.where(given.known[:, None], self.projection(self.norm(given.values)), self.unknown)


@final
@register_predictor(MlpPredictorConfig)
class MlpPredictor(GatePredictor):
    """logits = G(concat(language, task, norm(pooled), ...)), with a learned value for every unknown part.

    A budget, where it is part of the context, is embedded as a line through learned points, ten to the whole.
    """

    def __init__(self, config: MlpPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        width = config.embedding_size
        # index 0 is the unknown value
        self.language_embedding = nn.Embedding(shape.num_languages + 1, width)
        self.task_embedding = nn.Embedding(shape.num_tasks + 1, width)
        # pooled states have no fixed scale across bases: the norm is ours, the paper does not speak of one
        self.speech_norm = nn.LayerNorm(shape.pooled_size)
        self.unknown_speech = nn.Parameter(torch.zeros(shape.pooled_size))
        self.budget_embedding = nn.Embedding(NUM_POINTS, width) if shape.with_budget else None
        self.speaker_embedding = GivenEmbedding(shape.speaker_size, width) if shape.speaker_size else None
        self.event_embedding = GivenEmbedding(shape.event_size, width) if shape.event_size else None
        extra = (self.budget_embedding, self.speaker_embedding, self.event_embedding)
        num_embeddings = 2 + sum(module is not None for module in extra)
        self.hidden = nn.Linear(num_embeddings * width + shape.pooled_size, config.hidden_size)
        self.activation = nn.SiLU()
        self.output = nn.Linear(config.hidden_size, 2 * shape.num_sites)
        nn.init.normal_(self.output.weight, std=config.output_std)
        with torch.no_grad():
            self.output.bias.view(-1, 2).copy_(torch.tensor([0.0, config.open_bias]))

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        return self.decide(self.weigh(context, pooled))

    def weigh(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch hidden"]:
        """Return what the context and the speech add to the hidden layer, before its activation."""
        speech = torch.where(context.speech_known[:, None], self.speech_norm(pooled.float()), self.unknown_speech)
        known = [self.language_embedding(context.language), self.task_embedding(context.task), speech]
        if self.budget_embedding is not None:
            known.append(point_weights(context.budget) @ self.budget_embedding.weight)
        if self.speaker_embedding is not None:
            known.append(self.speaker_embedding(context.speaker))
        if self.event_embedding is not None:
            known.append(self.event_embedding(context.event))
        return self.hidden(torch.cat(known, dim=-1))

    def decide(self, weighed: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows sites 2"]:
        """Return the logits (closed, open) of every site from the hidden layer before its activation."""
        return self.output(self.activation(weighed)).unflatten(-1, (-1, 2))
