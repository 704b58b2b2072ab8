"""What a search knows of its decoder between two steps, where every position has its own gates.

Shapes: B utterances, K beams of each, L new positions, D width, S sites. All rows are hypotheses, B * K.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.branch import Rows
from skipwise.gating.steps import PrefixMeans, StepPlanner
from skipwise.models.cache import (
    LazySelfAttentionCache,
    LazySourceAttentionCache,
    rows_of_parents,
    rows_of_utterances,
)
from skipwise.models.engine.branches import Source
from skipwise.models.engine.state import DecoderState, PackedLayer

Run = Callable[[Tensor, Rows], Tensor]
Where = Bool[Tensor, "rows new"] | bool
"""The positions at which a site is open; True for all of them, False for none."""


@final
class StepState(DecoderState):
    """Under step plans: each hypothesis has plans of its own, which go with it when beams are reordered."""

    def __init__(self, source: Source, planner: StepPlanner, num_layers: int) -> None:
        super().__init__(source)
        self._planner = planner
        self._columns = {(site.layer, site.kind): column for column, site in enumerate(planner.sites)}
        self._means = PrefixMeans()
        self._history_BKLS = torch.zeros(source.states.shape[0], 1, 0, len(planner.sites), dtype=torch.bool)
        self._self_attn = [LazySelfAttentionCache() for _ in range(num_layers)]
        self._src_attn = [LazySourceAttentionCache() for _ in range(num_layers)]

    def run(
        self,
        layers: Sequence[PackedLayer],
        hidden: Float[Tensor, "rows new dim"],
        embedded: Float[Tensor, "rows new dim"],
        is_start: Bool[Tensor, "rows new"],
    ) -> Float[Tensor, "rows new dim"]:
        num_rows, num_new, _ = hidden.shape
        beams = (num_rows // self.num_beams, self.num_beams)
        means = self._means.extend(embedded, is_start)
        gates_BKLS = self._planner.gates(embedded.unflatten(0, beams), means.unflatten(0, beams))
        self._history_BKLS = torch.cat([self._history_BKLS, gates_BKLS], dim=2)
        gates = _StepGates(gates_BKLS.flatten(0, 1), self._columns)
        for index, layer in enumerate(layers):
            self_cache, src_cache = self._self_attn[index], self._src_attn[index]
            self_cache.advance(num_rows, num_new)
            where = gates.open(index, "self_attn")
            _skip_closed(hidden, where, self_cache)
            hidden = _add_where_open(
                hidden, lambda own, rows, layer=layer, c=self_cache: layer.self_attn.lazily(own, rows, c), where
            )
            hidden = _add_where_open(
                hidden,
                lambda own, rows, layer=layer, c=src_cache: layer.src_attn.lazily(
                    own, rows, c, self.source, self.num_beams
                ),
                gates.open(index, "src_attn"),
            )
            hidden = _add_where_open(hidden, lambda own, _, layer=layer: layer.ffn(own), gates.open(index, "ffn"))
        self.length += num_new
        return hidden

    def gates_of(self, utterance: int, beam: int) -> Bool[Tensor, "positions sites"]:
        return self._history_BKLS[utterance, beam]

    def _reorder(self, parents: Int[Tensor, "batch new_beams"], unchanged: int) -> None:
        for cache in self._self_attn:
            cache.reorder(parents, self.num_beams, unchanged)
        rows = rows_of_parents(parents, self.num_beams)
        self._means.select(rows)
        self._history_BKLS = self._history_BKLS.flatten(0, 1)[rows.cpu()].unflatten(0, tuple(parents.shape))

    def _keep(self, utterances: Int[Tensor, " kept"]) -> None:
        for self_cache in self._self_attn:
            self_cache.keep(utterances, self.num_beams)
        for src_cache in self._src_attn:
            src_cache.keep(utterances)
        self._means.select(rows_of_utterances(utterances, self.num_beams))
        self._history_BKLS = self._history_BKLS[utterances.cpu()]
        self._planner = self._planner.keep(utterances.tolist())


@final
class _StepGates:
    """The gates of the new positions, site by site."""

    def __init__(self, gates: Bool[Tensor, "rows new sites"], columns: Mapping[tuple[int, str], int]) -> None:
        self._gates, self._columns = gates, columns
        # two operations a step: asked for one site at a time they cost more than what small branches compute
        positions = gates.flatten(0, 1)
        self._everywhere, self._anywhere = positions.all(dim=0).tolist(), positions.any(dim=0).tolist()

    def open(self, layer: int, kind: str) -> Where:
        """Return where a site is open; a site that is not gated is open everywhere."""
        column = self._columns.get((layer, kind))
        if column is None or self._everywhere[column]:
            return True
        return self._gates[..., column] if self._anywhere[column] else False


def _skip_closed(hidden: Float[Tensor, "rows new dim"], where: Where, cache: LazySelfAttentionCache) -> None:
    """Remember what the rows that do not run at all would have needed."""
    if where is True:
        return
    if where is False:
        cache.skip(hidden, None)
        return
    closed_R = ~where.any(dim=1)
    if bool(closed_R.any()):
        rows = closed_R.nonzero()[:, 0].to(hidden.device)
        cache.skip(hidden[rows], rows)


def _add_where_open(hidden: Float[Tensor, "rows new dim"], branch: Run, where: Where) -> Float[Tensor, "rows new dim"]:
    """Run a branch on the rows of which some position is open; at their closed positions it adds nothing."""
    if where is True:
        return hidden + branch(hidden, None)
    if where is False:
        return hidden
    open_R = where.any(dim=1)
    rows = None if bool(open_R.all()) else open_R.nonzero()[:, 0].to(hidden.device)
    update = branch(hidden if rows is None else hidden[rows], rows)
    if hidden.shape[1] > 1:
        gates = where if rows is None else where[open_R]
        update = update * gates[..., None].to(update)
    return hidden + update if rows is None else hidden.index_add(0, rows, update)
