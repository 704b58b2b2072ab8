"""Panels of lines and points with intervals: quality against sparsity or time, use of modules over layers or steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter
from matplotlib.transforms import Bbox

from skipwise.analysis.figure import BLUE, GREEN, GREY, INK, ORANGE, PALE, new_figure
from skipwise.errors import SkipwiseError

VERMILION, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, INK)
"""Okabe and Ito 2008, in the order in which they are used where nothing else is asked for."""
_LABEL_POINTS = (22.0, 9.0)
"""Width and height of a label."""
_MARK_POINTS = 6.0
_SIDES = ((4.0, 3.0), (-26.0, -12.0), (4.0, -12.0), (-26.0, 3.0))
"""Where a label may begin, in points from its point: to the right of it or to the left, above or below."""
_LEGEND_IN = (0.7, 0.078)
"""Inches in a legend: of a mark with its gaps, and of a letter."""
_LOG_MARKS = (1.0, 2.0, 3.0, 5.0)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@final
@dataclass(frozen=True, kw_only=True)
class Point:
    """One value, with its 95 % interval in either direction if it has one."""

    x: float
    y: float
    y_interval: tuple[float, float] | None = None
    x_interval: tuple[float, float] | None = None
    label: str = ""
    """Stands beside it."""


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of one system, joined in their order."""

    name: str
    """In the legend; the same name has the same colour in every panel."""
    points: Sequence[Point]
    colour: str | None = None
    """None: the next that is free."""
    is_joined: bool = True
    """Whether a line goes through the points."""
    is_filled: bool = True
    """Filled or hollow markers."""


@final
@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines that share axes."""

    title: str
    x_axis: str
    """With its unit."""
    y_axis: str
    """With its unit and which way is good."""
    lines: Sequence[Line]
    dense: Point | None = None
    """A level to compare with, drawn from side to side with its interval; its `x` does not count."""
    dense_name: str = "dense"
    """What that level is, in the legend."""
    is_percent: bool = False
    """Whether y goes from 0 to 100."""
    is_log: bool = False
    """Whether equal ratios of y are equally far apart: for values above 0 that go from little to very much."""
    counts_x: bool = False
    """Whether x counts something, such as layers: marks stand at whole numbers alone."""


def line_panels(panels: Sequence[Panel], *, title: str, num_columns: int = 2) -> Figure:
    """Return the panels in rows of `num_columns`, with one legend below them.

    Raises:
        SkipwiseError: if there is no point to draw.
    """
    panels = [panel for panel in panels if any(line.points for line in panel.lines)]
    if not panels:
        raise SkipwiseError(f"there is nothing to draw for {title!r}: no run has such values.")
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    num_columns = min(num_columns, len(panels))
    num_rows = math.ceil(len(panels) / num_columns)
    figure = new_figure(max(5.6, 4.3 * num_columns + 0.3), 3.1 * num_rows + 0.8)
    all_axes = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(all_axes, panels, strict=False):
        for line in panel.lines:
            _draw_line(axes, line, names.index(line.name))
        _draw_dense(axes, panel.dense, panel.dense_name)
        _dress(axes, panel)
    handles: dict[str, object] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),  # type: ignore[arg-type]
        list(handles),
        loc="outside lower center",
        ncols=_num_legend_columns(handles, num_columns, figure.get_figwidth()),
        frameon=False,
        fontsize=8.5,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    figure.draw_without_rendering()  # only now is known how far apart points are
    for axes, panel in zip(all_axes, panels, strict=False):
        _label(axes, panel, names)
    return figure


def _draw_line(axes: Axes, line: Line, index: int) -> None:
    if not line.points:
        return
    colour = _colour(line, index)
    x, y = [point.x for point in line.points], [point.y for point in line.points]
    axes.plot(
        x,
        y,
        color=colour,
        label=line.name,
        marker=MARKERS[index % len(MARKERS)],
        markersize=5,
        markerfacecolor=colour if line.is_filled else "white",
        linewidth=1.6 if line.is_joined else 0,
        zorder=3,
        clip_on=False,
    )
    for point in line.points:
        _draw_interval(axes, point, colour)


def _draw_interval(axes: Axes, point: Point, colour: str) -> None:
    style = {"color": colour, "linewidth": 1.1, "alpha": 0.75, "zorder": 2}
    if point.y_interval is not None:
        axes.plot([point.x, point.x], point.y_interval, **style)  # type: ignore[arg-type]
    if point.x_interval is not None:
        axes.plot(point.x_interval, [point.y, point.y], **style)  # type: ignore[arg-type]


def _draw_dense(axes: Axes, dense: Point | None, name: str) -> None:
    if dense is None:
        return
    axes.axhline(dense.y, color=GREY, linestyle="--", linewidth=1.3, label=name, zorder=1)
    if dense.y_interval is not None:
        axes.axhspan(*dense.y_interval, color=GREY, alpha=0.12, linewidth=0, zorder=0)


def _dress(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(panel.x_axis, fontsize=9, color=INK)
    axes.set_ylabel(panel.y_axis, fontsize=9, color=INK)
    axes.grid(color=PALE, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.margins(x=0.08, y=0.12)
    if panel.counts_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if panel.is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=_LOG_MARKS))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
    elif panel.is_percent:
        axes.set_ylim(-4, 106)
    elif axes.get_ylim()[0] < 0 <= _least(panel):  # margins reach below zero, values do not
        axes.set_ylim(bottom=0)


def _label(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    """Write each point's label in its line's colour at the first of four sides that is free, if one is."""
    points = [(line, point) for line in panel.lines for point in line.points]
    places = axes.transData.transform([(point.x, point.y) for _, point in points]) * 72 / axes.figure.dpi
    floor = axes.get_window_extent().y0 * 72 / axes.figure.dpi
    half = _MARK_POINTS / 2
    taken = [Bbox.from_bounds(x - half, y - half, _MARK_POINTS, _MARK_POINTS) for x, y in places]
    for (line, point), (x, y) in zip(points, places, strict=True):
        sides = [(offset, Bbox.from_bounds(x + offset[0], y + offset[1], *_LABEL_POINTS)) for offset in _SIDES]
        free = [side for side in sides if side[1].y0 >= floor and not side[1].count_overlaps(taken)]
        if point.label and free:
            offset, box = free[0]
            taken.append(box)
            colour = _colour(line, names.index(line.name))
            axes.annotate(
                point.label, (point.x, point.y), offset, textcoords="offset points", fontsize=7.5, color=colour
            ).set_in_layout(False)


def _colour(line: Line, index: int) -> str:
    return line.colour or COLOURS[index % len(COLOURS)]


def _num_legend_columns(names: Iterable[str], num_columns: int, width_in: float) -> int:
    """As many as there is room for, by the longest name."""
    lengths = [len(name) for name in names]
    room = int(width_in / (_LEGEND_IN[0] + _LEGEND_IN[1] * max(lengths)))
    return max(1, min(len(lengths), 2 + num_columns, room))


def _least(panel: Panel) -> float:
    """Return the lowest y of what is drawn, intervals included."""
    points = [point for line in panel.lines for point in line.points] + ([panel.dense] if panel.dense else [])
    return min(min((point.y, *(point.y_interval or ()))) for point in points)
