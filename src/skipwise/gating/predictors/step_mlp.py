"""Algorithm 1 at every position of the decoder: what was said so far joins the context and the speech."""

from __future__ import annotations

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from skipwise.gating.context import ContextIds
from skipwise.gating.predictors.base import PredictorShape, StepPredictor, register_step_predictor
from skipwise.gating.predictors.mlp import MlpPredictor, MlpPredictorConfig


@final
@register_step_predictor(MlpPredictorConfig)
class StepMlpPredictor(StepPredictor):
    """logits = G(concat(context, norm(pooled), norm(token), norm(prefix mean))).

    Context and speech are weighed once an utterance. What the tokens add starts at zero, so that training begins with
    gates that are the same at every position.
    """

    def __init__(self, config: MlpPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        self.utterance = MlpPredictor(config, shape)
        # embeddings have no fixed scale across bases, as the pooled speech has none
        self.token_norm = nn.LayerNorm(shape.token_size)
        self.mean_norm = nn.LayerNorm(shape.token_size)
        self.token = nn.Linear(shape.token_size, config.hidden_size, bias=False)
        self.mean = nn.Linear(shape.token_size, config.hidden_size, bias=False)
        nn.init.zeros_(self.token.weight)
        nn.init.zeros_(self.mean.weight)

    def start(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch hidden"]:
        return self.utterance.weigh(context, pooled)

    def forward(
        self,
        started: Float[Tensor, "*#positions hidden"],
        tokens: Float[Tensor, "*positions dim"],
        prefix_means: Float[Tensor, "*positions dim"],
    ) -> Float[Tensor, "*positions sites 2"]:
        said = self.token(self.token_norm(tokens.float())) + self.mean(self.mean_norm(prefix_means.float()))
        return self.utterance.decide(started + said)
