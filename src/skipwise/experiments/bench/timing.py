"""Works that take turns, so that a machine's drift hits all of them, and what is made of their seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from skipwise.experiments.bench.journal import KeptRounds, RoundSeconds

Parts = Mapping[str, float]
"""Seconds by name of the part."""

_SHORTEST_S = 1e-9

Work = Callable[[], Parts]
"""Does something once and says how long its parts took."""


@final
@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long one work took as another: above 1, the other is faster."""

    median: float
    """Of the rounds, each with both works in it."""
    low: float
    """First quartile."""
    high: float
    """Third quartile."""


@final
class Rounds:
    """The seconds of every work and part, round by round."""

    def __init__(self, seconds: Mapping[str, Mapping[str, list[float]]]) -> None:
        self.seconds = {work: {part: list(values) for part, values in parts.items()} for work, parts in seconds.items()}

    @classmethod
    def of(cls, rounds: Sequence[RoundSeconds]) -> Rounds:
        """Return the seconds of rounds in which the same works took turns."""
        names = list(rounds[0]) if rounds else []
        return cls(
            {name: {part: [found[name][part] for found in rounds] for part in rounds[0][name]} for name in names}
        )

    def with_sums(self, sums: Mapping[str, Sequence[tuple[str, str]]]) -> Rounds:
        """Return these rounds and, by name, works whose one part `total` adds up parts (work, part) of others."""
        added = {
            name: {"total": [sum(values) for values in zip(*(self.seconds[w][p] for w, p in parts), strict=True)]}
            for name, parts in sums.items()
        }
        return Rounds({**self.seconds, **added})

    def median_s(self, work: str, part: str) -> float:
        """Return the median over rounds."""
        return statistics.median(self.seconds[work][part])

    def ratio(self, slow: str, fast: str, part: str, *, fast_part: str | None = None) -> Ratio:
        """Return the ratio of two works, taken round by round."""
        pairs = zip(self.seconds[slow][part], self.seconds[fast][fast_part or part], strict=True)
        low, median, high = _quartiles([before / after for before, after in pairs])
        return Ratio(median=median, low=low, high=high)

    def to_dict(self) -> dict[str, Any]:
        """Return medians, quartiles and all seconds as values for JSON."""
        return {work: {part: _record(values) for part, values in parts.items()} for work, parts in self.seconds.items()}


def take_turns(
    works: Mapping[str, Work],
    *,
    rounds: int,
    warm_up: int = 1,
    on_round: Callable[[], None] | None = None,
    kept: KeptRounds | None = None,
) -> Rounds:
    """Run every work once a round, forwards and backwards in turn; warm-up rounds are not counted.

    With `kept` every round is noted when it ends, and those that are noted already are not run again. A run that goes
    on warms up anew.

    Raises:
        SkipwiseError: if other works took turns in the rounds that are noted.
    """
    done: list[RoundSeconds] = [] if kept is None else kept.load(works)
    missing = range(len(done), rounds)
    for number in [*range(-warm_up, 0), *missing] if missing else []:
        order = list(works)[:: 1 if (number + warm_up) % 2 == 0 else -1]
        seconds = {name: dict(works[name]()) for name in order}
        if number >= 0:
            done.append(seconds)
            if kept is not None:
                kept.add(seconds)
        if on_round is not None:
            on_round()
    return Rounds.of(done)


FEW_TOKENS = 2
"""A decoding is compared with one of this length: what is left is the time per token, without what is done once."""


def by_length(decode: Callable[[int], int], num_tokens: int) -> Parts:
    """Time a decoding of few tokens and one of many; `decode` takes a number of tokens and returns what it produced.

    `first` is all that is done once and the first tokens, `token` a token after these, `decoder` the whole.
    """
    start = time.perf_counter()
    few = decode(FEW_TOKENS)
    middle = time.perf_counter()
    many = decode(num_tokens)
    done = time.perf_counter()
    extra_s = (done - middle) - (middle - start)
    return {
        "decoder": done - middle,
        "first": middle - start,
        "token": max(_SHORTEST_S, extra_s) / max(1, many - few),
    }


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def _record(values: list[float]) -> dict[str, Any]:
    low, median, high = _quartiles(values)
    return {"median_s": median, "quartiles_s": [low, high], "seconds": values}
