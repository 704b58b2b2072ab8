"""Several systems on the same batches, taking turns, so that a drift of the machine hits all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from skipwise.evaluation.rows import Item, Row, decode_rows
from skipwise.pipeline import Transcriber

Key = TypeVar("Key", bound=Hashable)


def decode_in_turns(
    systems: Mapping[Key, Transcriber], batches: Sequence[Sequence[Item]]
) -> Iterator[tuple[Key, int, Row]]:
    """Yield the rows of each batch, decoded by every system before the next; who begins changes with each batch.

    The first batch is decoded once before, which is not counted: drift of the machine and what is done once hit none of
    them alone.
    """
    names = list(systems)
    for system in names:
        list(decode_rows(systems[system], batches[:1]))
    for index, batch in enumerate(batches):
        first = index % len(names)
        for system in names[first:] + names[:first]:
            for row in decode_rows(systems[system], [batch]):
                yield system, index, row
