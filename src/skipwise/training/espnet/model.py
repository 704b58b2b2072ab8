"""An `ESPnetS2TModel` that trains its gates: ESPnet's losses, dense and pruned, and the sparsity penalty. Needs ESPnet.

Shapes: B rows, N samples, L tokens, T frames.
Source: section 3 of the method, Someki et al. 2025; `skipwise.training.objective` is the same for our own networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from espnet2.s2t.espnet_model import ESPnetS2TModel
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, Context, GateAdapter
from skipwise.gating.sites import STACKS
from skipwise.models.attach import network_of
from skipwise.models.espnet.call import Decider, GatedCall, running
from skipwise.training.espnet.preprocessor import NUM_REAL_SAMPLES
from skipwise.training.hosted import GateTraining


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
        targets = self.gate_training.targets(draws, given.speech.device)
        contexts = self._contexts(given.text, targets)
        shared, dense = None, None
        if "encoder" not in adapter.predictors or settings.dense_share > 0:
            with running(self._call(OPEN_PLANNER, contexts, given)):
                shared = self.encode(given.speech, given.speech_lengths)
                dense = self._task_losses(shared, given) if settings.dense_share > 0 else None
        decider = self.gate_training.decider(adapter, draws)
        with running(self._call(decider, contexts, given)) as call:
            if "encoder" in adapter.predictors or shared is None:
                pruned = self._task_losses(self.encode(given.speech, given.speech_lengths), given)
            else:  # an encoder without gates is not run again
                call.finish_encoder(shared[0])
                pruned = self._task_losses(shared, given)
        decided = {stack: call.decided(stack) for stack in STACKS}
        penalty, stats = self.gate_training.penalties(adapter, decided, targets)
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

    def _contexts(self, text: Tensor, targets: Tensor) -> list[Context]:
        """Language and task are the first two tokens of each text; a token that is neither counts as unknown."""
        architecture = network_of(self).config
        languages = {token: name for name, token in architecture.language_token_ids.items()}
        tasks = {token: name for name, token in architecture.task_token_ids.items()}
        contexts = [Context(language=languages.get(row[0]), task=tasks.get(row[1])) for row in text[:, :2].tolist()]
        if not self.gate_adapter.is_elastic:
            return contexts
        return [replace(c, budget=target) for c, target in zip(contexts, targets.tolist(), strict=True)]


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
