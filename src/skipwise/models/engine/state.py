"""What a search knows of its decoder between two steps, under a plan that is decided once an utterance.

Shapes: B utterances, K beams of each, L new positions, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating import GatePlan
from skipwise.gating.branch import ALL_OPEN, LayerGates, add_branch, gate_of
from skipwise.models.cache import KeyValues, SelfAttentionCache, SourceAttentionCache, SourceKeyValues
from skipwise.models.engine.branches import PackedFeedForward, PackedSelfAttention, PackedSourceAttention, Source

DECODER_KINDS = ("self_attn", "src_attn", "ffn")
"""The branches of a layer, in the order in which they run."""


@final
@dataclass(frozen=True, eq=False)
class PackedLayer:
    """A decoder layer; its sites are `self_attn`, `src_attn` and `ffn`."""

    self_attn: PackedSelfAttention
    src_attn: PackedSourceAttention
    ffn: PackedFeedForward


class DecoderState(ABC):
    """Caches and plans of a batch of utterances. One search has one; the engine itself keeps nothing of a call."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.num_beams = 1
        """Hypotheses of each utterance."""
        self.length = 0
        """Positions seen, prompt included."""

    @abstractmethod
    def run(
        self,
        layers: Sequence[PackedLayer],
        hidden: Float[Tensor, "rows new dim"],
        embedded: Float[Tensor, "rows new dim"],
        is_start: Bool[Tensor, "rows new"],
    ) -> Float[Tensor, "rows new dim"]:
        """Run new positions of all hypotheses (B * K rows) through the layers, which read and extend the caches.

        `hidden` enters the first layer; step plans are decided from `embedded`, the same without positions.
        """

    def reorder(self, parents: Int[Tensor, "batch new_beams"], *, unchanged: int = 0) -> None:
        """Make beam k of an utterance what its beam `parents[k]` was; there may be more beams than before.

        The first `unchanged` positions are known to be the same in all beams of an utterance: they are not copied.
        """
        self._reorder(parents, unchanged)
        self.num_beams = parents.shape[1]

    def keep(self, utterances: Int[Tensor, " kept"]) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        self.source = self.source.keep(utterances)
        self._keep(utterances)

    @abstractmethod
    def gates_of(self, utterance: int, beam: int) -> Bool[Tensor, "positions sites"] | None:
        """Return the gates that each position of a hypothesis had; None where its utterance has one plan for all."""

    @abstractmethod
    def _reorder(self, parents: Int[Tensor, "batch new_beams"], unchanged: int) -> None: ...

    @abstractmethod
    def _keep(self, utterances: Int[Tensor, " kept"]) -> None: ...


@final
class UtteranceState(DecoderState):
    """Under plans that stay the same: rows whose branch is closed have no cache."""

    def __init__(self, source: Source, plan: GatePlan | None, num_layers: int) -> None:
        super().__init__(source)
        self._num_layers = num_layers
        self._plan = None if plan is None else plan.expand(source.states.shape[0])
        self._layer_gates = self._gates()
        self._self_attn = [SelfAttentionCache() for _ in range(num_layers)]
        self._src_attn = [SourceAttentionCache() for _ in range(num_layers)]

    def run(
        self,
        layers: Sequence[PackedLayer],
        hidden: Float[Tensor, "rows new dim"],
        embedded: Float[Tensor, "rows new dim"],
        is_start: Bool[Tensor, "rows new"],
    ) -> Float[Tensor, "rows new dim"]:
        num_rows, num_new, dim = hidden.shape
        num_beams = self.num_beams
        hidden = hidden.view(num_rows // num_beams, num_beams * num_new, dim)
        for layer, gates, self_cache, src_cache in zip(
            layers, self._layer_gates, self._self_attn, self._src_attn, strict=True
        ):
            hidden = add_branch(
                hidden,
                lambda own, rows, layer=layer, cache=self_cache: layer.self_attn(own, rows, cache, num_beams),
                gate_of(gates, "self_attn"),
            )
            hidden = add_branch(
                hidden,
                lambda own, rows, layer=layer, cache=src_cache: layer.src_attn(own, rows, cache, self.source),
                gate_of(gates, "src_attn"),
            )
            hidden = add_branch(hidden, lambda own, _, layer=layer: layer.ffn(own), gate_of(gates, "ffn"))
        self.length += num_new
        return hidden.view(num_rows, num_new, dim)

    def gates_of(self, utterance: int, beam: int) -> None:
        return None

    def own_key_values(self) -> list[KeyValues | None]:
        """Return those of self-attention, layer by layer; None where it has not run."""
        return [cache.key_values for cache in self._self_attn]

    def source_key_values(self) -> list[SourceKeyValues | None]:
        """Return those of source attention, layer by layer; None where it has not run."""
        return [cache.key_values for cache in self._src_attn]

    def _reorder(self, parents: Int[Tensor, "batch new_beams"], unchanged: int) -> None:
        for cache in self._self_attn:
            cache.reorder(parents, self.num_beams, unchanged)

    def _keep(self, utterances: Int[Tensor, " kept"]) -> None:
        for cache in self._self_attn:
            cache.keep(utterances, self.num_beams)
        for cache in self._src_attn:
            cache.keep(utterances)
        if self._plan is not None:
            self._plan = self._plan.select(utterances.tolist())
            self._layer_gates = self._gates()

    def _gates(self) -> tuple[LayerGates, ...]:
        if self._plan is None:
            return (ALL_OPEN,) * self._num_layers
        return self._plan.layer_gates("decoder", self._num_layers, self.source.states.device)
