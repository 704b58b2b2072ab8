"""The gate map: which modules run, a heat map of layers x modules for each language and task.

Shapes: L layers of a stack, K kinds of module in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from skipwise.analysis.figure import GREY, INK, new_figure
from skipwise.analysis.names import display_name
from skipwise.errors import SkipwiseError
from skipwise.gating import GatePlan, GateSite, Stack
from skipwise.gating.sites import STACKS

Group = tuple[str, str]
"""Language and task."""

# one hue from nearly white to dark: read alike with any colour vision and in grey
SHARES = LinearSegmentedColormap.from_list("shares", ["#F3F5F7", "#A9CFE8", "#3B8FC4", "#00456F"])
_WHITE_TEXT_FROM = 0.55
KIND_NAMES = {
    "ffn1": "FFN 1",
    "self_attn": "self\natt.",
    "cgmlp": "cgMLP",
    "ffn2": "FFN 2",
    "src_attn": "source\natt.",
    "ffn": "FFN",
}


@final
@dataclass(frozen=True)
class _Grid:
    """The sites of a stack as a table."""

    stack: Stack
    num_layers: int
    kinds: tuple[str, ...]

    @property
    def size_in(self) -> tuple[float, float]:
        return 0.56 * len(self.kinds), 0.36 * self.num_layers

    def shares(self, plans: Sequence[GatePlan]) -> Float[np.ndarray, "layers kinds"]:
        """Return the share of inputs for which each site is open, of steps where those decide; NaN without a gate."""
        table = np.full((self.num_layers, len(self.kinds)), np.nan)
        found: dict[GateSite, list[float]] = {}
        for plan in plans:
            for site, share in zip(plan.sites, plan.open_shares().tolist(), strict=True):
                found.setdefault(site, []).append(share)
        for site, shares in found.items():
            if site.stack == self.stack:
                table[site.layer, self.kinds.index(site.kind)] = np.mean(shares)
        return table


@final
@dataclass(frozen=True)
class _Layout:
    """Where the panels stand, in inches from the upper left corner."""

    grids: tuple[_Grid, ...]
    num_columns: int
    num_rows: int

    left, right, top, bottom = 1.7, 1.05, 1.1, 0.55
    gap_y, gap_stacks = 0.5, 0.14
    min_width = 5.6  # the title's
    max_bar_height = 3.0

    @property
    def gap_x(self) -> float:
        return 0.32 + 0.3 * (len(self.grids) - 1)

    @property
    def panel_in(self) -> tuple[float, float]:
        widths, heights = zip(*(grid.size_in for grid in self.grids), strict=True)
        return sum(widths) + self.gap_stacks * (len(widths) - 1), max(heights)

    @property
    def size_in(self) -> tuple[float, float]:
        width, height = self.panel_in
        across = self.num_columns * width + (self.num_columns - 1) * self.gap_x
        down = self.num_rows * height + (self.num_rows - 1) * self.gap_y
        return max(self.left + across + self.right, self.min_width), self.top + down + self.bottom

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a panel."""
        width, height = self.panel_in
        return self.left + column * (width + self.gap_x), self.top + row * (height + self.gap_y)

    def box(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Return a box as matplotlib wants it: shares of the figure, from below."""
        full_width, full_height = self.size_in
        return left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height


def gate_map(plans: Mapping[Group, Sequence[GatePlan]], *, title: str = "Which modules run") -> Figure:
    """Return a panel for each (language, task): the share of inputs for which each module ran.

    Rows are tasks, columns languages. The first layer is at the bottom, next to the input. A stack is shown if it has
    gates; above each panel stands its achieved sparsity.

    Raises:
        SkipwiseError: if no plan has a gate.
    """
    sites = sorted({site for group in plans.values() for plan in group for site in plan.sites})
    if not sites:
        raise SkipwiseError("a gate map needs plans with gates; these have none. Run a model with gates (--gates).")
    languages, tasks = list(dict.fromkeys(lang for lang, _ in plans)), list(dict.fromkeys(task for _, task in plans))
    layout = _Layout(_grids(plans, sites), len(languages), len(tasks))
    figure = new_figure(*layout.size_in, layout=None)
    for row, task in enumerate(tasks):
        for column, language in enumerate(languages):
            _draw_panel(figure, layout, (row, column), plans.get((language, task), ()))
        _write(figure, layout, 0.12, layout.corner(row, 0)[1] + layout.panel_in[1] / 2, display_name(task), "left")
    for column, language in enumerate(languages):
        middle = layout.corner(0, column)[0] + layout.panel_in[0] / 2
        _write(figure, layout, middle, layout.top - 0.4, display_name(language), "center")
    _draw_colour_bar(figure, layout)
    everything = [plan for group in plans.values() for plan in group]
    _write(figure, layout, 0.12, 0.3, f"{title}: {_skipped(everything, layout.grids)}", "left", size=13)
    return figure


def _grids(plans: Mapping[Group, Sequence[GatePlan]], sites: Sequence[GateSite]) -> tuple[_Grid, ...]:
    in_order = dict.fromkeys(site for group in plans.values() for plan in group for site in plan.sites)
    found = []
    for stack in STACKS:
        layers = [site.layer for site in sites if site.stack == stack]
        kinds = tuple(dict.fromkeys(site.kind for site in in_order if site.stack == stack))
        if layers:
            found.append(_Grid(stack, 1 + max(layers), kinds))
    return tuple(found)


def _draw_panel(figure: Figure, layout: _Layout, place: tuple[int, int], plans: Sequence[GatePlan]) -> None:
    row, column = place
    left, top = layout.corner(row, column)
    height = layout.panel_in[1]
    for index, grid in enumerate(layout.grids):
        width_in, height_in = grid.size_in
        axes = figure.add_axes(layout.box(left, top + height - height_in, width_in, height_in))
        _draw_shares(axes, grid.shares(plans))
        axes.set_xticks(range(len(grid.kinds)))
        axes.set_xticklabels([KIND_NAMES.get(kind, kind) for kind in grid.kinds] if row == layout.num_rows - 1 else [])
        axes.set_yticks(range(grid.num_layers))
        axes.set_yticklabels([str(layer) for layer in range(grid.num_layers)] if column + index == 0 else [])
        if column + index == 0:
            axes.set_ylabel("layer", fontsize=8, color=GREY)
        axes.set_title(_skipped(plans, [grid]) if plans else "no input", fontsize=8, color=GREY, pad=4)
        left += width_in + layout.gap_stacks


def _draw_shares(axes: Axes, shares: Float[np.ndarray, "layers kinds"]) -> None:
    axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1, origin="lower", aspect="auto")
    for (layer, kind), share in np.ndenumerate(shares):
        if not np.isnan(share):
            colour = "white" if share >= _WHITE_TEXT_FROM else INK
            axes.text(kind, layer, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    layers, kinds = shares.shape
    axes.set_xticks(np.arange(kinds + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(layers + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _draw_colour_bar(figure: Figure, layout: _Layout) -> None:
    left = layout.corner(0, layout.num_columns)[0] - layout.gap_x
    height = min(layout.size_in[1] - layout.top - layout.bottom, layout.max_bar_height)
    box = layout.box(left + 0.25, layout.top, 0.14, height)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 100), SHARES), cax=figure.add_axes(box), ticks=[0, 25, 50, 75, 100]
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)
    bar.set_label("% of inputs for which the module runs", fontsize=8, color=INK)


def _skipped(plans: Sequence[GatePlan], grids: Sequence[_Grid]) -> str:
    """Return what was achieved, as in `decoder skips 52 %`."""
    parts = []
    for grid in grids:
        skipped = [plan.sparsity(grid.stack) for plan in plans if plan.of_stack(grid.stack).sites]
        parts.append(f"{grid.stack} skips {100 * float(np.mean(skipped)):.0f} %")
    return ", ".join(parts)


def _write(
    figure: Figure, layout: _Layout, left: float, top: float, text: str, align: str, *, size: float = 10.5
) -> None:
    x, y, _, _ = layout.box(left, top, 0, 0)
    figure.text(x, y, text, ha=align, va="center", fontsize=size, fontweight="bold", color=INK, linespacing=1.3)
