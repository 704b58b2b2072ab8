import numpy as np
import pytest

from skipwise.analysis.training_curves import training_curves
from skipwise.errors import SkipwiseError

HISTORY = [
    {"step": 1, "ctc": 8.0, "attention": 6.0},
    {"step": 2, "ctc": 4.0, "attention": 3.0},
    {"step": 2, "eval_wer": 50.0, "eval_bleu": 20.0},
]


def test_there_is_a_panel_for_each_kind_of_value_that_was_logged():
    titles = [axes.get_title(loc="left") for axes in training_curves(HISTORY, title="base").axes]
    assert titles == ["Training loss", "Dev WER", "Dev BLEU"]


def test_lines_hold_the_logged_values_and_unlogged_ones_are_not_drawn():
    (losses, *_) = training_curves(HISTORY, title="base").axes
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in losses.get_lines()}
    assert drawn == {"CTC": [[1, 8.0], [2, 4.0]], "attention, dense": [[1, 6.0], [2, 3.0]]}


def test_a_history_without_values_is_refused():
    with pytest.raises(SkipwiseError, match=r"no losses and no dev scores"):
        training_curves([{"step": 1, "train_runtime": 3.0}], title="base")


def test_gates_for_any_budget_have_a_dev_line_a_budget():
    history = [*HISTORY, {"step": 2, "eval_pruned_30_wer": 51.0, "eval_pruned_70_wer": 60.0}]
    wer = training_curves(history, title="gated").axes[1]
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in wer.get_lines()}
    assert drawn == {"dense": [[2, 50.0]], "pruned, 30 %": [[2, 51.0]], "pruned, 70 %": [[2, 60.0]]}
