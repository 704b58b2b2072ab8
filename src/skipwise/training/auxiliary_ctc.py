"""A CTC head for models without one, while a base is trained: it teaches the encoder to hear, and is not saved.

A decoder that learns from scratch to read an encoder that learns from scratch to be read takes long to find the speech;
CTC needs no decoder. Source: Kim et al. 2017, joint CTC-attention training.

Shapes: B rows, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.models.ctc_frequencies import BLANK, know_frequencies
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.owsm.loss import ctc_loss
from skipwise.models.trainable import trainable_family_of
from skipwise.training.sources import WindowSource


@final
class AuxiliaryCtc(nn.Module):
    """A linear layer over the encoder's states: index 0 is the blank, the tokens of text follow in their order."""

    def __init__(self, hidden_size: int, num_text_tokens: int, *, weight: float) -> None:
        """Know the tokens 0 to `num_text_tokens` - 1; `weight` is that of its loss after the warm-up."""
        super().__init__()
        self.weight = weight
        self.head = nn.Linear(hidden_size, num_text_tokens + 1)

    def know(self, texts: Iterable[Sequence[int]]) -> None:
        """Begin with how often the tokens of `texts` are said."""
        know_frequencies(self.head, ([token + 1 for token in text] for text in texts))

    def loss(
        self,
        encoded: SpeechStates,
        targets: Int[Tensor, "batch targets"],
        num_targets: Int[Tensor, " batch"],
        *,
        count: int,
    ) -> Float[Tensor, ""]:
        """Return the loss over the frames of real speech, summed and divided by `count`, the tokens of the step."""
        assert BLANK == 0
        logits = self.head(encoded.states)
        return ctc_loss(logits, encoded.num_real_frames, targets + 1, num_targets, length_normalized=True, count=count)


def auxiliary_ctc(
    weight: float, model: SpeechModel[nn.Module, Vocabulary], source: WindowSource
) -> AuxiliaryCtc | None:
    """Return the head that a base is to learn with; None for a weight of 0. It knows what is said in `source`.

    Raises:
        SkipwiseError: if the base has a CTC head of its own.
    """
    if weight == 0:
        return None
    family = trainable_family_of(model.network)
    if family.ctc_head(model.network) is not None:
        raise SkipwiseError(
            f"model.auxiliary_ctc is for models without a CTC head; an {family.name} has one, weighted by "
            "model.architecture.ctc_loss_weight. Leave it out."
        )
    hidden_size = family.describe(model.network).hidden_size
    # text comes before all symbols, of which the end is the first
    head = AuxiliaryCtc(hidden_size, family.config(model.network).eos_token_id, weight=weight)
    head.know(model.vocabulary.encode(utterance.reference("asr")) for utterance in source.utterances)
    return head
