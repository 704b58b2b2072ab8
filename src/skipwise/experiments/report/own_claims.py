"""What skipwise says beyond the paper, measured as the paper's claims are: one adapter for every budget, gates that
know their input against controls that do not, and quality at a given cut of the whole time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from skipwise.experiments.report.finder import Finder, nearest
from skipwise.experiments.report.groups import Group
from skipwise.experiments.report.measures import (
    Margin,
    at,
    at_target,
    contrast_of,
    costs_at_most,
    metric_name,
    task_name,
    worse_by,
)
from skipwise.experiments.report.verdicts import Claim, Part, above
from skipwise.gating import Scope

ONE_ADAPTER = Margin(wer=3.0, bleu=-0.5)
"""What one adapter may lose against those of one budget."""
CUT_TIME = 30.0
"""Percent of the whole time that gates on both stacks are to save."""
CUT = Margin(wer=5.0, bleu=-0.5)
"""What that may cost."""

_BUDGETS = (0.1, 0.3, 0.5, 0.7)
_SCOPES: tuple[Scope, ...] = ("decoder", "encoder", "both")
_CONTROLS = {"random": "a random plan", "layer_drop": "layer drop", "table": "a table by language and task"}


def own_claims(finder: Finder) -> list[Claim]:
    """Return the claims that are ours, not the paper's."""
    return [
        Claim(
            number="ours, budget",
            text="One adapter for every budget is as good as one for each",
            parts=tuple(_one_adapter(finder)) or (_missing("gates.sparsity_range, beside runs of one target"),),
        ),
        Claim(
            number="ours, time",
            text=f"Gates on both stacks save {CUT_TIME:.0f} % of the whole time and cost little",
            parts=tuple(_cut_time(finder, task) for task in finder.tasks),
        ),
        Claim(
            number="ours, context",
            text="Gates that know the input beat a learned static mask",
            parts=tuple(_static(finder)) or (_missing("gates.predictor static, beside mlp gates of that target"),),
        ),
        Claim(
            number="ours, controls",
            text="They beat what learns no mask, and a shallower decoder",
            parts=tuple(_controls(finder)) or (_missing("gates.predictor random, layer_drop or table, knock_out"),),
        ),
    ]


def _missing(runs: str) -> Part:
    return above("not measured", None, 0.0, needs=f"runs with {runs}")


def _one_adapter(finder: Finder) -> Iterator[Part]:
    for task, scope, budget in itertools.product(finder.tasks, _SCOPES, _BUDGETS):
        one = nearest(finder.pruned(task, scope, elastic=False), budget)
        every = nearest(finder.pruned(task, scope, elastic=True), budget)
        if one is not None and every is not None and one.asked == every.asked:
            yield _prefixed(f"{task_name(task)}, {scope}:", costs_at_most(finder, every, task, ONE_ADAPTER, than=one))


def _cut_time(finder: Finder, task: str) -> Part:
    """Of the systems that save as much, the one that skips least."""
    every = [group for elastic in (False, True) for group in finder.pruned(task, "both", elastic=elastic)]
    fast = [group for group in every if _time(group) <= 100 - CUT_TIME]
    group = min(fast, key=lambda one: (finder.skipped(one).value, _time(one)), default=None)
    needs = "gates on both stacks, at a target that saves as much on this machine"
    part = costs_at_most(finder, group, task, CUT, needs=needs)
    told = "" if group is None else f", {group.label('run')}, time {_time(group):.0f} % of dense"
    return _prefixed(f"{task_name(task)}{told}:", part)


def _static(finder: Finder) -> Iterator[Part]:
    for task, scope in itertools.product(finder.tasks, _SCOPES):
        for static in finder.pruned(task, scope, predictor="static"):
            own = nearest(finder.pruned(task, scope), static.asked or 0.0)
            if own is not None:
                yield _beaten(finder, task, own, static, "a static mask", f"{scope}{at(finder, own)}")


def _controls(finder: Finder) -> Iterator[Part]:
    for task in finder.tasks:
        found: list[tuple[str, Group]] = [
            (name, group)
            for kind, name in _CONTROLS.items()
            for group in finder.pruned(task, "decoder", predictor=kind)
        ]
        found += [("closing what harms least on dev", group) for group in finder.knocked_out(task)]
        gates = finder.pruned(task, "decoder")
        for name, control in found:
            own = nearest(gates, control.asked or 0.0)
            if own is not None:
                yield _beaten(finder, task, own, control, name, f"decoder{at(finder, own)}")
        for shallow in finder.groups:
            if shallow.task == task and shallow.label("run") in finder.shallow_runs() and shallow.condition == "open":
                own = min(gates, key=lambda one: abs(_time(one) - _time(shallow)), default=None)
                if own is not None:
                    yield _beaten(finder, task, own, shallow, "a shallower model", f"decoder{at(finder, own)}")


def _beaten(finder: Finder, task: str, own: Group, control: Group, name: str, where: str) -> Part:
    skips = control.condition != "open"
    skipped = f" against {finder.skipped(control).value:.0f} %" if skips else ""
    says = (
        f"{metric_name(task)} that {name} loses beyond input-aware gates, {where}{skipped}, "
        f"time {_time(own):.0f} % of dense against {_time(control):.0f} %, above 0"
    )
    part = above(says, contrast_of(own, control, Group.quality, worse_by(task)), 0.0)
    return at_target(finder, part, own, *([control] if skips else []))


def _time(group: Group) -> float:
    return group.time().value()


def _prefixed(told: str, part: Part) -> Part:
    return replace(part, says=f"{told} {part.says}")
