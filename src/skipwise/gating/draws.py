"""Random numbers for rows that may be a part of a larger batch: a row gets the same, whoever its neighbours are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor


@final
@dataclass(frozen=True)
class RowDraws:
    """Draws for all rows of a batch, of which some are asked for: those of one process, or of one piece of a step."""

    generator: torch.Generator
    """Its device is where numbers are drawn, so that a CPU generator gives the same run on every device."""
    num_rows: int
    """Rows of the whole batch."""
    rows: Sequence[int]
    """The rows that are asked for."""

    @classmethod
    def for_all(cls, generator: torch.Generator, num_rows: int) -> RowDraws:
        """Return draws for a batch that is whole."""
        return cls(generator, num_rows, range(num_rows))

    def uniform(self, *shape: int, device: torch.device | str = "cpu") -> Float[Tensor, "rows *shape"]:
        """Return numbers in [0, 1) for each of the rows."""
        drawn = torch.rand(self.num_rows, *shape, generator=self.generator, device=self.generator.device)
        return drawn[list(self.rows)].to(device)

    def uniform_at(
        self, num_positions: int, *shape: int, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "rows positions *shape"]:
        """Return numbers in [0, 1) for each position of each of the rows.

        A position gets the same however many come after it: the padding of a batch differs from piece to piece.
        """
        seeds = torch.randint(2**62, (self.num_rows,), generator=self.generator, device=self.generator.device)
        own = torch.Generator(self.generator.device)
        drawn = [
            torch.rand(num_positions, *shape, generator=own.manual_seed(int(seeds[row])), device=own.device)
            for row in self.rows
        ]
        return torch.stack(drawn).to(device)
