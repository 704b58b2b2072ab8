"""Key/value caches of cached decoding with beams.

Shapes: B utterances, K beams of each, R utterances for which a layer's branch is open, H heads, N positions, T encoder
frames, C head width, D width, M missing positions.

Under plans that are decided once an utterance, rows whose branch is closed are not stored at all. Under step plans a
position that was skipped still has a key and a value, as in training: they are projected when, and if, that layer's
self-attention next runs for that row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.branch import Rows, select_rows

KeyValues = tuple[Float[Tensor, "rows heads keys head_dim"], Float[Tensor, "rows heads keys head_dim"]]
SourceKeyValues = tuple[Float[Tensor, "batch heads time head_dim"], Float[Tensor, "batch heads time head_dim"]]
AllKeyValues = tuple[Float[Tensor, "rows heads all_keys head_dim"], Float[Tensor, "rows heads all_keys head_dim"]]

_SMALLEST_CAPACITY = 32


@final
class Growing:
    """A tensor [rows, ..., N, width] whose second last axis grows, by doubling."""

    def __init__(self) -> None:
        self._stored: Tensor | None = None

    def reserve(self, end: int, like: Tensor, num_rows: int) -> Tensor:
        """Return the tensor with room for `end` positions of `num_rows` rows that are shaped as those of `like`."""
        old = self._stored
        if old is not None and old.shape[-2] >= end:
            return old
        capacity = max(_SMALLEST_CAPACITY, 1 << (end - 1).bit_length())
        self._stored = like.new_empty(num_rows, *like.shape[1:-2], capacity, like.shape[-1])
        if old is not None:
            self._stored[..., : old.shape[-2], :] = old
        return self._stored

    def write(self, start: int, new: Tensor, rows: Rows = None, *, num_rows: int | None = None) -> None:
        """Put `new` [rows, ..., L, width] at positions `start` on, of all rows or of some out of `num_rows`."""
        end = start + new.shape[-2]
        stored = self.reserve(end, new, new.shape[0] if num_rows is None else num_rows)
        if rows is None:
            stored[..., start:end, :] = new
        else:
            stored.narrow(-2, start, end - start)[rows] = new

    def up_to(self, end: int) -> Tensor:
        """Return the positions before `end`, as a view."""
        assert self._stored is not None
        return self._stored[..., :end, :]

    def select(self, rows: Int[Tensor, " rows"], *, unchanged: int, length: int) -> None:
        """Make the rows copies of these; each of them has the first `unchanged` of `length` positions already."""
        stored = self._stored
        if stored is None or length == 0:
            return
        if rows.shape[0] != stored.shape[0]:
            self._stored = stored[rows]
        elif unchanged < length:
            changed = stored.narrow(-2, unchanged, length - unchanged)
            changed.copy_(changed.index_select(0, rows))


@final
class SelfAttentionCache:
    """Keys and values of all positions so far, of one layer, [R * K, H, N, C], under a plan that stays the same."""

    def __init__(self) -> None:
        self._keys, self._values = Growing(), Growing()
        self._rows: Rows = None
        self._length = 0

    def append(self, new: KeyValues, rows: Rows) -> AllKeyValues:
        """Store the keys and values of new positions and return those of all; `rows` are the utterances they are of."""
        self._keys.write(self._length, new[0])
        self._values.write(self._length, new[1])
        self._length, self._rows = self._length + new[0].shape[2], rows
        return self._keys.up_to(self._length), self._values.up_to(self._length)

    @property
    def key_values(self) -> KeyValues | None:
        """Of all positions so far; None before the first."""
        return (self._keys.up_to(self._length), self._values.up_to(self._length)) if self._length else None

    def reorder(self, parents: Int[Tensor, "batch new_beams"], num_beams: int, unchanged: int) -> None:
        """Give each utterance the beams `parents` out of its present `num_beams`."""
        self._select(rows_of_parents(select_rows(parents, self._rows), num_beams), unchanged)

    def keep(self, utterances: Int[Tensor, " kept"], num_beams: int) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        chosen, self._rows = _kept_rows(self._rows, utterances)
        self._select(rows_of_utterances(chosen, num_beams), 0)

    def _select(self, rows: Int[Tensor, " rows"], unchanged: int) -> None:
        for stored in (self._keys, self._values):
            stored.select(rows, unchanged=unchanged, length=self._length)


@final
@dataclass(frozen=True)
class MissingPositions:
    """Positions without key and value, and what to project them from."""

    rows: Int[Tensor, " missing"]
    positions: Int[Tensor, " missing"]
    hidden: Float[Tensor, "missing dim"]
    """What entered the layer there."""


@final
class LazySelfAttentionCache:
    """Keys and values of one layer under step plans, [B * K, H, N, C], filled when they are needed."""

    def __init__(self) -> None:
        self._keys, self._values, self._hidden = Growing(), Growing(), Growing()
        self._is_missing: Bool[Tensor, "rows positions"] | None = None
        """On the CPU; positions behind its end lack nothing, and there is none before anything was skipped."""
        self._num_rows = self._length = 0

    def advance(self, num_rows: int, num_positions: int) -> None:
        """Make room for new positions: each row is either skipped there or appended to."""
        self._num_rows = num_rows
        self._length += num_positions

    def skip(self, hidden: Float[Tensor, "rows new dim"], rows: Rows) -> None:
        """Remember what entered the layer at the newest positions of rows for which it did not run."""
        start = self._length - hidden.shape[1]
        self._hidden.write(start, hidden, rows, num_rows=self._num_rows)
        before = torch.zeros(self._num_rows, 0, dtype=torch.bool) if self._is_missing is None else self._is_missing
        self._is_missing = F.pad(before, (0, self._length - before.shape[1]))
        self._is_missing[slice(None) if rows is None else rows.cpu(), start:] = True

    def missing(self, rows: Rows, num_new: int) -> MissingPositions | None:
        """Return what `rows` lack before their `num_new` newest positions; None if it is nothing."""
        if self._is_missing is None:
            return None
        where = select_rows(self._is_missing[:, : self._length - num_new], None if rows is None else rows.cpu())
        if not bool(where.any()):
            return None
        stored = self._hidden.up_to(self._length)
        row, position = (index.to(stored.device) for index in where.nonzero(as_tuple=True))
        row = row if rows is None else rows[row]
        return MissingPositions(row, position, stored[row, position])

    def fill(self, missing: MissingPositions, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values [M, H, C] of positions that lacked them."""
        for cache, new in ((self._keys, keys), (self._values, values)):
            stored = cache.reserve(self._length, new[:, :, None], self._num_rows)
            stored[missing.rows, :, missing.positions] = new
        assert self._is_missing is not None
        self._is_missing[missing.rows.cpu(), missing.positions.cpu()] = False

    def append(self, new: KeyValues, rows: Rows) -> AllKeyValues:
        """Store the keys and values of the newest positions of `rows`, which lack no others; return all of theirs."""
        start = self._length - new[0].shape[2]
        self._keys.write(start, new[0], rows, num_rows=self._num_rows)
        self._values.write(start, new[1], rows, num_rows=self._num_rows)
        keys, values = self._keys.up_to(self._length), self._values.up_to(self._length)
        return select_rows(keys, rows), select_rows(values, rows)

    def reorder(self, parents: Int[Tensor, "batch new_beams"], num_beams: int, unchanged: int) -> None:
        """Give each utterance the beams `parents` out of its present `num_beams`."""
        # what is missing may differ where the tokens do not: a beam may have been filled and its twin not
        lacks = self._is_missing is not None and bool(self._is_missing.any())
        self._select(rows_of_parents(parents, num_beams), 0 if lacks else unchanged)

    def keep(self, utterances: Int[Tensor, " kept"], num_beams: int) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        self._select(rows_of_utterances(utterances, num_beams), 0)

    def _select(self, rows: Int[Tensor, " rows"], unchanged: int) -> None:
        for stored in (self._keys, self._values, self._hidden):
            stored.select(rows, unchanged=unchanged, length=self._length)
        if self._is_missing is not None:
            self._is_missing = self._is_missing[rows.cpu()]


