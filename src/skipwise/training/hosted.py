"""What gates are trained with where another library's trainer runs the steps: draws, targets, penalty, schedules.

Shapes: B rows.
Source: section 3 of the method, Someki et al. 2025; `skipwise.training.objective` is the same for `skipwise train`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    AdapterPlanner,
    Context,
    GateAdapter,
    GatePlan,
    GateSample,
    LayerSampler,
    Sampling,
    SparsityPenalty,
    StepSampler,
)
from skipwise.gating.budget import closed_share
from skipwise.gating.draws import RowDraws
from skipwise.gating.sites import Stack
from skipwise.training.objective import ObjectiveConfig
from skipwise.training.processes import is_distributed, mean_over_processes


@final
class GateTraining(nn.Module):
    """What gates are trained with and not used with: settings, the penalty's multipliers, the steps that are done."""

    step: Tensor

    def __init__(self, settings: ObjectiveConfig) -> None:
        super().__init__()
        self.settings = settings
        self.penalty = SparsityPenalty(settings.penalty)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def progress(self) -> float:
        """Return the share of the run that is done."""
        return min(1.0, int(self.step) / self.settings.max_steps)

    def draws(self, num_rows: int) -> RowDraws:
        """Return this step's random numbers, others in each process."""
        rank = torch.distributed.get_rank() if is_distributed() else 0
        seed = (self.settings.seed * 1_000_003 + int(self.step)) * 1_009 + rank
        return RowDraws.for_all(torch.Generator().manual_seed(seed), num_rows)

    def decider(self, adapter: GateAdapter, draws: RowDraws) -> DrawnGates | AdapterPlanner:
        """Return what decides the gates of a pass: draws in training, the arg-max that inference follows otherwise."""
        return (
            DrawnGates(adapter, self.settings.sampling(self.progress()), draws)
            if self.training
            else AdapterPlanner(adapter)
        )

    def targets(self, draws: RowDraws, device: torch.device) -> Float[Tensor, " rows"]:
        """Return the sparsity that each row is to have: one for all, or drawn in training."""
        settings = self.settings
        if not self.training:
            return torch.full((draws.num_rows,), settings.target_sparsity, device=device)
        return settings.targets(draws, self.progress(), device)

    def penalties(
        self,
        adapter: GateAdapter,
        decided: Mapping[Stack, GatePlan | GateSample | None],
        targets: Float[Tensor, " rows"],
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the penalty, and by name what each stack skipped: `sparsity_*` (arg-max), `sampled_sparsity_*`."""
        total, stats = targets.new_zeros(()), {}
        for stack, gates_of_stack in decided.items():
            predictor = adapter.predictor(stack)
            if gates_of_stack is None or predictor is None:
                continue
            if isinstance(gates_of_stack, GateSample):
                plan, gates = gates_of_stack.arg_max(), gates_of_stack.gates
            else:
                plan, gates = gates_of_stack, gates_of_stack.gates.float().to(targets.device)
            weights = adapter.site_weights(stack)
            stats[f"sparsity_{stack}"] = closed_share(plan.gates.float(), weights).mean().to(targets.device)
            if self.training:
                stats[f"sampled_sparsity_{stack}"] = closed_share(gates, weights).mean().detach()
            if any(True for _ in predictor.parameters()):  # plans that are drawn, not learned, can be pulled nowhere
                penalty = self._penalty(stack, closed_share(gates, weights), targets)
                stats[f"penalty_{stack}"] = penalty.detach()
                total = total + penalty
        return total, stats

    def _penalty(self, stack: Stack, sparsity: Tensor, targets: Tensor) -> Tensor:
        """The penalty of a stack, where processes are averaged by their rows."""
        if self.settings.penalty.per_row:
            return self.penalty(sparsity, target=targets, stack=stack).mean()
        mean, target, num_known = mean_over_processes(sparsity, targets, 1.0)
        if self.training:
            self.penalty.ascend(mean, target=target, stack=stack)
        value = self.penalty(mean, target=target, stack=stack)
        # each process has the gradient of its own rows, which the averaging shrinks by its share: undone here
        return value.detach() + (value - value.detach()) * (num_known / len(sparsity))


@final
class DrawnGates:
    """Draws the gates of both stacks, for models that ask what decides them."""

    def __init__(self, adapter: GateAdapter, sampling: Sampling, draws: RowDraws) -> None:
        self._adapter, self._sampling, self._draws = adapter, sampling, draws

    def encoder(self, contexts: Sequence[Context], pooled: Tensor, /) -> GateSample | LayerSampler | None:
        return self._drawn("encoder", contexts, pooled)

    def decoder(self, contexts: Sequence[Context], pooled: Tensor, /) -> GateSample | LayerSampler | None:
        return self._drawn("decoder", contexts, pooled)

    def _drawn(self, stack: Stack, contexts: Sequence[Context], pooled: Tensor) -> GateSample | LayerSampler | None:
        drawn = self._adapter.sample(stack, contexts, pooled, sampling=self._sampling, draws=self._draws)
        if isinstance(drawn, StepSampler):
            raise SkipwiseError(
                "gates of every step (granularity step) are trained by skipwise train; other trainers train those of "
                "an utterance."
            )
        return drawn
