import torch

from skipwise.gating.branch import OPEN, RowGate, ScaledGate, add_branch, branch_output, either, is_closed


def _gate(open_rows: list[int], num_rows: int = 3) -> RowGate:
    return RowGate(torch.tensor(open_rows, dtype=torch.long), num_rows)


class Counting:
    """A branch that counts the rows it ran on."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, hidden, rows):
        self.rows.append(hidden.shape[0])
        return 2 * hidden


def test_a_branch_closed_everywhere_is_not_called():
    hidden, branch = torch.randn(3, 4, 5), Counting()
    assert add_branch(hidden, branch, _gate([])) is hidden
    assert branch_output(branch, hidden, _gate([])) is None
    assert branch.rows == []


def test_a_branch_runs_on_its_open_rows_only():
    hidden, branch = torch.randn(3, 4, 5), Counting()
    out = add_branch(hidden, branch, _gate([0, 2]))
    assert branch.rows == [2]
    assert torch.equal(out[1], hidden[1])
    assert torch.equal(out[[0, 2]], 3 * hidden[[0, 2]])


def test_multiplied_by_hard_gates_equals_skipped():
    hidden, branch = torch.randn(3, 4, 5), Counting()
    scaled = ScaledGate(torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(
        add_branch(hidden, branch, scaled), add_branch(hidden, branch, _gate([0, 2])), rtol=0, atol=0
    )


def test_either_is_open_where_one_of_them_is():
    two = either(_gate([0]), _gate([2]))
    assert isinstance(two, RowGate) and two.rows.tolist() == [0, 2]
    assert is_closed(either(_gate([]), _gate([])))
    assert either(_gate([0, 1]), _gate([2])) is OPEN
    assert either(OPEN, _gate([])) is OPEN
    scaled = either(ScaledGate(torch.tensor([0.0, 1.0, 0.0])), ScaledGate(torch.tensor([0.0, 1.0, 1.0])))
    assert isinstance(scaled, ScaledGate) and scaled.values.tolist() == [0.0, 1.0, 1.0]
