"""An `ESPnetS2TModel` that trains its gates: ESPnet's losses, dense and pruned, and the sparsity penalty. Needs ESPnet.

Shapes: B rows, N samples, L tokens, T frames.
Source: section 3 of the method, Someki et al. 2025; `skipwise.training.objective` is the same for our own networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from espnet2.s2t.espnet_model import ESPnetS2TModel
from espnet2.torch_utils.device_funcs import force_gatherable
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    OPEN_PLANNER,
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
from skipwise.gating.sites import STACKS, Stack
from skipwise.models.attach import network_of
from skipwise.models.espnet.call import Decider, GatedCall, running
from skipwise.training.espnet.preprocessor import NUM_REAL_SAMPLES
from skipwise.training.objective import ObjectiveConfig, mean_over_processes

Scalar = Float[Tensor, ""]


@final
class GateTraining(nn.Module):
    """What gates are trained with and not used with: settings, the penalty's multipliers, the steps that are done."""

    step: Tensor

    def __init__(self, settings: ObjectiveConfig) -> None:
        super().__init__()
        self.settings = settings
        self.penalty = SparsityPenalty(settings.penalty)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def sampling(self) -> Sampling:
        """Return how gates are drawn at this step."""
        return Sampling(
            temperature=self.settings.temperature.at(self.progress()),
            dropout=self.settings.context_dropout,
            relaxation=self.settings.relaxation,
        )

    def progress(self) -> float:
        """Return the share of the run that is done."""
        return min(1.0, int(self.step) / self.settings.max_steps)

    def draws(self, num_rows: int) -> RowDraws:
        """Return this step's random numbers, others in each process."""
        rank = torch.distributed.get_rank() if _is_distributed() else 0
        seed = (self.settings.seed * 1_000_003 + int(self.step)) * 1_009 + rank
        return RowDraws.for_all(torch.Generator().manual_seed(seed), num_rows)


@final
class _Drawn:
    """Draws the gates of both stacks."""

    def __init__(self, adapter: GateAdapter, sampling: Sampling, draws: RowDraws) -> None:
        self._adapter, self._sampling, self._draws = adapter, sampling, draws

    def encoder(self, contexts: Sequence[Context], pooled: Tensor) -> GateSample | LayerSampler | None:
        return self._drawn("encoder", contexts, pooled)

    def decoder(self, contexts: Sequence[Context], pooled: Tensor) -> GateSample | LayerSampler | None:
        return self._drawn("decoder", contexts, pooled)

    def _drawn(self, stack: Stack, contexts: Sequence[Context], pooled: Tensor) -> GateSample | LayerSampler | None:
        drawn = self._adapter.sample(stack, contexts, pooled, sampling=self._sampling, draws=self._draws)
        if isinstance(drawn, StepSampler):
            raise SkipwiseError(
                "gates of every step (granularity step) are trained by skipwise train; ESPnet's trainer trains those "
                "of an utterance."
            )
        return drawn


@final
@dataclass(frozen=True)
class _Batch:
    """What ESPnet's collate function makes of utterances."""

    speech: Tensor
    speech_lengths: Tensor
    text: Tensor
    text_lengths: Tensor
    text_prev: Tensor
    text_prev_lengths: Tensor
    text_ctc: Tensor
    text_ctc_lengths: Tensor
    num_real_samples: list[int]


@final
@dataclass(frozen=True)
class _Losses:
    """The task loss of one pass, and what ESPnet reports beside it."""

    loss: Tensor
    stats: dict[str, Any]


