"""The best CTC path of an encoder-only model, its gates followed.

Shapes: B rows, N samples, F feature frames, M mel bins, T encoder frames, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from skipwise.decoding.ctc_greedy import best_path
from skipwise.errors import SkipwiseError
from skipwise.gating import Context
from skipwise.models.ctc.recordings import ctc_network_of, recordings


@torch.inference_mode()
def recognise(
    model: nn.Module,
    inputs: Float[Tensor, "batch samples"] | Float[Tensor, "batch frames mels"],
    *,
    lengths: Sequence[int] | None = None,
    attention_mask: Bool[Tensor, "batch length"] | None = None,
    contexts: Sequence[Context] | None = None,
) -> list[list[int]]:
    """Return the tokens of each row: the best path, repeats merged and blanks dropped; `processor.decode` makes text.

    `inputs` are those of the model's own feature extractor: samples, or features (Parakeet). `lengths` are how much of
    each row is real, in samples or feature frames; without, the mask says so. Frames beyond that are not read.

    Raises:
        SkipwiseError: if the model is no wav2vec2, HuBERT, WavLM or Parakeet with a CTC head, there is not one length a
            row, or neither lengths nor a mask.
    """
    network = ctc_network_of(model)
    mask = None if attention_mask is None else attention_mask.long()
    if lengths is None:
        if mask is None:
            raise SkipwiseError("say how much of each row is real: give lengths, or the attention_mask.")
        lengths = mask.sum(dim=1).tolist()
    with recordings(model, lengths=lengths, contexts=contexts):
        logits = network.model(inputs, attention_mask=mask).logits
    ends = network.num_frames(torch.tensor(list(lengths))).tolist()
    blank = network.model.config.pad_token_id
    return [best_path(row[:end], blank) for row, end in zip(logits.argmax(dim=-1).tolist(), ends, strict=True)]
