"""Counts what the engine multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

import pytest
from torch import Tensor

from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.precision import Projection

RowCounts = dict[tuple[int, str], list[int]]
"""On how many rows each product was run, call by call: (0, "src_attn.key") -> [749, ...]."""


@contextmanager
def counted_projections(decoder: PackedDecoder) -> Iterator[RowCounts]:
    """Yield the counts of every product in the layers of a decoder."""
    named = {
        id(projection): (index, f"{branch.name}.{part.name}")
        for index, layer in enumerate(decoder.layers)
        for branch in fields(layer)
        for part in fields(getattr(layer, branch.name))
        if isinstance(projection := getattr(getattr(layer, branch.name), part.name), Projection)
    }
    counts: RowCounts = {name: [] for name in named.values()}

    def counting(usual: object) -> object:
        def call(projection: Projection, states: Tensor) -> Tensor:
            if id(projection) in named:
                counts[named[id(projection)]].append(states.numel() // states.shape[-1])
            return usual(projection, states)  # type: ignore[operator]  # pyrefly: ignore[not-callable]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind in Projection.__subclasses__():
            patch.setattr(kind, "__call__", counting(kind.__call__))
        yield counts


def executed(counts: RowCounts, layer: int, kind: str) -> list[int]:
    """Return on how many rows a branch ran, call by call; whatever else of it ran counts as one more call."""
    return counts[layer, f"{kind}.out"] or [
        rows for (at, name), calls in counts.items() if at == layer and name.startswith(f"{kind}.") for rows in calls
    ]
