"""Training of gates on wav2vec2, HuBERT, WavLM and Parakeet by transformers' Trainer, or a loop of one's own.

Shapes: B rows, N samples or feature frames, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, Context, GateAdapter
from skipwise.models.attach import attach, describe_base
from skipwise.models.ctc.call import EncoderDecider
from skipwise.models.ctc.recordings import ctc_network_of, recordings
from skipwise.models.family import GATES_FOLDER
from skipwise.models.owsm.loss import ctc_loss
from skipwise.training.gates import gate_config, gated_objective_config
from skipwise.training.gates_section import GatesSection, for_our_trainer, read_section
from skipwise.training.hosted import GateTraining
from skipwise.training.vectors import ContextVectors


@final
class GatedCtcModel(nn.Module):
    """An encoder-only model with gates on it, whose loss is what a trainer minimises.

    `forward` takes what the model takes, and `lengths`. In training gates are drawn; in evaluation they are the arg-max
    that inference follows, at the default budget.
    """

    accepts_loss_kwargs = False
    """Trainer divides the loss of accumulated batches by their number."""

    def __init__(self, model: nn.Module, training: GateTraining) -> None:
        """Wrap a model that has gates on it; see `train_gates`."""
        super().__init__()
        self.model = model
        self.gate_training = training

    @property
    def adapter(self) -> GateAdapter:
        """The gates; `adapter.save_pretrained(folder)` keeps them alone, where the base was frozen."""
        adapter = ctc_network_of(self.model).gate_adapter
        assert adapter is not None
        return adapter

    def forward(
        self,
        labels: Int[Tensor, "batch labels"],
        lengths: Int[Tensor, " batch"] | None = None,
        attention_mask: Tensor | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """Return `loss` and its parts: `pruned`, `dense`, `sparsity_encoder` (arg-max), `penalty_encoder`.

        `labels` are padded with -100. `lengths` are how much of each row is real, in samples or feature frames;
        without, the mask says so. CTC losses are a label's, whatever the model's `ctc_loss_reduction`; a text that no
        path fits into its frames counts nothing.

        Raises:
            SkipwiseError: if neither `lengths` nor a mask is given.
        """
        if lengths is None and attention_mask is None:
            raise SkipwiseError("gates must know how much of each row is real: give lengths, or the attention_mask.")
        real = (attention_mask.sum(dim=1) if lengths is None else lengths).tolist()  # type: ignore[union-attr]
        given = inputs if attention_mask is None else inputs | {"attention_mask": attention_mask}
        training, adapter = self.gate_training, self.adapter
        draws = training.draws(len(real))
        targets = training.targets(draws, labels.device)
        contexts = [Context(task="asr", budget=t if adapter.is_elastic else None) for t in targets.tolist()]
        share, parts = training.settings.dense_share, {}
        pruned, decided = self._loss(training.decider(adapter, draws), contexts, real, labels, given)
        penalty, stats = training.penalties(adapter, {"encoder": decided}, targets)
        loss = pruned + penalty
        if share > 0:
            dense, _ = self._loss(OPEN_PLANNER, contexts, real, labels, given)
            loss = (1 - share) * pruned + share * dense + penalty
            parts = {"dense": dense.detach()}
        if self.training:
            training.step += 1
        return {"loss": loss, "pruned": pruned.detach()} | parts | stats

    def save(self, folder: str | Path) -> None:
        """Write the base as transformers does, and the gates, which name it as it is now, into `gates/` beside it."""
        saved, adapter = ctc_network_of(self.model), self.adapter
        saved.model.save_pretrained(folder, state_dict=saved.base_state())
        adapter.base = describe_base(self.model)
        adapter.save_pretrained(Path(folder) / GATES_FOLDER)

    def _loss(
        self,
        decider: EncoderDecider,
        contexts: Sequence[Context],
        lengths: Sequence[int],
        labels: Tensor,
        inputs: Mapping[str, Tensor],
    ) -> tuple[Float[Tensor, ""], Any]:
        with recordings(self.model, lengths=lengths, contexts=contexts, decider=decider) as call:
            logits: Tensor = self.model(**inputs).logits
        spoken = labels >= 0
        # not the model's own: how that reads padded labels depends on the version of transformers
        loss = ctc_loss(
            logits,
            ctc_network_of(self.model).num_frames(torch.tensor(list(lengths))),
            labels.clamp_min(0),
            spoken.sum(dim=1).cpu(),
            blank=self.model.config.pad_token_id,  # type: ignore[bad-argument-type]
            length_normalized=True,
            count=max(1, int(spoken.sum())),
        )
        return loss, call.decided()


def train_gates(
    model: nn.Module, gates: Mapping[str, Any] | None = None, *, max_steps: int, seed: int = 0
) -> GatedCtcModel:
    """Put fresh gates on an encoder-only model, in place, and return what a trainer trains; `detach` takes them off.

    `gates` are keys of the section `gates` of a recipe for `skipwise train`; the scope is the encoder. `max_steps` is
    the length of the run, by which schedules go. What is trained beside the gates is what requires gradients.

    Raises:
        SkipwiseError: if the model is no encoder-only one or has gates, or for an unknown key or value.
    """
    network = ctc_network_of(model)
    section = _section(gates or {})
    schedule = {"max_steps": max_steps, "seed": seed, "ctc_weight_start": 1.0, "ctc_warmup_steps": 0}
    base_learns = any(parameter.requires_grad for parameter in model.parameters())
    settings = gated_objective_config(section, schedule, base_learns=base_learns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attach(model, gate_config(section, network.config, network.gate_sites(), ContextVectors()))
    return GatedCtcModel(model, GateTraining(settings).to(network.device))


def _section(gates: Mapping[str, Any]) -> GatesSection:
    elastic = ("budget",) if gates.get("sparsity_range") is not None else ()
    record: dict[str, Any] = {"scope": "encoder", "context": ("speech", *elastic), **gates}
    section = read_section(GatesSection, record, name="gates")
    if section.scope != "encoder" or section.cost.unit == "macs" or for_our_trainer(section):
        raise SkipwiseError(
            "gates of an encoder-only model have scope encoder and count sites or ms; embeddings as context, "
            f"distillation, open_share and init are for skipwise train. Got scope {section.scope}, unit "
            f"{section.cost.unit}, context {', '.join(section.context)}."
        )
    return section
