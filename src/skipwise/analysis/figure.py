"""An empty figure, the colours, and how a figure becomes a file: matplotlib's object interface, nothing global."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise SkipwiseError('figures need matplotlib. Install it: pip install "skipwise[analysis]".') from error

PNG_DPI = 200

# Okabe and Ito 2008: told apart with every common kind of colour blindness
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
INK, GREY, PALE = "#222222", "#767676", "#E4E7EB"


def new_figure(width_in: float, height_in: float, *, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of that size in inches, drawn by Agg; `constrained` makes room for all texts."""
    figure = Figure(figsize=(width_in, height_in), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, which appears whole or not at all."""
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=PNG_DPI)
