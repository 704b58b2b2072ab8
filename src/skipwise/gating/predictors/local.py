"""Each layer decides for itself, from its own input, when it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from skipwise.gating.context import ContextIds
from skipwise.gating.predictors.base import LayerPredictor, PredictorConfig, PredictorShape, register_predictor
from skipwise.gating.predictors.mlp import MlpPredictor, MlpPredictorConfig


@final
@dataclass(frozen=True, kw_only=True)
class LocalPredictorConfig(PredictorConfig):
    """Sizes and initialisation of each layer's network, as in `MlpPredictorConfig`."""

    hidden_size: int = 32
    """Width of the hidden layer."""
    embedding_size: int = 16
    """Width of every embedding."""
    open_bias: float = 2.0
    """Initial logit of `open`."""
    output_std: float = 0.02
    """Standard deviation of the output layer's initial weights."""


@final
@register_predictor(LocalPredictorConfig)
class LocalPredictor(LayerPredictor):
    """One small network a layer: the paper's local predictor.

    What comes into an encoder layer is averaged over the frames of real samples; what comes into a decoder layer over
    the first three positions of the prompt (`<sos>`, language, task), so that the plan is there before the first word.
    """

    def __init__(self, config: LocalPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        of_layer: dict[int, list[int]] = {}
        for column, site in enumerate(shape.sites):
            of_layer.setdefault(site.layer, []).append(column)
        sizes = MlpPredictorConfig(**asdict(config))
        self.layers = nn.ModuleDict(
            {
                str(layer): MlpPredictor(
                    sizes,
                    replace(
                        shape,
                        sites=tuple(shape.sites[column] for column in columns),
                        site_weights=shape.site_weights[columns],
                    ),
                )
                for layer, columns in of_layer.items()
            }
        )

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], layer: int
    ) -> Float[Tensor, "batch sites 2"]:
        return self.layers[str(layer)](context, pooled)
