"""Self-distillation: the dense pass of a step teaches the pruned one.

Shapes: B rows, L positions, T frames, V vocabulary, N scored positions.
Source: Hinton et al. 2015; teacher and pupil share their weights, as in slimmable networks (Yu and Huang 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.loss import IGNORED_LABEL


@final
@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Strength of the teaching."""

    weight: float = 1.0
    """Of the decoder's divergence, beside the task loss."""
    ctc_weight: float = 0.0
    """Of the CTC head's."""
    temperature: float = 1.0
    """What both distributions are flattened by."""

    def __post_init__(self) -> None:
        if self.weight < 0 or self.ctc_weight < 0 or self.temperature <= 0:
            raise SkipwiseError(
                f"distillation needs weights of 0 or more and a temperature above 0; got {self.weight}, "
                f"{self.ctc_weight} and {self.temperature}."
            )


def attention_divergence(
    pupil: Float[Tensor, "batch length vocab"],
    teacher: Float[Tensor, "batch length vocab"],
    labels: Int[Tensor, "batch length"],
    *,
    temperature: float,
    count: int,
) -> Float[Tensor, ""]:
    """Return KL(teacher || pupil) over the scored positions, divided by `count`; the teacher gets no gradient."""
    scored = labels != IGNORED_LABEL
    return _divergence(pupil[scored], teacher[scored], temperature).sum() / count


def ctc_divergence(
    pupil: Float[Tensor, "batch time vocab"],
    teacher: Float[Tensor, "batch time vocab"],
    mask: Bool[Tensor, "batch time"],
    *,
    temperature: float,
    count: int,
) -> Float[Tensor, ""]:
    """Return KL(teacher || pupil), the mean over each row's frames, summed and divided by `count`."""
    of_frames = _divergence(pupil, teacher, temperature) * mask
    return (of_frames.sum(dim=1) / mask.sum(dim=1).clamp_min(1)).sum() / count


def _divergence(
    pupil: Float[Tensor, "*places vocab"], teacher: Float[Tensor, "*places vocab"], temperature: float
) -> Float[Tensor, "*places"]:
    of_pupil = (pupil.float() / temperature).log_softmax(dim=-1)
    of_teacher = (teacher.detach().float() / temperature).log_softmax(dim=-1)
    # gradients shrink with the square of the temperature; scaled back they compare with the task loss
    return torch.nn.functional.kl_div(of_pupil, of_teacher, reduction="none", log_target=True).sum(dim=-1) * (
        temperature**2
    )
