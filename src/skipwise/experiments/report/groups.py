"""Samples that differ in their seed alone: how they are found, paired and measured.

Shapes: S seeds, U utterances, K counts, N sites.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from skipwise.evaluation.resamples import Combine, Estimate, Quantity, Resamples, rate
from skipwise.experiments.report.load import Sample
from skipwise.experiments.sweep.results import metric_of
from skipwise.gating import GateSite, Stack

IsWanted = Callable[[GateSite], bool]


@final
@dataclass(frozen=True, eq=False)
class Group:
    """The samples of one run, system and task, one a seed, over the same utterances."""

    samples: tuple[Sample, ...]

    @property
    def first(self) -> Sample:
        """What all have in common stands in the first one."""
        return self.samples[0]

    @property
    def task(self) -> str:
        return self.first.task

    @property
    def condition(self) -> str:
        return self.first.condition

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sample.labels["seed"] for sample in self.samples)

    @property
    def is_joint(self) -> bool:
        """Whether it was trained on several tasks."""
        return "+" in self.label("trained_tasks")

    @property
    def asked(self) -> float | None:
        """Sparsity that was asked for, or trained for."""
        return self.first.asked if self.first.asked is not None else self.label("target")

    def label(self, name: str) -> Any:
        """Return a label of its cells: `scope`, `predictor`, ..."""
        return self.first.labels[name]

    def quality(self) -> Quantity:
        """WER or BLEU."""
        return Quantity(np.stack([sample.counts for sample in self.samples]), metric_of(self.task).score)

    def skipped(self, stacks: Sequence[Stack], sites: Sequence[GateSite]) -> Quantity:
        """Percentage of decisions about sites of some stacks that closed one."""
        return Quantity(_closed(self._gates(lambda site: site.stack in stacks, sites)), rate)

    def use(self, is_wanted: IsWanted, sites: Sequence[GateSite]) -> Quantity:
        """Percentage of decisions about some sites that left one open."""
        return Quantity(self._gates(is_wanted, sites), rate)

    def use_at(self, bins: slice, is_wanted: IsWanted, sites: Sequence[GateSite]) -> Quantity:
        """The same at some positions of the hypothesis, by tenths; for step plans."""
        keep = [column for column, site in enumerate(sites) if is_wanted(site)]
        steps = [sample.steps for sample in self.samples if sample.steps is not None]
        return Quantity(np.stack(steps)[:, :, bins][:, :, :, keep].sum(axis=(2, 3)), rate)

    def time(self) -> Quantity:
        """Seconds in percent of the dense system's."""
        return Quantity(np.stack([sample.micros for sample in self.samples]), rate)

    def macs(self) -> Quantity:
        """MACs in percent of the same with everything open."""
        return Quantity(np.stack([sample.macs for sample in self.samples]), rate)

    def resamples(self) -> Resamples:
        """Draws of its speakers and seeds."""
        return Resamples(self.first.speakers, len(self.samples))

    def estimate(self, quantity: Quantity) -> Estimate:
        """Return one of its quantities with its interval."""
        return self.resamples().estimate(quantity)

    def plan_bits(self) -> Float[np.ndarray, "rows sites"]:
        """Return how often each site that was decided is open, a row an utterance and seed."""
        gates = np.concatenate([sample.gates for sample in self.samples])
        decided = gates[..., 1].sum(axis=0) > 0
        return gates[:, decided, 0] / np.maximum(gates[:, decided, 1], 1)

    def _gates(self, is_wanted: IsWanted, sites: Sequence[GateSite]) -> Int[np.ndarray, "seeds utterances 2"]:
        keep = [column for column, site in enumerate(sites) if is_wanted(site)]
        return np.stack([sample.gates for sample in self.samples])[:, :, keep].sum(axis=2)


def group_samples(samples: Iterable[Sample]) -> list[Group]:
    """Return the groups of samples; seeds that saw other utterances are cut to those that all saw."""
    by_key: defaultdict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        by_key[sample.labels["run"], sample.condition, sample.asked, sample.task].append(sample)
    groups = [Group(tuple(sorted(group, key=lambda s: s.labels["seed"]))) for group in by_key.values()]
    return [paired([group])[0] for group in groups]


def paired(groups: Sequence[Group]) -> list[Group]:
    """Return groups over the seeds and utterances that all of them have; with no seed in common, none is left."""
    seeds = set.intersection(*(set(group.seeds) for group in groups))
    ids = set.intersection(*(set(sample.ids) for group in groups for sample in group.samples))
    if not seeds or not ids:
        return []
    return [Group(tuple(_cut(s, ids) for s in group.samples if s.labels["seed"] in seeds)) for group in groups]


def contrast(
    groups: Sequence[Group], quantities: Callable[[Group], Quantity | Sequence[Quantity]], combine: Combine
) -> Estimate | None:
    """Return what `combine` makes of the quantities of paired groups, in their order; None if they cannot be paired."""
    found = paired(groups)
    if not found:
        return None
    made: list[Quantity] = []
    for group in found:
        some = quantities(group)
        made += [some] if isinstance(some, Quantity) else some
    return found[0].resamples().estimate(*made, combine=combine)


def _closed(gates: Int[np.ndarray, "seeds utterances 2"]) -> Int[np.ndarray, "seeds utterances 2"]:
    return np.stack([gates[..., 1] - gates[..., 0], gates[..., 1]], axis=-1)


def _cut(sample: Sample, ids: set[str]) -> Sample:
    keep = [place for place, name in enumerate(sample.ids) if name in ids]
    if len(keep) == len(sample.ids):
        return sample
    return replace(
        sample,
        ids=tuple(sample.ids[place] for place in keep),
        speakers=tuple(sample.speakers[place] for place in keep),
        languages=tuple(sample.languages[place] for place in keep),
        snr_db=sample.snr_db[keep],
        counts=sample.counts[keep],
        gates=sample.gates[keep],
        steps=None if sample.steps is None else sample.steps[keep],
        micros=sample.micros[keep],
        macs=sample.macs[keep],
    )
