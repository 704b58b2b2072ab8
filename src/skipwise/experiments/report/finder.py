"""Where in a sweep the groups are that a claim or a figure is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from jaxtyping import Float

from skipwise.evaluation.resamples import Estimate, Quantity
from skipwise.experiments.report.groups import Group, contrast, group_samples
from skipwise.experiments.report.load import SweepData
from skipwise.gating import GateSite, Scope, Stack
from skipwise.gating.sites import STACKS

Scores = Float[np.ndarray, " sums"]

_ABOUT = 0.11
"""Targets that differ by no more are compared."""


@final
class Finder:
    """The groups of a sweep."""

    def __init__(self, data: SweepData) -> None:
        self.data = data
        self.groups = group_samples(data.samples)

    @property
    def sites(self) -> tuple[GateSite, ...]:
        return self.data.sites

    @property
    def tasks(self) -> list[str]:
        """Transcription first."""
        return sorted({group.task for group in self.groups})

    def pruned(
        self,
        task: str,
        scope: Scope,
        *,
        predictor: str = "mlp",
        granularity: str = "utterance",
        joint: bool = True,
        condition: str = "pruned",
        elastic: bool | None = None,
    ) -> list[Group]:
        """Return the groups of one kind of gates on one scope, by what they were asked to skip.

        `elastic` asks for gates that follow any budget; None for those of one target and, where there are none, for
        these. Runs whose base is trained in another way than that of most are left out.
        """
        if elastic is None:
            kind: dict[str, Any] = {"predictor": predictor, "granularity": granularity, "joint": joint}
            found = self.pruned(task, scope, condition=condition, elastic=False, **kind)
            return found or self.pruned(task, scope, condition=condition, elastic=True, **kind)
        wanted = {"scope": scope, "predictor": predictor, "granularity": granularity, "elastic": elastic}
        wanted["base"] = self._usual_base
        found = [
            group
            for group in self.groups
            if (group.task, group.condition, group.is_joint) == (task, condition, joint)
            and all(group.label(name) == value for name, value in wanted.items())
        ]
        return sorted(found, key=lambda group: group.asked or 0.0)

    def unshuffled(self, shuffled: Group) -> Group | None:
        """Return the group of a shuffle test's own gates with their own input."""
        found = [
            group
            for group in self.groups
            if (group.condition, group.task, group.asked) == ("pruned", shuffled.task, shuffled.asked)
            and group.label("run") == shuffled.label("run")
        ]
        return found[0] if found else None

    def knocked_out(self, task: str) -> list[Group]:
        """Return the groups that close what harms least on dev, of the base that gates are put on."""
        return [
            group
            for group in self.groups
            if (group.task, group.condition) == (task, "knock_out") and group.label("run") in self._dense_runs()
        ]

    @cached_property
    def _usual_base(self) -> str:
        """How most runs with gates train their base."""
        bases = Counter(group.label("base") for group in self.groups if group.label("predictor") != "none")
        return bases.most_common(1)[0][0] if bases else "full"

    def dense(self, like: Group) -> Group | None:
        """Return the dense system to compare a group with: the better of its own weights and of a dense-only run's.

        The second was trained on the same tasks and shares a seed with the group.
        """
        candidates = [
            group
            for group in self.groups
            if group.condition == "open"
            and group.task == like.task
            and group.label("trained_tasks") == like.label("trained_tasks")
            and set(group.seeds) & set(like.seeds)
            and (group.label("run") == like.label("run") or group.label("run") in self._dense_runs())
        ]
        sign = 1 if like.task == "asr" else -1
        return min(candidates, key=lambda group: sign * group.quality().value(), default=None)

    def change(self, group: Group, *, relative: bool = False) -> Estimate | None:
        """Return a group's quality minus dense; relative in percent of dense."""
        dense = self.dense(group)
        return None if dense is None else self.change_from(dense, group, relative=relative)

    @staticmethod
    def change_from(before: Group, after: Group, *, relative: bool = False) -> Estimate | None:
        """Return one group's quality minus another's; None if they share no seed or no utterance."""
        return contrast([before, after], Group.quality, _relative if relative else _difference)

    def skipped(self, group: Group, stacks: Sequence[Stack] = STACKS) -> Estimate:
        """Return the achieved sparsity in percent of the sites of the stacks that a group gates."""
        return group.estimate(self.skips(group, stacks))

    def skips(self, group: Group, stacks: Sequence[Stack] = STACKS) -> Quantity:
        """Return what `skipped` estimates."""
        own = [stack for stack in stacks if group.label("scope") in (stack, "both")]
        return group.skipped(own or STACKS, self.sites)

    def _dense_runs(self) -> set[str]:
        """Runs without gates of the base that most cells have: those of another shape are controls of their own."""
        names = {g.label("run") for g in self.groups if g.label("predictor") == "none"}
        return names - self.shallow_runs()

    def shallow_runs(self) -> set[str]:
        """Return the runs without gates whose base has fewer sites."""
        most = len(self.sites)
        without_gates = [group for group in self.groups if group.label("predictor") == "none"]
        return {group.label("run") for group in without_gates if group.label("num_sites") < most}


def nearest(groups: Sequence[Group], asked: float) -> Group | None:
    """Return the group that was asked for about as much; None if there is none."""
    found = min(groups, key=lambda group: abs((group.asked or 0.0) - asked), default=None)
    return found if found is not None and abs((found.asked or 0.0) - asked) <= _ABOUT else None


def _difference(before: Scores, after: Scores) -> Scores:
    return after - before


def _relative(before: Scores, after: Scores) -> Scores:
    return 100 * (after / before - 1)
