"""The call that gated modules of a live model follow: around the library's own code, in each thread by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates

Call = TypeVar("Call")


def pooled_over(
    states: Float[Tensor, "batch time dim"], num_real_frames: Int[Tensor, " rows"]
) -> Float[Tensor, "batch dim"]:
    """Return the mean over the frames that stem from real samples, in fp32 whatever the model computes in.

    Raises:
        SkipwiseError: if the call knows of another number of rows.
    """
    if len(states) != len(num_real_frames):
        raise SkipwiseError(f"this call knows {len(num_real_frames)} rows, and got {len(states)}.")
    real = num_real_frames.to(states.device).clamp_max(states.shape[1])
    return SpeechStates(states.float(), torch.full_like(real, states.shape[1]), real).pooled()


@final
class RunningCall(Generic[Call]):
    """Where modules find the call that is being made."""

    def __init__(self, name: str, *, missing: str) -> None:
        """Hold calls under `name`; `missing` says what to do where there is none."""
        self._variable: ContextVar[Call | None] = ContextVar(name, default=None)
        self._missing = missing

    @contextmanager
    def running(self, call: Call) -> Iterator[Call]:
        """Make a call the one that gated modules follow until the block ends, in this thread."""
        token = self._variable.set(call)
        try:
            yield call
        finally:
            self._variable.reset(token)

    def now(self) -> Call:
        """Return the call that is being made.

        Raises:
            SkipwiseError: if there is none.
        """
        call = self._variable.get()
        if call is None:
            raise SkipwiseError(self._missing)
        return call
