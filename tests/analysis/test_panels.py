"""Panels of lines, and plans in two dimensions."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from skipwise.analysis.panels import COLOURS, Line, Panel, Point, line_panels
from skipwise.analysis.plan_space import PlanSpace, plan_space
from skipwise.analysis.step_map import step_map
from skipwise.errors import SkipwiseError
from skipwise.gating import GateSite


def panel(*lines: Line, **changes: object) -> Panel:
    return Panel(title="Transcription", x_axis="sparsity, %", y_axis="WER", lines=lines, **changes)  # type: ignore[arg-type]


def test_lines_have_their_values_intervals_and_one_colour_a_name() -> None:
    first = Line(name="decoder", points=[Point(x=10, y=5, y_interval=(4, 7)), Point(x=50, y=8)])
    second = Line(name="encoder", points=[Point(x=10, y=6, label="10 %")], is_joined=False)
    dense = Point(x=0, y=4.5, y_interval=(4, 5))
    figure = line_panels([panel(first, second, dense=dense), panel(second)], title="Quality")
    left, right = figure.axes
    drawn = {line.get_label(): line for line in left.lines}
    values = {name: np.asarray(line.get_xydata()).tolist() for name, line in drawn.items()}
    assert values["decoder"] == [[10, 5], [50, 8]] and values["dense"][0][1] == 4.5
    assert any(np.asarray(line.get_xydata()).tolist() == [[10, 4], [10, 7]] for line in left.lines)
    (again,) = [line for line in right.lines if line.get_label() == "encoder"]
    assert again.get_color() == drawn["encoder"].get_color() == COLOURS[1] != drawn["decoder"].get_color()
    assert drawn["encoder"].get_linewidth() == 0 < drawn["decoder"].get_linewidth()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["decoder", "encoder", "dense"]
    assert [text.get_text() for text in left.texts] == ["10 %"]


@pytest.mark.parametrize(("y", "low", "floor"), [(1.0, 0.0, 0.0), (1.0, -1.0, -1.0), (-20.0, -22.0, -22.0)])
def test_axes_begin_at_zero_only_where_nothing_is_below_it(y: float, low: float, floor: float) -> None:
    line = Line(name="a", points=[Point(x=0, y=y, y_interval=(low, y + 1)), Point(x=1, y=0.0)])
    (axes,) = line_panels([Panel(title="t", x_axis="x", y_axis="y", lines=[line])], title="all").axes
    assert axes.get_ylim()[0] <= floor and (floor < 0 or axes.get_ylim()[0] == 0)


def test_labels_and_legends_keep_clear_of_one_another() -> None:
    near = [Point(x=10, y=5, label="a"), Point(x=10.1, y=5, label="b"), Point(x=50, y=5, label="c")]
    lines = [Line(name=f"{letter * 60}", points=near) for letter in "xyz"]
    figure = line_panels([panel(*lines)], title="Quality")
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    assert {text.get_text() for text in texts} >= {"a", "c"}
    assert len(texts) < 9, "there is no room for all"
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert texts[0].get_color() != texts[-1].get_color()
    assert figure.legends[0]._ncols == 1  # type: ignore[attr-defined]


def test_a_logarithmic_axis_is_marked_in_plain_numbers() -> None:
    line = Line(name="a", points=[Point(x=0, y=11), Point(x=1, y=150)])
    figure = line_panels([panel(line, is_log=True)], title="WER")
    figure.draw_without_rendering()
    marks = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert {"20", "50", "100"} <= marks


def test_panels_without_a_point_are_left_out_and_none_at_all_is_an_error() -> None:
    empty = panel(Line(name="decoder", points=[]))
    figure = line_panels([empty, panel(Line(name="a", points=[Point(x=1, y=2)]))], title="t")
    assert len(figure.axes) == 1
    with pytest.raises(SkipwiseError, match="there is nothing to draw for 'Quality': no run has such values"):
        line_panels([empty], title="Quality")


def test_plans_that_are_alike_lie_together() -> None:
    bits = np.repeat(np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]), 5, axis=0)
    space = PlanSpace(bits)
    assert space.num_different == 2 and space.explained[0] == pytest.approx(1.0)
    assert np.abs(space.places[0] - space.places[4]).max() < 1e-9 < np.abs(space.places[0] - space.places[5]).max()
    snr_db = np.array([np.nan, *range(9)])
    speakers = [f"s{index}" for index in range(10)]
    figure = plan_space(space, {"task": ["asr", "st"] * 5, "speaker": speakers, "SNR, dB": snr_db}, title="Plans")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["by task", "by speaker", "by SNR, dB"]
    legends = [axes.get_legend() for axes in figure.axes[:3]]
    assert legends[0] is not None and legends[1] is None, "ten names cannot be told apart by colours"


def test_a_map_over_steps_has_a_row_a_site_and_the_kinds_apart() -> None:
    sites = [GateSite("decoder", layer, kind) for layer in range(3) for kind in ("self_attn", "src_attn", "ffn")]
    shares = np.arange(90).reshape(9, 10) / 90
    figure = step_map({"Transcription": shares, "Translation": 1 - shares}, sites, title="Steps")
    images = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(images) == 6
    assert np.array_equal(images[2], shares[[1, 4, 7]]), "source attention of all layers, the first at the bottom"
    with pytest.raises(SkipwiseError, match="needs step plans; these are none"):
        step_map({}, sites, title="Steps")


def test_one_plan_for_all_is_a_point() -> None:
    space = PlanSpace(np.ones((4, 3)))
    assert space.num_different == 1 and not space.places.any()


def test_too_few_plans_and_a_missing_library_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SkipwiseError, match=r"need 3 plans of 2 sites, got \(2, 4\). Evaluate more"):
        PlanSpace(np.ones((2, 4)))
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(SkipwiseError, match=r'need scikit-learn. Install it: pip install "skipwise\[analysis\]"'):
        PlanSpace(np.ones((4, 3)))


def test_what_is_counted_is_marked_at_whole_numbers() -> None:
    layers = Line(name="FFN", points=[Point(x=0, y=10), Point(x=1, y=20)])
    marks = []
    for counts in (True, False):
        figure = line_panels([panel(layers, counts_x=counts)], title="Use")
        marks.append(list(figure.axes[0].get_xticks()))
    assert all(mark == round(mark) for mark in marks[0]) and any(mark != round(mark) for mark in marks[1])
