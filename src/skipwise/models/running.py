"""The call that gated modules of a live model follow: around the library's own code, in each thread by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar, final

from skipwise.errors import SkipwiseError

Call = TypeVar("Call")


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
