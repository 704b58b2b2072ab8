"""What OWSM adds to transformers' `generate()`: a cache that knows its plan, timestamps and the length limit.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache, LogitsProcessor, StoppingCriteria

from skipwise.errors import SkipwiseError
from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.engine.state import DecoderState


@final
class OwsmCache(Cache):
    """A decoder and its state where transformers expects a cache of its own; made for one utterance batch and its plan.

    Positions come from the count of positions seen. transformers reads them from layer 0, which may be skipped.
    """

    def __init__(self, decoder: PackedDecoder, state: DecoderState) -> None:
        super().__init__(layers=[])
        self.decoder, self._state = decoder, state

    def decode(self, tokens: Int[Tensor, "batch new"]) -> Float[Tensor, "batch new vocab"]:
        """Return the logits after each of `tokens`, which follow what the cache has seen."""
        return self.decoder.logits(self.decoder.states(tokens[:, None], self._state)[:, 0])

    def __len__(self) -> int:
        return len(self.decoder.layers)

    @property
    def is_croppable(self) -> bool:
        return False

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._state.length

    def get_max_length(self, layer_idx: int | None = None) -> int:
        return -1  # no limit

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self._state.length + query_length, 0

    def reset(self) -> None:
        raise SkipwiseError("an OwsmCache cannot be used again: its plan belongs to one utterance batch.")

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        raise SkipwiseError("only OWSM's own layers write into an OwsmCache.")

    def reorder_cache(self, beam_idx: Tensor) -> None:
        raise SkipwiseError("an OwsmCache cannot be reordered: generate() is greedy.")

    def crop(self, tokens_to_remove: int) -> None:
        raise SkipwiseError("an OwsmCache cannot be cropped: generate() does not take steps back.")

    def batch_repeat_interleave(self, repeats: int) -> None:
        raise SkipwiseError("an OwsmCache cannot be repeated: generate() returns one hypothesis a row.")

    def batch_select_indices(self, indices: Tensor) -> None:
        raise SkipwiseError("rows of an OwsmCache cannot be selected: its plan belongs to all of them.")


@final
class NoTimestamps(LogitsProcessor):
    """Suppresses timestamps in the rows whose prompt holds `<notimestamps>`."""

    def __init__(self, rows_B: Bool[Tensor, " batch"], times: slice) -> None:
        self._rows_B1, self._times = rows_B[:, None], times

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[:, self._times].masked_fill_(self._rows_B1, -torch.inf)
        return scores


@final
class OneTokenAFrame(StoppingCriteria):
    """Ends a row when it has as many tokens as encoder frames."""

    def __init__(self, num_frames_B: Int[Tensor, " batch"], prompt_length: int) -> None:
        self._limits_B = num_frames_B + prompt_length

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return input_ids.shape[1] >= self._limits_B