@final
class SourceAttentionCache:
    """Keys and values of the encoder's states, of one layer: an utterance's beams share them, so none is reordered."""

    def __init__(self) -> None:
        self.key_values: KeyValues | None = None
        """Of the utterances whose branch is open, [R, H, T, C]."""
        self._rows: Rows = None

    def store(self, key_values: KeyValues, rows: Rows) -> KeyValues:
        """Keep what was projected for the utterances `rows`, and return it."""
        self.key_values, self._rows = key_values, rows
        return key_values

    def keep(self, utterances: Int[Tensor, " kept"]) -> None:
        """Forget all utterances but these, which are named in ascending order."""
        if self.key_values is not None:
            chosen, self._rows = _kept_rows(self._rows, utterances)
            keys, values = self.key_values
            self.key_values = (_select(keys, chosen), _select(values, chosen))


@final
class LazySourceAttentionCache:
    """The same under step plans: [B, H, T, C], each utterance projected when the first of its hypotheses needs it."""

    def __init__(self) -> None:
        self._stored: tuple[Tensor, Tensor] | None = None
        self._is_projected = torch.zeros(0, dtype=torch.bool)
        self.is_complete = False
        """Whether nothing is left to project."""

    def unprojected(self, utterances: Int[Tensor, " some"], batch_size: int) -> Int[Tensor, " fewer"]:
        """Return those of `utterances` that nothing is stored for; both are on the CPU."""
        if not len(self._is_projected):
            self._is_projected = torch.zeros(batch_size, dtype=torch.bool)
        return utterances[~self._is_projected[utterances]]

    def store(self, key_values: KeyValues, utterances: Int[Tensor, " some"]) -> None:
        """Keep what was projected for some utterances."""
        batch_size = len(self._is_projected)
        if self._stored is None and len(utterances) == batch_size:
            self._stored = key_values
        else:
            if self._stored is None:
                self._stored = tuple(_zeros_like(new, batch_size) for new in key_values)  # type: ignore[assignment]
            assert self._stored is not None
            for stored, new in zip(self._stored, key_values, strict=True):
                stored[utterances.to(stored.device)] = new
        self._is_projected[utterances] = True
        self.is_complete = bool(self._is_projected.all())

    @property
    def key_values(self) -> KeyValues:
        """Of all utterances; zeros where nothing was projected."""
        assert self._stored is not None
        return self._stored

    def keep(self, utterances: Int[Tensor, " kept"]) -> None:
        """Forget all utterances but these."""
        if self._stored is not None:
            keys, values = self._stored
            self._stored = (_select(keys, utterances), _select(values, utterances))
            self._is_projected = self._is_projected[utterances.cpu()]
            self.is_complete = bool(self._is_projected.all())


