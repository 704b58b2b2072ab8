"""The dense pass as a teacher."""

from __future__ import annotations

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.training.distillation import Distillation, attention_divergence, ctc_divergence

GENERATOR = torch.Generator().manual_seed(0)
PUPIL, TEACHER = torch.randn(2, 5, 7, generator=GENERATOR), torch.randn(2, 5, 7, generator=GENERATOR)
LABELS = torch.tensor([[1, 2, 3, 4, 5], [1, 2, IGNORED_LABEL, IGNORED_LABEL, IGNORED_LABEL]])


def _by_hand(pupil: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    of_teacher = teacher.softmax(dim=-1)
    return (of_teacher * (of_teacher.log() - pupil.log_softmax(dim=-1))).sum(dim=-1)


def test_only_scored_positions_are_taught():
    found = attention_divergence(PUPIL, TEACHER, LABELS, temperature=1.0, count=7)
    expected = _by_hand(PUPIL, TEACHER)[LABELS != IGNORED_LABEL].sum() / 7
    torch.testing.assert_close(found, expected)
    assert float(attention_divergence(TEACHER, TEACHER, LABELS, temperature=2.0, count=7)) == pytest.approx(0, abs=1e-6)


def test_frames_that_take_no_part_are_not_taught():
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    found = ctc_divergence(PUPIL, TEACHER, mask, temperature=1.0, count=2)
    by_hand = _by_hand(PUPIL, TEACHER)
    torch.testing.assert_close(found, (by_hand[0].mean() + by_hand[1, :2].mean()) / 2)


def test_the_teacher_gets_no_gradient_and_the_temperature_keeps_its_size():
    pupil, teacher = PUPIL.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    sizes = []
    for temperature in (1.0, 8.0):
        loss = attention_divergence(pupil, teacher, LABELS, temperature=temperature, count=7)
        (gradient,) = torch.autograd.grad(loss, pupil)
        sizes.append(float(gradient.norm()))
    loss = attention_divergence(pupil, teacher, LABELS, temperature=1.0, count=7)
    assert torch.autograd.grad(loss, teacher, allow_unused=True) == (None,)
    assert 0.1 < sizes[1] / sizes[0] < 10


def test_a_wrong_strength_is_refused():
    with pytest.raises(SkipwiseError, match=r"weights of 0 or more and a temperature above 0; got 1.0, 0.0 and 0"):
        Distillation(temperature=0.0)
