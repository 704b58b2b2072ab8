"""What an interval says of a claim, and what a claim with its measurements is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from skipwise.evaluation.resamples import Estimate

Verdict = Literal["supported", "not supported", "open"]


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that a claim says, and what was measured of it."""

    says: str
    """In the unit of the estimate: `relative WER change at 70 %, above 0`."""
    estimate: Estimate | None
    """None where no run measures it."""
    verdict: Verdict
    unit: str = ""
    """Behind the number: `%`, ` BLEU`."""
    needs: str = ""
    """Which runs would measure it, where none does."""


@final
@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of the paper."""

    number: str
    text: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """Supported if all parts are, not supported if one is not, else open."""
        verdicts = {part.verdict for part in self.parts}
        if "not supported" in verdicts:
            return "not supported"
        return "supported" if verdicts == {"supported"} else "open"


def above(says: str, estimate: Estimate | None, bound: float, *, unit: str = "", needs: str = "") -> Part:
    """Return a part that says that something is above a bound: the whole interval decides."""
    verdict: Verdict = "open"
    if estimate is not None and estimate.interval is not None:
        if estimate.interval.low > bound:
            verdict = "supported"
        elif estimate.interval.high <= bound:
            verdict = "not supported"
    return Part(says=says, estimate=estimate, verdict=verdict, unit=unit, needs=needs)


def below(says: str, estimate: Estimate | None, bound: float, *, unit: str = "", needs: str = "") -> Part:
    """Return a part that says that something is at most a bound: non-inferiority, where lower is better."""
    verdict: Verdict = "open"
    if estimate is not None and estimate.interval is not None:
        if estimate.interval.high <= bound:
            verdict = "supported"
        elif estimate.interval.low > bound:
            verdict = "not supported"
    return Part(says=says, estimate=estimate, verdict=verdict, unit=unit, needs=needs)


def at_least(says: str, estimate: Estimate | None, bound: float, *, unit: str = "", needs: str = "") -> Part:
    """Return a part that says that something is at least a bound: non-inferiority, where higher is better."""
    verdict: Verdict = "open"
    if estimate is not None and estimate.interval is not None:
        if estimate.interval.low >= bound:
            verdict = "supported"
        elif estimate.interval.high < bound:
            verdict = "not supported"
    return Part(says=says, estimate=estimate, verdict=verdict, unit=unit, needs=needs)
