import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import PenaltyConfig, SparsityPenalty, TemperatureSchedule
from skipwise.gating.draws import RowDraws
from skipwise.gating.relaxation import straight_through_gumbel


def _draws(num_rows: int, seed: int = 0) -> RowDraws:
    return RowDraws.for_all(torch.Generator().manual_seed(seed), num_rows)


def test_gates_are_hard_forward_and_soft_backward():
    logits = torch.zeros(4, 6, 2, requires_grad=True)
    gates = straight_through_gumbel(logits, temperature=1.0, draws=_draws(4))
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    (gradient,) = torch.autograd.grad(gates.sum(), logits)
    assert (gradient[..., 1] > 0).all() and (gradient[..., 0] < 0).all()


def test_gates_follow_the_probabilities_of_the_logits():
    logits = torch.tensor([0.0, 1.0]).expand(20_000, 1, 2)
    share = straight_through_gumbel(logits, temperature=1.0, draws=_draws(20_000)).mean()
    # 20,000 draws at p = 0.731: standard deviation 0.003
    assert float(share) == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.015)


def test_the_same_seed_draws_the_same_gates_and_another_does_not():
    logits = torch.zeros(8, 9, 2)
    first, again = (straight_through_gumbel(logits, temperature=0.5, draws=_draws(8, 3)) for _ in range(2))
    other = straight_through_gumbel(logits, temperature=0.5, draws=_draws(8, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_rows_draw_the_same_whether_alone_or_with_others():
    whole = _draws(6).uniform(3, 2)
    part = RowDraws(torch.Generator().manual_seed(0), 6, [4, 1]).uniform(3, 2)
    assert torch.equal(part, whole[[4, 1]]) and not torch.equal(whole[4], whole[1])


def test_temperature_goes_from_start_to_end_in_equal_ratios():
    schedule = TemperatureSchedule(start=4.0, end=1.0)
    assert [schedule.at(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([4.0, 2.0, 1.0, 1.0])


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(SkipwiseError, match=r"above 0, got start 0.0"):
        TemperatureSchedule(start=0.0)


@pytest.mark.parametrize(
    ("form", "expected"), [("absolute", 0.4), ("squared", 0.8), ("both", 1.2), ("lagrangian", 0.8)]
)
def test_each_form_of_the_penalty_has_its_value(form, expected):
    penalty = SparsityPenalty(PenaltyConfig(form=form, absolute_weight=2.0, squared_weight=20.0))
    value = penalty(torch.tensor(0.3), target=0.5, stack="decoder")
    assert float(value) == pytest.approx(expected)


@pytest.mark.parametrize("form", ["absolute", "squared", "both"])
def test_the_penalty_pulls_towards_the_target_from_both_sides(form):
    penalty = SparsityPenalty(PenaltyConfig(form=form))
    for start, sign in ((0.3, -1), (0.7, 1)):
        sparsity = torch.tensor(start, requires_grad=True)
        (gradient,) = torch.autograd.grad(penalty(sparsity, target=0.5, stack="encoder"), sparsity)
        assert gradient.sign() == sign


def test_each_row_may_have_its_own_target():
    penalty = SparsityPenalty(PenaltyConfig(form="squared", squared_weight=2.0))
    sparsity = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    values = penalty(sparsity, target=torch.tensor([0.3, 0.5, 0.2]), stack="decoder")
    assert values.tolist() == pytest.approx([0.08, 0.0, 0.98])
    (gradient,) = torch.autograd.grad(values.sum(), sparsity)
    assert gradient.sign().tolist() == [-1, 0, 1]


def test_the_multiplier_grows_while_the_target_is_missed_and_only_in_its_stack():
    penalty = SparsityPenalty(PenaltyConfig(form="lagrangian", multiplier_lr=0.5))
    sparsity = torch.tensor(0.3, requires_grad=True)
    before = torch.autograd.grad(penalty(sparsity, target=0.5, stack="decoder"), sparsity)[0]
    for _ in range(10):
        penalty.ascend(sparsity, target=0.5, stack="decoder")
    after = torch.autograd.grad(penalty(sparsity, target=0.5, stack="decoder"), sparsity)[0]
    assert penalty.multipliers.tolist() == pytest.approx([0.0, 1.0])
    assert after < before < 0


def test_an_unknown_form_names_the_known_ones(unchecked):
    with pytest.raises(SkipwiseError, match=r"absolute, squared, both, lagrangian; got 'cubic'"):
        PenaltyConfig(form="cubic")  # pyrefly: ignore[bad-argument-type]
