"""How gates do while they learn, on a fixed batch: are they decided, do they still move, do they differ?

Shapes: B rows, S sites. Where every position of the decoder decides, rows are those positions that predict a label.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import Context, GateAdapter, GatePlan, LayerPlanner, Stack, StepPlanner
from skipwise.gating.plan import open_where_likelier
from skipwise.gating.stepwise import AdapterStepPlanner
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.registry import held_gates
from skipwise.models.trainable import trainable_family_of
from skipwise.training.batches import TrainBatch

logger = logging.getLogger(__name__)

_YOUNG = 0.25
"""Share of the run in which gates are still allowed to be all open: that is how they start."""


@final
@dataclass(frozen=True, eq=False)
class ProbedStack:
    """What the gates of a stack say to the probe."""

    stack: Stack
    plan: GatePlan
    logits: Float[Tensor, "batch sites 2"]

    def entropy(self) -> float:
        """Return the mean entropy of a gate, in bits: 1 where it is a coin, 0 where it is decided."""
        log_probs = self.logits.float().log_softmax(dim=-1)
        return float(-(log_probs.exp() * log_probs).sum(dim=-1).mean() / torch.tensor(2.0).log())

    def num_plans(self) -> int:
        """Return how many different plans the rows follow."""
        return len({self.plan.key(row) for row in range(self.plan.num_rows)})


@final
class GateHealth:
    """Measures gates on one batch at every log line, and warns once of each kind of collapse."""

    def __init__(self, network: nn.Module, probe: TrainBatch) -> None:
        self._network, self._probe = network, probe
        self._before: dict[Stack, Bool[Tensor, "batch sites"]] = {}
        self._told: set[str] = set()

    def measure(self, progress: float) -> dict[str, float]:
        """Return each stack's entropy, distinct plans, flips since the last time, and whether it has collapsed.

        Flips are a share of all gates of the probe. `progress` is the share of the run that is done: young gates are
        not warned of.
        """
        was_training = self._network.training
        self._network.eval()
        try:
            probed = probe_gates(self._network, self._probe)
        finally:
            self._network.train(was_training)
        found: dict[str, float] = {}
        for one in probed:
            found[f"gate_entropy_{one.stack}"] = round(one.entropy(), 4)
            found[f"gate_plans_{one.stack}"] = one.num_plans()
            before, self._before[one.stack] = self._before.get(one.stack), one.plan.gates
            if before is not None:
                found[f"gate_flips_{one.stack}"] = round(float((before != one.plan.gates).float().mean()), 4)
            problems = [] if progress < _YOUNG else self._problems(one)
            found[f"gate_collapse_{one.stack}"] = float(bool(problems))
            self._tell(problems)
        return found

    def _problems(self, probed: ProbedStack) -> list[str]:
        adapter = held_gates(self._network).gate_adapter
        assert adapter is not None
        predictor, problems = adapter.predictor(probed.stack), []
        sparsity = probed.plan.sparsity()
        if sparsity in (0.0, 1.0) and adapter.config.sparsity > 0:
            problems.append(
                f"all gates of the {probed.stack} are {'open' if sparsity == 0 else 'closed'} on the probe, with a "
                f"target of {adapter.config.sparsity}: raise the penalty's weights, or lower them"
            )
        differ = len(set(self._probe["contexts"])) > 1 or len(self._probe["features"]) > 1
        if predictor is not None and predictor.depends_on_input and differ and probed.num_plans() == 1:
            problems.append(
                f"all {probed.plan.num_rows} rows of the probe follow one plan in the {probed.stack} though their "
                "contexts differ: the gates may have become one static mask"
            )
        return problems

    def _tell(self, problems: Sequence[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                logger.warning("gates may have collapsed: %s.", problem)
                self._told.add(problem)


@torch.no_grad()
def probe_gates(network: nn.Module, batch: TrainBatch) -> list[ProbedStack]:
    """Return what a network's gates decide for the rows of a batch, without noise, at the adapter's own budget."""
    family, adapter = trainable_family_of(network), held_gates(network).gate_adapter
    assert adapter is not None
    rows, contexts = batch["row_window"], [replace(context, budget=None) for context in batch["contexts"]]
    features = SpeechStates(batch["features"], batch["num_frames"], batch["num_real_frames"])
    embedded = family.embed(network, features)
    probed = []
    of_rows = embedded.select(rows)
    decided = adapter.decide("encoder", contexts, of_rows.pooled())
    assert not isinstance(decided, StepPlanner)
    if adapter.sites("encoder"):
        encoded = family.encode(network, of_rows, decided)
        probed.append(_probed(adapter, "encoder", decided, contexts, of_rows))
    else:
        encoded = family.encode(network, embedded).select(rows)
    if adapter.sites("decoder"):
        decided = adapter.decide("decoder", contexts, encoded.pooled())
        if isinstance(decided, LayerPlanner):
            family.decode(network, batch["tokens"], encoded, decided)
        if isinstance(decided, AdapterStepPlanner):
            logits = decided.logits(*family.said(network, batch["tokens"]))[batch["labels"] != IGNORED_LABEL]
            probed.append(ProbedStack("decoder", GatePlan(decided.sites, open_where_likelier(logits)), logits))
        else:
            assert not isinstance(decided, StepPlanner)
            probed.append(_probed(adapter, "decoder", decided, contexts, encoded))
    return probed


def _probed(
    adapter: GateAdapter,
    stack: Stack,
    decided: GatePlan | LayerPlanner,
    contexts: Sequence[Context],
    states: SpeechStates,
) -> ProbedStack:
    if isinstance(decided, LayerPlanner):
        return ProbedStack(stack, decided.plan(), decided.logits())
    return ProbedStack(stack, decided, adapter.logits(stack, contexts, states.pooled()))
