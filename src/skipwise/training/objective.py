"""The training objective: task loss of a dense and a pruned pass, plus the sparsity penalty.

Shapes: W windows, B rows (every window once a task), T frames, L positions.
Source: section 3 of the method, Someki et al. 2025; the dense pass beside the pruned one is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import (
    GateAdapter,
    GateSample,
    LayerSampler,
    PenaltyConfig,
    Sampling,
    SparsityPenalty,
    SparsityWarmup,
    StepSampler,
    TemperatureSchedule,
)
from skipwise.gating.draws import RowDraws
from skipwise.gating.relaxation import Relaxation
from skipwise.models.owsm.loss import IGNORED_LABEL, attention_loss, ctc_loss
from skipwise.models.registry import held_gates
from skipwise.models.speech_engine import CtcHead
from skipwise.models.trainable import trainable_family_of
from skipwise.training.auxiliary_ctc import AuxiliaryCtc
from skipwise.training.batches import TrainBatch
from skipwise.training.distillation import Distillation, attention_divergence, ctc_divergence
from skipwise.training.processes import mean_over_processes
from skipwise.training.tied import save_tied_once

Drawn = GateSample | LayerSampler | StepSampler | None
"""A stack's gates: drawn before it runs or while it does; none where it has none."""


@final
@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights and schedules of the objective."""

    max_steps: int
    """Steps of the run: schedules go by the share that is done."""
    seed: int
    """Seed of the gates' noise."""
    ctc_weight_start: float
    """Weight of CTC in the first `ctc_warmup_steps`."""
    ctc_warmup_steps: int
    """Steps before CTC falls to the architecture's weight."""
    dense_share: float = 0.0
    """Weight of the dense pass; the rest is the pruned one's. Without gates everything is dense."""
    open_share: float = 0.0
    """How often a row's gates of a stack are held open in the pruned pass, each stack drawn for itself."""
    target_sparsity: float = 0.0
    """Share to skip of each gated stack."""
    sparsity_range: tuple[float, float] | None = None
    """Instead: each row's share is drawn between these."""
    sparsity_warmup: SparsityWarmup = field(default_factory=SparsityWarmup)
    """How these targets rise at the start of the run."""
    context_dropout: float = 0.0
    """How often each part of the context is hidden."""
    temperature: TemperatureSchedule = field(default_factory=TemperatureSchedule)
    """Temperature of the Gumbel-softmax over the run."""
    relaxation: Relaxation = "straight_through"
    """What the base sees of drawn gates."""
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    """Form and strength of the sparsity penalty."""
    distillation: Distillation | None = None
    """How strongly the dense pass teaches the pruned one, if it does."""

    def sampling(self, progress: float) -> Sampling:
        """Return how gates are drawn when a share of the run is done."""
        return Sampling(
            temperature=self.temperature.at(progress), dropout=self.context_dropout, relaxation=self.relaxation
        )

    def targets(self, draws: RowDraws, progress: float, device: torch.device) -> Float[Tensor, " rows"]:
        """Return the sparsity that each row is to have: one for all, or drawn."""
        low, high = self.sparsity_range or (self.target_sparsity,) * 2
        return (low + (high - low) * draws.uniform(device=device)) * self.sparsity_warmup.at(progress)


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """What the encoder made of the windows, or of the rows, and how well the CTC head reads it."""

    states: SpeechStates
    ctc: Float[Tensor, ""] | None
    """None without a CTC head."""
    ctc_logits: Float[Tensor, "batch time vocab"] | None
    """Kept for distillation alone: with 50,000 tokens they are 150 MB a window."""


@final
@dataclass(frozen=True, eq=False)
class Pass:
    """One way through the model."""

    encoded: Encoded
    attention: Float[Tensor, ""]
    logits: Float[Tensor, "rows length vocab"] | None
    """Kept for distillation alone."""
    samples: tuple[GateSample, ...] = ()
    """The gates it drew, one sample a gated stack."""
    targets: Float[Tensor, " rows"] | None = None
    """The sparsity that each row was to have."""

    def parts(self, prefix: str) -> dict[str, Float[Tensor, ""]]:
        """Return the task losses by name."""
        losses = {f"{prefix}attention": self.attention}
        return losses if self.encoded.ctc is None else {f"{prefix}ctc": self.encoded.ctc} | losses


