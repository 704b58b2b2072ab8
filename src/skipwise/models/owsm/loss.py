"""OWSM's training loss, as ESPnet computes it.

Shapes: B rows, L positions, T frames, V vocabulary.
Source: ESPnet 202511, `espnet2.s2t.espnet_model`, `espnet.nets.pytorch_backend.transformer.label_smoothing_loss`.
"""

from __future__ import annotations

import math

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

IGNORED_LABEL = -100


def attention_loss(
    logits: Float[Tensor, "batch length vocab"],
    labels: Int[Tensor, "batch length"],
    *,
    label_smoothing: float,
    length_normalized: bool,
    count: int | None = None,
) -> Float[Tensor, ""]:
    """Return the divergence from smoothed labels, per scored token or, as ESPnet, per row; -100 is not scored.

    `count` is the number of these in the whole of which the batch is a part: the parts' losses then sum up to its loss.
    """
    scored = labels != IGNORED_LABEL
    log_probs = logits[scored].float().log_softmax(dim=-1)
    spread = label_smoothing / (log_probs.shape[-1] - 1)
    peak = 1.0 - label_smoothing
    of_target = log_probs.gather(1, labels[scored][:, None])[:, 0]
    cross_entropy = -(peak - spread) * of_target - spread * log_probs.sum(dim=-1)
    entropy = -peak * math.log(peak) - (label_smoothing * math.log(spread) if label_smoothing else 0.0)
    total = (cross_entropy - entropy).sum()
    return total / (count or (scored.sum() if length_normalized else labels.shape[0]))


def ctc_loss(
    logits: Float[Tensor, "batch time vocab"],
    num_frames: Int[Tensor, " batch"],
    targets: Int[Tensor, "batch targets"],
    num_targets: Int[Tensor, " batch"],
    *,
    length_normalized: bool,
    count: int | None = None,
    blank: int = 0,
) -> Float[Tensor, ""]:
    """Return the CTC loss, per target token if `length_normalized`, else per row.

    A row with more targets than frames cannot be aligned and adds nothing. `count` as in `attention_loss`.
    """
    total = F.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1),
        targets,
        num_frames,
        num_targets,
        blank=blank,
        reduction="sum",
        zero_infinity=True,
    )
    return total / (count or (num_targets.sum() if length_normalized else targets.shape[0]))
