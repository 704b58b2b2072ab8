"""What claims are put together from: one thing measured on groups of a sweep, told in words, with its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from skipwise.evaluation.resamples import Combine, Estimate, Quantity
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.groups import Group, contrast
from skipwise.experiments.report.verdicts import Part, at_least, below

NEAR = 5.0
"""Percentage points: what skips that much more or less than it was to says nothing of its target."""


@final
@dataclass(frozen=True, kw_only=True)
class Margin:
    """What a system may lose at most, to be no worse."""

    wer: float
    """Relative, in percent."""
    bleu: float
    """A change, so negative."""


def costs_at_most(
    finder: Finder, group: Group | None, task: str, margin: Margin, *, than: Group | None = None, needs: str = ""
) -> Part:
    """Return whether a group is within a margin of dense, or of the group `than`."""
    is_asr = task == "asr"
    change = None
    if group is not None:
        change = (
            finder.change(group, relative=is_asr) if than is None else finder.change_from(than, group, relative=is_asr)
        )
    if is_asr:
        part = below(
            f"relative WER change{at(finder, group)}, at most +{margin.wer:g} %",
            change,
            margin.wer,
            unit=" %",
            needs=needs,
        )
    else:
        part = at_least(f"BLEU change{at(finder, group)}, at least {margin.bleu:g}", change, margin.bleu, needs=needs)
    return at_target(finder, part, group, than)


def at_target(finder: Finder, part: Part, *groups: Group | None) -> Part:
    """Return the part, open where a group skips much more or less than it was to."""
    known = [group for group in groups if group is not None and group.asked is not None]
    if all(abs(finder.skipped(group).value - 100 * (group.asked or 0)) <= NEAR for group in known):
        return part
    return replace(part, says=f"{part.says}; not at its target", verdict="open")


def at(finder: Finder, group: Group | None) -> str:
    """What was asked for, and what it came to."""
    if group is None:
        return ""
    return f" at {100 * (group.asked or 0):.0f} % ({finder.skipped(group).value:.0f} % achieved)"


def contrast_of(
    first: Group | None, second: Group | None, quantity: Callable[[Group], Quantity], combine: Combine
) -> Estimate | None:
    """Return a contrast of two groups; None where one is missing."""
    return None if first is None or second is None else contrast([first, second], quantity, combine)


def worse_by(task: str) -> Combine:
    """How much worse the second of two scores is."""
    return (lambda a, b: b - a) if task == "asr" else (lambda a, b: a - b)


def metric_name(task: str) -> str:
    return "WER" if task == "asr" else "BLEU"


def task_name(task: str) -> str:
    return "ASR" if task == "asr" else "ST"