@final
class GatedObjective(nn.Module):
    """A network with what is added to it for training only; what Trainer trains and checkpoints.

    Every loss of a part of a step is divided by what the whole step holds, so that the losses of its parts, over pieces
    and over processes, sum up to the loss of the step.
    """

    network: Any
    """A network of any family that training knows."""

    def __init__(
        self, network: nn.Module, settings: ObjectiveConfig, *, auxiliary_ctc: AuxiliaryCtc | None = None
    ) -> None:
        """Train `network` and the gates that are on it, which may bring a CTC head for the time of its training.

        Raises:
            SkipwiseError: for a network that training does not know, or distillation of a CTC head that is not there.
        """
        super().__init__()
        self.network = network
        self.settings = settings
        self.penalty = SparsityPenalty(settings.penalty)
        self.auxiliary_ctc = auxiliary_ctc
        self._family = trainable_family_of(network)
        self._loss = self._family.loss_config(network)
        if self._teaches_ctc and self._ctc_head is None:
            raise SkipwiseError(
                f"gates.distillation.ctc_weight is for models with a CTC head; a {type(network).__name__} has none. "
                "Leave it out."
            )
        adapter = self.adapter
        if adapter is not None and not any(module is adapter for module in network.modules()):
            self.gate_adapter = adapter  # else it would be neither trained nor saved
        save_tied_once(self)

    @property
    def adapter(self) -> GateAdapter | None:
        """The gates that are on the network."""
        return held_gates(self.network).gate_adapter

    def forward(self, **batch: object) -> dict[str, Float[Tensor, ""]]:
        """Return `loss` and its parts by name, all scalars; `batch` is a `TrainBatch`."""
        return self.losses(TrainBatch(**batch))  # type: ignore[typeddict-item]

    def losses(self, batch: TrainBatch) -> dict[str, Float[Tensor, ""]]:
        """Return `loss` and its parts by name: the batch's shares of those of its step."""
        features = SpeechStates(batch["features"], batch["num_frames"], batch["num_real_frames"])
        embedded = self._family.embed(self.network, features)
        adapter = self.adapter
        if adapter is None:
            dense = self._dense_pass(batch, self._encoded(batch, embedded))
            return _weighted({"loss": self._task_loss(dense, batch["step"]), **dense.parts("")}, batch["weight"])
        share = self.settings.dense_share
        # an encoder without gates is not run again: what the dense pass has serves the pruned one
        shared = None if "encoder" in adapter.predictors else self._encoded(batch, embedded)
        dense = self._dense_beside(batch, embedded, shared)
        pruned = self._pruned_pass(batch, embedded, shared, adapter)
        penalty, penalties = self._penalties(batch, pruned, adapter)
        loss = (1 - share) * self._task_loss(pruned, batch["step"]) + penalty
        parts = pruned.parts("pruned_") | penalties | _sparsities(batch, pruned.samples, adapter)
        if dense is not None and share > 0:
            loss = loss + share * self._task_loss(dense, batch["step"])
            parts |= dense.parts("")
        if dense is not None and self.settings.distillation is not None:
            taught = self._taught(batch, pruned, dense, self.settings.distillation)
            loss = loss + (1 - share) * torch.stack(list(taught.values())).sum()
            parts |= taught
        return _weighted({"loss": loss, **parts}, batch["weight"])

    @property
    def _ctc_head(self) -> CtcHead | None:
        return self._family.ctc_head(self.network)

    @property
    def _teaches(self) -> bool:
        return self.settings.distillation is not None

    @property
    def _teaches_ctc(self) -> bool:
        return self.settings.distillation is not None and self.settings.distillation.ctc_weight > 0

    def _encoded(self, batch: TrainBatch, embedded: SpeechStates) -> Encoded:
        return self._heard(batch, self._family.encode(self.network, embedded))

    def _heard(self, batch: TrainBatch, states: SpeechStates, rows: Tensor | None = None) -> Encoded:
        """The states of the windows, or of these rows of them, with the loss of what CTC reads there."""
        head = self._ctc_head
        if head is not None:
            logits = head.ctc_logits(states)
            return Encoded(states, self._ctc(batch, states, logits, rows), logits if self._teaches_ctc else None)
        if self.auxiliary_ctc is None:
            return Encoded(states, None, None)
        assert rows is None, "only a base has an auxiliary head"
        targets, lengths = batch["ctc_targets"], batch["num_ctc_targets"]
        loss = self.auxiliary_ctc.loss(states, targets, lengths, count=batch["num_step_ctc_targets"])
        return Encoded(states, loss, None)

    def _dense_pass(self, batch: TrainBatch, encoded: Encoded) -> Pass:
        rows = encoded.states.select(batch["row_window"])
        logits = self._family.decode(self.network, batch["tokens"], rows)
        return Pass(encoded, self._attention(batch, logits), logits if self._teaches else None)

    def _dense_beside(self, batch: TrainBatch, embedded: SpeechStates, shared: Encoded | None) -> Pass | None:
        """The dense pass of a step with gates: for its own loss, as a teacher alone, or not at all."""
        learns = self.settings.dense_share > 0
        if not learns and not self._teaches:
            return None
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            return self._dense_pass(batch, shared or self._encoded(batch, embedded))

    def _pruned_pass(
        self, batch: TrainBatch, embedded: SpeechStates, shared: Encoded | None, adapter: GateAdapter
    ) -> Pass:
        """One pass under drawn gates; an encoder without gates has its states already."""
        rows = batch["row_window"]
        progress = batch["step"] / self.settings.max_steps
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + batch["step"])
        draws = RowDraws(generator, batch["num_step_rows"], batch["step_rows"])
        targets = self.settings.targets(draws, progress, rows.device)
        contexts = batch["contexts"]
        if adapter.is_elastic:
            contexts = [replace(c, budget=t) for c, t in zip(contexts, targets.tolist(), strict=True)]
        sampling = self.settings.sampling(progress)
        drawn: list[Drawn] = []
        if shared is not None:
            encoded = Encoded(shared.states.select(rows), shared.ctc, None)
        else:
            of_rows = embedded.select(rows)
            gates = adapter.sample("encoder", contexts, of_rows.pooled(), sampling=sampling, draws=draws)
            assert not isinstance(gates, StepSampler)
            gates = self._some_held_open(gates, draws)
            drawn.append(gates)
            encoded = self._heard(batch, self._family.encode(self.network, of_rows, gates), rows)
        of_decoder = adapter.sample("decoder", contexts, encoded.states.pooled(), sampling=sampling, draws=draws)
        drawn.append(self._some_held_open(of_decoder, draws))
        logits = self._family.decode(self.network, batch["tokens"], encoded.states, drawn[-1])
        attention = self._attention(batch, logits)
        samples = _samples(drawn, counted=batch["labels"] != IGNORED_LABEL)
        return Pass(encoded, attention, logits if self._teaches else None, samples, targets)

    def _some_held_open(self, drawn: Any, draws: RowDraws) -> Any:
        """The gates with those of some rows held open; nothing is drawn where none may be."""
        if drawn is None or self.settings.open_share == 0:
            return drawn
        if not isinstance(drawn, GateSample):
            raise SkipwiseError(
                "gates.open_share holds gates of whole utterances open; those of a local predictor or of granularity "
                "step are decided on the way. Use gates.dense_share."
            )
        return drawn.held_open(draws.uniform(device=drawn.gates.device) < self.settings.open_share)

    def _taught(
        self, batch: TrainBatch, pupil: Pass, teacher: Pass, settings: Distillation
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted divergences of a pruned pass from the dense one."""
        count = batch["num_step_labels"] if self._loss.length_normalized else batch["num_step_rows"]
        assert pupil.logits is not None and teacher.logits is not None
        divergence = attention_divergence(
            pupil.logits, teacher.logits, batch["labels"], temperature=settings.temperature, count=count
        )
        taught = {"distilled_attention": settings.weight * divergence}
        of_pupil, of_teacher = pupil.encoded.ctc_logits, teacher.encoded.ctc_logits
        if of_pupil is not None and of_teacher is not None:
            divergence = ctc_divergence(
                of_pupil,
                of_teacher[batch["row_window"]],
                pupil.encoded.states.mask(),
                temperature=settings.temperature,
                count=batch["num_step_rows"],
            )
            taught["distilled_ctc"] = settings.ctc_weight * divergence
        return taught

    def _task_loss(self, done: Pass, step: int) -> Float[Tensor, ""]:
        if done.encoded.ctc is None:
            return done.attention
        warming_up = step < self.settings.ctc_warmup_steps
        later = self._loss.ctc_weight if self.auxiliary_ctc is None else self.auxiliary_ctc.weight
        ctc_weight = self.settings.ctc_weight_start if warming_up else later
        return ctc_weight * done.encoded.ctc + (1 - ctc_weight) * done.attention

    def _penalties(
        self, batch: TrainBatch, done: Pass, adapter: GateAdapter
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The penalty whose gradient is this part's share, and this part's share of each stack's value."""
        assert done.targets is not None
        num_rows = batch["num_step_rows"]
        total, shares = done.targets.new_zeros(()), {}
        for sample in done.samples:
            stack = sample.sites[0].stack
            predictor = adapter.predictor(stack)
            if predictor is None or not any(True for _ in predictor.parameters()):
                continue  # plans that are drawn, not learned, can be pulled nowhere
            sampled = sample.closed_share(adapter.site_weights(stack))
            # the rows of other processes are known; those of other pieces, if the step is cut into some, are not
            targets = done.targets if sample.held is None else done.targets.masked_fill(sample.held, 0.0)
            mean, target, num_known = mean_over_processes(sampled, targets, batch["weight"])
            if self.settings.penalty.per_row:
                penalty = self.penalty(sampled, target=targets, stack=stack).sum() / num_rows
                shares[f"penalty_{stack}"] = penalty
            else:
                full = self.penalty(mean, target=target, stack=stack) * (num_known / num_rows)
                # every process has the whole value, and the gradient of its own rows alone: the value is shared out
                penalty = full - full.detach() * (1 - len(sampled) / num_known)
                shares[f"penalty_{stack}"] = penalty
            total = total + penalty
            if self.training:
                self.penalty.ascend(mean, target=target, stack=stack, share=num_known / num_rows)
        return total, shares

    def _ctc(
        self, batch: TrainBatch, encoded: SpeechStates, logits: Tensor, rows: Tensor | None = None
    ) -> Float[Tensor, ""]:
        targets, lengths = batch["ctc_targets"], batch["num_ctc_targets"]
        copies = 1
        if rows is not None:
            targets, lengths = targets[rows], lengths[rows]
            copies = batch["num_step_rows"] // batch["num_step_windows"]
        normalized = self._loss.length_normalized
        count = batch["num_step_ctc_targets"] if normalized else batch["num_step_windows"]
        return ctc_loss(
            logits, encoded.num_frames, targets, lengths, length_normalized=normalized, count=copies * count
        )

    def _attention(self, batch: TrainBatch, logits: Tensor) -> Float[Tensor, ""]:
        normalized = self._loss.length_normalized
        return attention_loss(
            logits,
            batch["labels"],
            label_smoothing=self._loss.label_smoothing,
            length_normalized=normalized,
            count=batch["num_step_labels"] if normalized else batch["num_step_rows"],
        )


def _samples(drawn: Sequence[Drawn], *, counted: Bool[Tensor, "rows length"]) -> tuple[GateSample, ...]:
    """What was drawn, for each gated stack, once all layers have run; of the positions those that predict a label."""
    found = []
    for one in drawn:
        match one:
            case GateSample():
                found.append(one)
            case LayerSampler():
                found.append(one.sample())
            case StepSampler():
                found.append(replace(one.sample(), counted=counted))
    return tuple(found)


def _sparsities(
    batch: TrainBatch, samples: tuple[GateSample, ...], adapter: GateAdapter
) -> dict[str, Float[Tensor, ""]]:
    """Both kinds of each stack: what the noisy sample skipped, and what inference would skip, in sites and in cost."""
    parts = {}
    for sample in samples:
        stack, share = sample.sites[0].stack, len(sample.gates) / batch["num_step_rows"]
        decided = replace(sample, gates=sample.arg_max().gates.to(sample.gates))
        parts[f"sparsity_sampled_{stack}"] = sample.sparsity() * share
        parts[f"sparsity_argmax_{stack}"] = decided.sparsity() * share
        unit = adapter.config.unit
        if unit != "sites":
            closed = decided.closed_share(adapter.site_weights(stack))
            parts[f"sparsity_argmax_{unit}_{stack}"] = closed.mean() * share
    return parts


def _weighted(parts: dict[str, Tensor], weight: float) -> dict[str, Float[Tensor, ""]]:
    """The loss, and its parts for the log."""
    return {name: weight * (value if name == "loss" else value.detach()) for name, value in parts.items()}
