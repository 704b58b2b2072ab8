"""Step plans: every position of the decoder has its own gates.

Shapes: B utterances, K beams of each, L new positions, D width, S sites.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.sites import GateSite


class StepPlanner(ABC):
    """Decides the gates of each position of a batch of utterances as it comes; one batch has one."""

    @property
    @abstractmethod
    def sites(self) -> tuple[GateSite, ...]:
        """The S sites that it decides, all of the decoder."""

    @abstractmethod
    def gates(
        self, tokens: Float[Tensor, "batch beams new dim"], prefix_means: Float[Tensor, "batch beams new dim"]
    ) -> Bool[Tensor, "batch beams new sites"]:
        """Return which sites are open at the new positions; on the CPU.

        `tokens` are the embeddings of what is fed there, without positions; `prefix_means` their means from `<sos>` to
        there, zeros before it.
        """

    @abstractmethod
    def keep(self, utterances: Sequence[int]) -> StepPlanner:
        """Return what decides for some of the utterances."""


@final
class PrefixMeans:
    """Running means of token embeddings from `<sos>` on: what was said before it does not count."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._counts: Tensor | None = None
        self._has_begun = False
        """Whether `<sos>` was said in every row."""

    def extend(
        self, embedded: Float[Tensor, "rows new dim"], is_start: Bool[Tensor, "rows new"]
    ) -> Float[Tensor, "rows new dim"]:
        """Take new positions and return the means up to each; `is_start` marks `<sos>`, which comes once a row."""
        if self._sums is not None and self._counts is not None and embedded.shape[1] == 1 and self._begun(self._counts):
            self._sums, self._counts = self._sums + embedded[:, 0], self._counts + 1
            return (self._sums / self._counts)[:, None]
        counted = (is_start.cumsum(dim=1) > 0).to(embedded.dtype)
        if self._counts is not None:
            counted = counted.maximum((self._counts > 0).to(embedded.dtype))
        sums, counts = (embedded * counted[..., None]).cumsum(dim=1), counted.cumsum(dim=1)
        if self._sums is not None and self._counts is not None:
            sums, counts = sums + self._sums[:, None], counts + self._counts
        self._sums, self._counts = sums[:, -1], counts[:, -1:]
        return sums / counts.clamp_min(1)[..., None]

    def _begun(self, counts: Float[Tensor, "rows 1"]) -> bool:
        # asked once a search and never in training: on a GPU it waits for what is queued
        self._has_begun = self._has_begun or bool((counts > 0).all())
        return self._has_begun

    def select(self, rows: Int[Tensor, " rows"]) -> None:
        """Make the rows copies of these."""
        if self._sums is not None and self._counts is not None:
            self._sums, self._counts = self._sums[rows], self._counts[rows]
