"""Quality side by side: bars of several systems with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skipwise.analysis.figure import BLUE, GREEN, GREY, INK, ORANGE, PALE, new_figure
from skipwise.analysis.names import display_name
from skipwise.errors import SkipwiseError

_COLOURS = (BLUE, ORANGE, GREEN)
_BAR_IN = 0.36


@final
@dataclass(frozen=True, kw_only=True)
class Bar:
    """One value of one system."""

    group: str
    """What is measured, below the bar: a language."""
    system: str
    """Who is measured, in the legend: `dense`, `pruned`."""
    value: float
    interval: tuple[float, float] | None = None
    """Its 95 % interval, if it has one."""


@final
@dataclass(frozen=True, kw_only=True)
class BarPanel:
    """Bars that share an axis."""

    title: str
    """The task: `Transcription`."""
    axis: str
    """The measure, with its unit and which way is good: `WER, % (lower is better)`."""
    bars: Sequence[Bar]


def panels_of(records: Mapping[str, Mapping[str, Any]]) -> list[BarPanel]:
    """Return a panel per task, from the evaluation records (`Evaluation.to_dict()`) of several systems by name."""
    tasks = sorted({task for record in records.values() for task in record["per_task"]})
    return [
        BarPanel(
            title=display_name(task).replace("\n", " "),
            axis=f"{metric.upper()} ({'% of words, lower' if metric == 'wer' else 'higher'} is better)",
            bars=[
                Bar(
                    group=display_name(language),
                    system=system,
                    value=cells[task][metric],
                    interval=_interval(cells[task], metric),
                )
                for system, record in records.items()
                for language, cells in record["per_language_task"].items()
                if task in cells
            ],
        )
        for task in tasks
        for metric in ["wer" if task == "asr" else "bleu"]
    ]


def quality_bars(panels: Sequence[BarPanel], *, title: str = "Quality, dense and pruned") -> Figure:
    """Return a panel each with a group of bars per language, a colour per system, and intervals as whiskers.

    Raises:
        SkipwiseError: if there is no bar, or there are more systems than colours.
    """
    systems = list(dict.fromkeys(bar.system for panel in panels for bar in panel.bars))
    if not systems or len(systems) > len(_COLOURS):
        raise SkipwiseError(f"bars of 1 to {len(_COLOURS)} systems can be drawn, got {len(systems)}. Leave some out.")
    groups = [list(dict.fromkeys(bar.group for bar in panel.bars)) for panel in panels]
    widths_in = [1.1 + len(names) * (len(systems) * _BAR_IN + 0.45) for names in groups]
    figure = new_figure(max(sum(widths_in), 4.5), 3.6)
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths_in)[0]
    for axes, panel, names in zip(all_axes, panels, groups, strict=True):
        _draw_bars(axes, panel, names, systems)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(systems), frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _draw_bars(axes: Axes, panel: BarPanel, groups: Sequence[str], systems: Sequence[str]) -> None:
    width = 0.8 / len(systems)
    for index, (system, colour) in enumerate(zip(systems, _COLOURS, strict=False)):
        bars = [bar for bar in panel.bars if bar.system == system]
        places = [groups.index(bar.group) + (index - (len(systems) - 1) / 2) * width for bar in bars]
        axes.bar(places, [bar.value for bar in bars], width * 0.9, color=colour, label=system, zorder=2)
        for place, bar in zip(places, bars, strict=True):
            _draw_interval(axes, place, bar)
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_ylabel(panel.axis, fontsize=9, color=INK)
    axes.set_xticks(range(len(groups)), groups, fontsize=9, color=INK)
    axes.set_ylim(0, 1.12 * max(bar.interval[1] if bar.interval else bar.value for bar in panel.bars) or 1.0)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.grid(axis="y", color=PALE, linewidth=0.8, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)


def _draw_interval(axes: Axes, place: float, bar: Bar) -> None:
    """The whisker, and the value above it."""
    top = bar.value
    if bar.interval is not None:
        low, top = bar.interval
        axes.errorbar(place, bar.value, [[bar.value - low], [top - bar.value]], color=INK, capsize=2.5, linewidth=1)
    axes.annotate(
        f"{bar.value:.1f}", (place, top), (0, 2), textcoords="offset points", ha="center", fontsize=8, color=INK
    )


def _interval(cell: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    found = cell[f"{metric}_interval"]
    return None if found is None else (found[0], found[1])