@final
class GateTrainingModel(ESPnetS2TModel):
    """What a model is while ESPnet's trainer trains its gates."""

    gate_adapter: GateAdapter
    gate_training: GateTraining

    def forward(self, **batch: Any) -> tuple[Tensor, dict[str, Any], Tensor]:
        """Return loss, statistics and weight of a batch, as `ESPnetS2TModel` does.

        In training gates are drawn; in evaluation they are the arg-max that inference follows. Statistics are those of
        the pruned pass, `dense_*` of the other one, `sparsity_*` (arg-max), `sampled_sparsity_*` and `penalty_*`.

        Raises:
            SkipwiseError: if the batch does not say how many samples of each row are real.
        """
        given = _checked(batch, self.ignore_id)
        settings, adapter, num_rows = self.gate_training.settings, self.gate_adapter, len(given.speech)
        draws = self.gate_training.draws(num_rows)
        targets = self._targets(draws, given.speech.device)
        contexts = self._contexts(given.text, targets)
        shared, dense = None, None
        if "encoder" not in adapter.predictors or settings.dense_share > 0:
            with running(self._call(OPEN_PLANNER, contexts, given)):
                shared = self.encode(given.speech, given.speech_lengths)
                dense = self._task_losses(shared, given) if settings.dense_share > 0 else None
        decider = _Drawn(adapter, self.gate_training.sampling(), draws) if self.training else AdapterPlanner(adapter)
        with running(self._call(decider, contexts, given)) as call:
            if "encoder" in adapter.predictors or shared is None:
                pruned = self._task_losses(self.encode(given.speech, given.speech_lengths), given)
            else:  # an encoder without gates is not run again
                call.finish_encoder(shared[0])
                pruned = self._task_losses(shared, given)
        penalty, stats = self._penalties(call, targets)
        loss = pruned.loss + penalty
        stats = pruned.stats | stats
        if dense is not None:
            share = settings.dense_share
            loss = (1 - share) * pruned.loss + share * dense.loss + penalty
            stats |= {f"dense_{name}": value for name, value in dense.stats.items()}
        if self.training:
            self.gate_training.step += 1
        return force_gatherable((loss, stats | {"loss": loss.detach()}, num_rows), loss.device)

    def _call(self, decider: Decider, contexts: Sequence[Context], given: _Batch) -> GatedCall:
        architecture = network_of(self).config
        return GatedCall(architecture, decider, contexts=contexts, num_real_samples=given.num_real_samples)

    def _task_losses(self, encoded: tuple[Tensor, Tensor], given: _Batch) -> _Losses:
        """ESPnet's own losses, weighted as it weights them."""
        loss_ctc, cer_ctc = self._calc_ctc_loss(*encoded, given.text_ctc, given.text_ctc_lengths)
        loss_att, accuracy, cer, wer = self._calc_att_loss(
            *encoded, given.text, given.text_lengths, given.text_prev, given.text_prev_lengths
        )
        loss = self.ctc_weight * loss_ctc + (1 - self.ctc_weight) * loss_att
        stats = {"loss_ctc": loss_ctc.detach(), "cer_ctc": cer_ctc, "loss_att": loss_att.detach()}
        return _Losses(loss, stats | {"acc": accuracy, "cer": cer, "wer": wer})

    def _targets(self, draws: RowDraws, device: torch.device) -> Tensor:
        """The sparsity that each row is to have [B]: one for all, or drawn in training."""
        settings = self.gate_training.settings
        if not self.training:
            return torch.full((draws.num_rows,), settings.target_sparsity, device=device)
        low, high = settings.sparsity_range or (settings.target_sparsity,) * 2
        drawn = low + (high - low) * draws.uniform(device=device)
        return drawn * settings.sparsity_warmup.at(self.gate_training.progress())

    def _contexts(self, text: Tensor, targets: Tensor) -> list[Context]:
        """Language and task are the first two tokens of each text; a token that is neither counts as unknown."""
        architecture = network_of(self).config
        languages = {token: name for name, token in architecture.language_token_ids.items()}
        tasks = {token: name for name, token in architecture.task_token_ids.items()}
        contexts = [Context(language=languages.get(row[0]), task=tasks.get(row[1])) for row in text[:, :2].tolist()]
        if not self.gate_adapter.is_elastic:
            return contexts
        return [replace(c, budget=target) for c, target in zip(contexts, targets.tolist(), strict=True)]

    def _penalties(self, call: GatedCall, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total, stats = targets.new_zeros(()), {}
        for stack in STACKS:
            decided, predictor = call.decided(stack), self.gate_adapter.predictor(stack)
            if decided is None or predictor is None:
                continue
            plan = decided.arg_max() if isinstance(decided, GateSample) else decided
            gates = plan.gates.float().to(targets.device) if isinstance(decided, GatePlan) else decided.gates
            weights = self.gate_adapter.site_weights(stack)
            stats[f"sparsity_{stack}"] = closed_share(plan.gates.float(), weights).mean().to(targets.device)
            if self.training:
                stats[f"sampled_sparsity_{stack}"] = closed_share(gates, weights).mean().detach()
            if any(True for _ in predictor.parameters()):  # plans that are drawn, not learned, can be pulled nowhere
                penalty = self._penalty(stack, closed_share(gates, weights), targets)
                stats[f"penalty_{stack}"] = penalty.detach()
                total = total + penalty
        return total, stats

    def _penalty(self, stack: Any, sparsity: Tensor, targets: Tensor) -> Tensor:
        """The penalty of a stack; ESPnet weights a process by its share of the rows, and adds up over processes."""
        penalty = self.gate_training.penalty
        if self.gate_training.settings.penalty.per_row:
            return penalty(sparsity, target=targets, stack=stack).mean()
        mean, target, num_known = mean_over_processes(sparsity, targets, 1.0)
        if self.training:
            penalty.ascend(mean, target=target, stack=stack)
        value = penalty(mean, target=target, stack=stack)
        # each process has the gradient of its own rows, which the weighting shrinks by its share: undone here
        return value.detach() + (value - value.detach()) * (num_known / len(sparsity))


def _checked(batch: dict[str, Any], ignore_id: int) -> _Batch:
    """The batch, padded tokens as ESPnet marks them, and no longer than its longest text."""
    if NUM_REAL_SAMPLES not in batch:
        raise SkipwiseError(
            f"a batch for gates needs {NUM_REAL_SAMPLES}, the samples of each row without the padding of its window. "
            "GatedS2TTask adds it; a data set of your own must give it."
        )
    text = batch["text"].masked_fill(batch["text"] == -1, ignore_id)[:, : int(batch["text_lengths"].max())]
    fields = {name: batch[name] for name in _Batch.__dataclass_fields__ if name not in ("text", NUM_REAL_SAMPLES)}
    return _Batch(**fields, text=text, num_real_samples=batch[NUM_REAL_SAMPLES].flatten().tolist())


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
