"""A step planner whose decisions are as good as random, and depend on all that they may depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skipwise.gating import GateSite
from skipwise.gating.steps import StepPlanner


@final
class HashedGates(StepPlanner):
    """Open where a random line through token and prefix mean is above a threshold of the utterance's own."""

    def __init__(
        self,
        sites: tuple[GateSite, ...],
        dim: int,
        num_utterances: int,
        *,
        open_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._sites = sites
        self._of_token = torch.randn(dim, len(sites), generator=generator)
        self._of_mean = torch.randn(dim, len(sites), generator=generator)
        self._of_utterance = torch.randn(num_utterances, 1, 1, len(sites), generator=generator)
        self._threshold = -float(torch.distributions.Normal(0, 1).icdf(torch.tensor(open_share)))

    @property
    def sites(self) -> tuple[GateSite, ...]:
        return self._sites

    def gates(
        self, tokens: Float[Tensor, "batch beams new dim"], prefix_means: Float[Tensor, "batch beams new dim"]
    ) -> Bool[Tensor, "batch beams new sites"]:
        score = _unit(tokens) @ self._of_token + _unit(prefix_means) @ self._of_mean + self._of_utterance
        return score / 3**0.5 > self._threshold

    def keep(self, utterances: Sequence[int]) -> HashedGates:
        kept = HashedGates.__new__(HashedGates)
        kept.__dict__.update(self.__dict__, _of_utterance=self._of_utterance[list(utterances)])
        return kept


def _unit(states: Tensor) -> Tensor:
    return torch.nn.functional.normalize(states.float(), dim=-1)