def along_frames(heads: Float[Tensor, "rows heads time head_dim"]) -> Float[Tensor, "rows heads time head_dim"]:
    """Return the same with each channel's frames side by side in memory: [R, H, C, T], seen as [R, H, T, C]."""
    return heads.mT.contiguous().mT


def _zeros_like(heads: Float[Tensor, "some heads time head_dim"], num_rows: int) -> Tensor:
    """Zeros for so many rows, in the order in memory that all have."""
    if heads.is_contiguous():
        return heads.new_zeros(num_rows, *heads.shape[1:])
    return heads.new_zeros(num_rows, *heads.mT.shape[1:]).mT


def _select(heads: Float[Tensor, "rows heads time head_dim"], rows: Int[Tensor, " chosen"]) -> Tensor:
    """Some rows, in the order in memory that all have."""
    return heads[rows] if heads.is_contiguous() else heads.mT[rows].mT


def causal_mask(num_queries: int, num_keys: int, device: torch.device) -> Bool[Tensor, "1 1 queries keys"] | None:
    """Return the mask for the last `num_queries` of `num_keys` positions; None for a single query, which sees all."""
    if num_queries == 1:
        return None
    full = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return full.tril(num_keys - num_queries)[None, None]


def rows_of_parents(parents: Int[Tensor, "batch new_beams"], num_beams: int) -> Int[Tensor, " rows"]:
    """Return the rows, out of batch * `num_beams`, that each utterance's beams `parents` are."""
    first = torch.arange(parents.shape[0], device=parents.device)[:, None] * num_beams
    return (first + parents).flatten()


def rows_of_utterances(utterances: Int[Tensor, " some"], num_beams: int) -> Int[Tensor, " rows"]:
    """Return the rows of all beams of some utterances."""
    return (utterances[:, None] * num_beams + torch.arange(num_beams, device=utterances.device)).flatten()


def _kept_rows(rows: Rows, utterances: Int[Tensor, " kept"]) -> tuple[Int[Tensor, " chosen"], Tensor | None]:
    """Which of the stored `rows` are among `utterances`, and their new numbers."""
    if rows is None:
        return utterances, None
    stays = torch.isin(rows, utterances)
    return stays.nonzero()[:, 0], torch.searchsorted(utterances, rows[stays])
