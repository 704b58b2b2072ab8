"""The training objective: task loss of a dense and a pruned pass, plus the sparsity penalty.

Shapes: U utterances, B rows (every utterance once a task), T frames, L positions.
Source: section 3 of the method, Someki et al. 2025; the dense pass beside the pruned one is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import GateAdapter, GateSample, PenaltyConfig, SparsityPenalty, TemperatureSchedule
from skipwise.models.owsm.loss import attention_loss, ctc_loss
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.training.batches import TrainBatch


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
    target_sparsity: float = 0.0
    """Share of sites to skip in each gated stack."""
    context_dropout: float = 0.0
    """How often each part of the context is hidden."""
    temperature: TemperatureSchedule = field(default_factory=TemperatureSchedule)
    """Temperature of the Gumbel-softmax over the run."""
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    """Form and strength of the sparsity penalty."""


@final
@dataclass(frozen=True)
class Pass:
    """One way through the model."""

    encoded: SpeechStates
    ctc: Float[Tensor, ""]
    attention: Float[Tensor, ""]
    samples: tuple[GateSample, ...]
    """The gates it drew, one sample a gated stack."""

    def parts(self, prefix: str) -> dict[str, Float[Tensor, ""]]:
        """Return the task losses by name."""
        return {f"{prefix}ctc": self.ctc, f"{prefix}attention": self.attention}


@final
class GatedObjective(nn.Module):
    """A network with what is added to it for training only; what Trainer trains and checkpoints."""

    def __init__(self, network: OwsmNetwork, settings: ObjectiveConfig) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.penalty = SparsityPenalty(settings.penalty)

    def forward(self, **batch: object) -> dict[str, Float[Tensor, ""]]:
        """Return `loss` and its parts by name, all scalars; `batch` is a `TrainBatch`."""
        return self.losses(TrainBatch(**batch))  # type: ignore[typeddict-item]

    def losses(self, batch: TrainBatch) -> dict[str, Float[Tensor, ""]]:
        """Return `loss` and its parts by name."""
        embedded = self.network.embed(SpeechStates(batch["features"], batch["num_frames"], batch["num_frames"]))
        adapter = self.network.gate_adapter
        if adapter is None:
            dense = self._dense_pass(batch, embedded)
            return {"loss": self._task_loss(dense, batch["step"]), **_detached(dense.parts(""))}
        share = self.settings.dense_share
        encoder_is_gated = "encoder" in adapter.predictors
        dense = self._dense_pass(batch, embedded) if share > 0 or not encoder_is_gated else None
        pruned = self._pruned_pass(batch, embedded, None if encoder_is_gated else dense, adapter)
        penalties = self._penalties(pruned.samples)
        loss = (1 - share) * self._task_loss(pruned, batch["step"]) + sum(penalties.values())
        parts = pruned.parts("pruned_") | penalties | _sparsities(pruned.samples)
        if dense is not None and share > 0:
            loss = loss + share * self._task_loss(dense, batch["step"])
            parts |= dense.parts("")
        return {"loss": loss, **_detached(parts)}

    def _dense_pass(self, batch: TrainBatch, embedded: SpeechStates) -> Pass:
        encoded = self.network.encode(embedded)
        logits = self.network.decode(batch["tokens"], encoded.select(batch["row_utterance"]))
        return Pass(encoded, self._ctc(batch, encoded), self._attention(batch, logits), ())

    def _pruned_pass(self, batch: TrainBatch, embedded: SpeechStates, dense: Pass | None, adapter: GateAdapter) -> Pass:
        """One pass under drawn gates; an encoder without gates is not run again: the dense pass has its states."""
        rows, contexts = batch["row_utterance"], batch["contexts"]
        draw = {
            "temperature": self.settings.temperature.at(batch["step"] / self.settings.max_steps),
            "dropout": self.settings.context_dropout,
            "generator": torch.Generator().manual_seed(self.settings.seed * 1_000_003 + batch["step"]),
        }
        if dense is not None:
            encoder_sample, encoded, ctc = None, dense.encoded.select(rows), dense.ctc
        else:
            row_embedded = embedded.select(rows)
            encoder_sample = adapter.sample("encoder", contexts, row_embedded.pooled(), **draw)
            encoded = self.network.encode(row_embedded, encoder_sample)
            ctc = self._ctc(batch, encoded, rows)
        decoder_sample = adapter.sample("decoder", contexts, encoded.pooled(), **draw)
        logits = self.network.decode(batch["tokens"], encoded, decoder_sample)
        samples = tuple(sample for sample in (encoder_sample, decoder_sample) if sample is not None)
        return Pass(encoded, ctc, self._attention(batch, logits), samples)

    def _task_loss(self, done: Pass, step: int) -> Float[Tensor, ""]:
        warming_up = step < self.settings.ctc_warmup_steps
        ctc_weight = self.settings.ctc_weight_start if warming_up else self.network.config.ctc_loss_weight
        return ctc_weight * done.ctc + (1 - ctc_weight) * done.attention

    def _penalties(self, samples: tuple[GateSample, ...]) -> dict[str, Float[Tensor, ""]]:
        penalties = {}
        for sample in samples:
            stack, sampled = sample.sites[0].stack, sample.sparsity()
            penalties[f"penalty_{stack}"] = self.penalty(sampled, target=self.settings.target_sparsity, stack=stack)
            if self.training:
                self.penalty.ascend(sampled, target=self.settings.target_sparsity, stack=stack)
        return penalties

    def _ctc(self, batch: TrainBatch, encoded: SpeechStates, rows: Tensor | None = None) -> Float[Tensor, ""]:
        targets, lengths = batch["ctc_targets"], batch["num_ctc_targets"]
        if rows is not None:
            targets, lengths = targets[rows], lengths[rows]
        logits = self.network.ctc_logits(encoded)
        normalized = self.network.config.length_normalized_loss
        return ctc_loss(logits, encoded.num_frames, targets, lengths, length_normalized=normalized)

    def _attention(self, batch: TrainBatch, logits: Tensor) -> Float[Tensor, ""]:
        config = self.network.config
        return attention_loss(
            logits,
            batch["labels"],
            label_smoothing=config.label_smoothing,
            length_normalized=config.length_normalized_loss,
        )


def _sparsities(samples: tuple[GateSample, ...]) -> dict[str, Float[Tensor, ""]]:
    """Both kinds of each stack: what the noisy sample skipped, and what inference would skip."""
    parts = {}
    for sample in samples:
        stack = sample.sites[0].stack
        parts[f"sparsity_sampled_{stack}"] = sample.sparsity()
        parts[f"sparsity_argmax_{stack}"] = torch.tensor(sample.arg_max().sparsity())
    return parts


def _detached(parts: dict[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
    return {name: value.detach() for name, value in parts.items()}
