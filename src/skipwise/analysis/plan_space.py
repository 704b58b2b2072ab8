"""Plans in two dimensions: the principal components of their bits, coloured by what the gates may know.

Shapes: P plans, N sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skipwise.analysis.figure import GREY, INK, PALE, new_figure
from skipwise.analysis.panels import COLOURS
from skipwise.errors import SkipwiseError

MOST_IN_LEGEND = len(COLOURS)
"""Of more values, as speakers are, each has a shade and none a name."""
_JITTER = 0.02


@final
class PlanSpace:
    """Where each plan lies: plans that are alike are close to one another."""

    def __init__(self, bits: Float[np.ndarray, "plans sites"]) -> None:
        """Find the two directions in which plans differ most.

        Raises:
            SkipwiseError: without scikit-learn, or for fewer than three plans or two sites.
        """
        try:
            from sklearn.decomposition import PCA
        except ModuleNotFoundError as error:
            raise SkipwiseError(
                'plans in two dimensions need scikit-learn. Install it: pip install "skipwise[analysis]".'
            ) from error
        if bits.shape[0] < 3 or bits.shape[1] < 2:
            raise SkipwiseError(f"plans in two dimensions need 3 plans of 2 sites, got {bits.shape}. Evaluate more.")
        self.num_different = len(np.unique(bits, axis=0))
        """Different plans."""
        varied = self.num_different > 1
        analysis = PCA(n_components=2).fit(bits) if varied else None
        self.places: Float[np.ndarray, "plans 2"] = (
            analysis.transform(bits) if analysis is not None else np.zeros((len(bits), 2))
        )
        self.explained: Float[np.ndarray, " 2"] = (
            analysis.explained_variance_ratio_ if analysis is not None else np.zeros(2)
        )
        """Share of the variance that each direction has."""


def plan_space(
    space: PlanSpace, groups: Mapping[str, Sequence[str] | Float[np.ndarray, " plans"]], *, title: str
) -> Figure:
    """Return a panel for each way to colour the plans: by names, or by numbers on a scale (NaN: not known).

    Equal plans would hide one another; points are moved a little, the same way every time.
    """
    figure = new_figure(3.0 * len(groups) + 0.4, 3.5)
    spread = np.ptp(space.places, axis=0).max() or 1.0
    moved = space.places + _JITTER * spread * np.random.default_rng(0).standard_normal(space.places.shape)
    for axes, (name, values) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True):
        if isinstance(values, np.ndarray):
            _draw_scale(figure, axes, moved, values)
        else:
            _draw_names(axes, moved, values)
        axes.set_title(f"by {name}", loc="left", fontsize=10, fontweight="bold", color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(PALE)
        axes.set_xlabel(f"component 1, {100 * space.explained[0]:.0f} % of the variance", fontsize=8, color=GREY)
    figure.axes[0].set_ylabel(f"component 2, {100 * space.explained[1]:.0f} %", fontsize=8, color=GREY)
    figure.suptitle(
        f"{title}: {space.num_different} different plans of {len(space.places)}",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=INK,
    )
    return figure


def _draw_names(axes: Axes, places: Float[np.ndarray, "plans 2"], names: Sequence[str]) -> None:
    different = sorted(set(names))
    few = len(different) <= MOST_IN_LEGEND
    for index, name in enumerate(different):
        chosen = places[[place for place, own in enumerate(names) if own == name]]
        # beyond a handful a legend cannot be read: shades show whether one speaker's plans lie together
        colour = COLOURS[index] if few else _shade(index / (len(different) - 1))
        axes.scatter(*chosen.T, s=14, color=colour, alpha=0.7, linewidths=0, label=name if few else None)
    if few:
        axes.legend(fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    else:
        axes.text(
            0.5, -0.16, f"{len(different)} of them", transform=axes.transAxes, ha="center", fontsize=8, color=GREY
        )


def _draw_scale(
    figure: Figure, axes: Axes, places: Float[np.ndarray, "plans 2"], values: Float[np.ndarray, " plans"]
) -> None:
    known = ~np.isnan(values)
    axes.scatter(*places[~known].T, s=14, color=PALE, linewidths=0)
    drawn = axes.scatter(*places[known].T, s=14, c=values[known], cmap="viridis", alpha=0.8, linewidths=0)
    bar = figure.colorbar(drawn, cax=axes.inset_axes((0.1, -0.2, 0.8, 0.05)), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7.5, labelcolor=INK)


def _shade(share: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    return colormaps["turbo"](share)
