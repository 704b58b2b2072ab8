"""The best CTC path of an encoder-only model, its gates followed.

Shapes: B rows, N samples, T frames, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from skipwise.decoding.ctc_greedy import best_path
from skipwise.gating import Context
from skipwise.models.ctc.recordings import ctc_network_of, recordings


@torch.inference_mode()
def recognise(
    model: nn.Module,
    input_values: Float[Tensor, "batch samples"],
    *,
    num_real_samples: Sequence[int],
    attention_mask: Bool[Tensor, "batch samples"] | None = None,
    contexts: Sequence[Context] | None = None,
) -> list[list[int]]:
    """Return the tokens of each row: the best path, repeats merged and blanks dropped; `processor.decode` makes text.

    `input_values` are those of the model's own feature extractor. Frames beyond a row's real samples are not read.

    Raises:
        SkipwiseError: if the model is no wav2vec2, HuBERT or WavLM with a CTC head, or there is not one length a row.
    """
    network = ctc_network_of(model)
    mask = None if attention_mask is None else attention_mask.long()
    with recordings(model, num_real_samples=num_real_samples, contexts=contexts):
        logits = network.model(input_values, attention_mask=mask).logits
    lengths = network.num_frames(torch.tensor(list(num_real_samples))).tolist()
    blank = network.model.config.pad_token_id
    return [best_path(row[:length], blank) for row, length in zip(logits.argmax(dim=-1).tolist(), lengths, strict=True)]
