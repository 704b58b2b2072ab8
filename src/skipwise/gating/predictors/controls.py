"""Controls that learn nothing: plans drawn at random, and whole layers dropped.

Their logits are certain: no noise of the relaxation turns them around, and no gradient comes back.

Shapes: B rows, S sites.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.gating.budget import num_closed
from skipwise.gating.context import ContextIds
from skipwise.gating.draws import RowDraws
from skipwise.gating.predictors.base import GatePredictor, PredictorConfig, PredictorShape, register_predictor

_CERTAIN = 1e3
_SEED_FEATURES = 8


@final
@dataclass(frozen=True, kw_only=True)
class RandomPredictorConfig(PredictorConfig):
    """What `RandomPredictor` draws from."""

    seed: int = 0
    """Seed of the plans at inference; those of training come from the run's."""


@final
@register_predictor(RandomPredictorConfig)
class RandomPredictor(GatePredictor):
    """A fresh random plan for each row that meets its budget: the base is trained with random plans, and follows one.

    At inference a row's plan is drawn from a seed made of its input: the same for the same utterance, whatever the
    batch.
    """

    def __init__(self, config: RandomPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        self._seed = config.seed
        self._stack = shape.sites[0].stack
        self._weights = shape.site_weights

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        scores = self._of_input(context, pooled) if draws is None else draws.uniform(len(self._weights))
        closed = num_closed(scores, context.budget, self._weights)
        return _certain(scores.argsort(dim=1).argsort(dim=1), closed, pooled.device)

    def _of_input(self, context: ContextIds, pooled: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch sites"]:
        # what a batch changes is far below a hundredth of the spread
        normed = torch.nn.functional.layer_norm(pooled.float(), pooled.shape[1:])[:, :_SEED_FEATURES]
        inputs = zip(
            (100 * normed).round().long().tolist(),
            context.language.tolist(),
            context.task.tolist(),
            strict=True,
        )
        return torch.stack([self._drawn(f"{self._seed} {self._stack} {of_row}") for of_row in inputs])

    def _drawn(self, key: str) -> Float[Tensor, " sites"]:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
        return torch.rand(len(self._weights), generator=torch.Generator().manual_seed(seed))


@final
@dataclass(frozen=True, kw_only=True)
class LayerDropPredictorConfig(PredictorConfig):
    """There is nothing to choose."""


@final
@register_predictor(LayerDropPredictorConfig)
class LayerDropPredictor(GatePredictor):
    """Whole layers: random ones in training, evenly spaced ones at inference (LayerDrop, Fan et al. 2020).

    Of L layers round(budget * L) are dropped, halves up.
    """

    depends_on_input = False

    def __init__(self, config: LayerDropPredictorConfig, shape: PredictorShape) -> None:
        super().__init__()
        layers = sorted({site.layer for site in shape.sites})
        self._layer_of_site = torch.tensor([layers.index(site.layer) for site in shape.sites])
        self._num_layers = len(layers)

    def forward(
        self, context: ContextIds, pooled: Float[Tensor, "batch dim"], draws: RowDraws | None = None
    ) -> Float[Tensor, "batch sites 2"]:
        num_dropped = (context.budget.double().cpu() * self._num_layers + 0.5).floor().long()
        if draws is None:
            ranks = torch.stack([_evenly(int(count), self._num_layers) for count in num_dropped])
        else:
            ranks = draws.uniform(self._num_layers).argsort(dim=1).argsort(dim=1)
        return _certain(ranks, num_dropped, pooled.device)[:, self._layer_of_site]


def _certain(
    ranks: Int[Tensor, "batch sites"], num_closed_B: Int[Tensor, " batch"], device: torch.device
) -> Float[Tensor, "batch sites 2"]:
    """Logits that close the sites of the lowest ranks; a rank more is a little more likely, for exact budgets."""
    margins = _CERTAIN * (ranks - num_closed_B[:, None].to(ranks.device) + 0.5)
    return torch.stack([torch.zeros_like(margins), margins], dim=-1).to(device)


def _evenly(num_dropped: int, num_layers: int) -> Int[Tensor, " layers"]:
    """Ranks in which the layers to drop, spread evenly, come first."""
    layers = torch.arange(num_layers)
    is_dropped = (layers + 1) * num_dropped // num_layers > layers * num_dropped // num_layers
    return (~is_dropped).long().argsort(stable=True).argsort()
