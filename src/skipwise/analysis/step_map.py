"""The gate map over decoding: how often each decoder module runs, from the first token of a hypothesis to its last.

Shapes: N decoder sites, B bins of positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skipwise.analysis.figure import GREY, INK, new_figure
from skipwise.analysis.gate_map import KIND_NAMES, SHARES
from skipwise.errors import SkipwiseError
from skipwise.gating import GateSite


def step_map(shares: Mapping[str, Float[np.ndarray, "sites bins"]], sites: Sequence[GateSite], *, title: str) -> Figure:
    """Return a panel each of `shares`, in [0, 1]: a row a site, the kinds apart and the first layer at the bottom.

    Raises:
        SkipwiseError: if there is no panel.
    """
    if not shares:
        raise SkipwiseError("a map over the steps of decoding needs step plans; these are none.")
    kinds = list(dict.fromkeys(site.kind for site in sites))
    layers = 1 + max(site.layer for site in sites)
    figure = new_figure(3.6 * len(shares) + 1.2, 0.24 * layers * len(kinds) + 1.5)
    grid = figure.subplots(len(kinds), len(shares), squeeze=False, sharex=True)
    for column, (name, values) in enumerate(shares.items()):
        for row, kind in enumerate(kinds):
            places = [place for place, site in enumerate(sites) if site.kind == kind]
            _draw(grid[row][column], values[places], _told(kind) if column == 0 else "")
        grid[0][column].set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
        grid[-1][column].set_xlabel("position in the hypothesis, %", fontsize=8.5, color=INK)
    bar = figure.colorbar(grid[0][0].images[0], ax=grid, fraction=0.03, ticks=[0, 0.25, 0.5, 0.75, 1])
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)
    bar.set_label("% of decisions that run the module", fontsize=8, color=INK)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _told(kind: str) -> str:
    return KIND_NAMES.get(kind, kind).replace("\n", " ")


def _draw(axes: Axes, values: Float[np.ndarray, "layers bins"], name: str) -> None:
    layers, num_bins = values.shape
    extent = (0, 100, -0.5, layers - 0.5)
    axes.imshow(values, cmap=SHARES, vmin=0, vmax=1, origin="lower", aspect="auto", extent=extent)
    axes.set_yticks(range(layers))
    axes.set_xticks(np.linspace(0, 100, num_bins // 2 + 1))
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.spines[:].set_visible(False)
    if name:
        axes.set_ylabel(f"{name}\nlayer", fontsize=8, color=GREY)
