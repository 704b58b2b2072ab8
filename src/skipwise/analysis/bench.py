"""Figures of `skipwise bench`: time against sparsity with the ideal, and time per token beside the peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skipwise.analysis.figure import BLUE, GREEN, GREY, INK, ORANGE, PALE, new_figure

_COLOURS = {"decoder": BLUE, "encoder": GREEN, "both": ORANGE}


def time_against_sparsity(record: Mapping[str, Any]) -> Figure:
    """Return a panel a scope: measured time with quartiles, and what closing for nothing would leave, of dense = 1."""
    figure = new_figure(9.4, 3.1)
    scopes = record["curves"]
    for axes, (scope, points) in zip(figure.subplots(1, len(scopes), sharey=True), scopes.items(), strict=True):
        _draw_curve(axes, points, _COLOURS[scope])
        axes.set_title({"decoder": "Decoder", "encoder": "Encoder", "both": "Whole"}[scope], fontsize=10, loc="left")
        axes.set_xlabel("share of sites closed", fontsize=8, color=GREY)
    figure.axes[0].set_ylabel("time, dense = 1", fontsize=8, color=GREY)
    settings = record["settings"]
    figure.suptitle(
        f"{settings['model']}, {settings['dtypes'][-1]}, {record['audio_s']} s of audio, {settings['num_tokens']} "
        f"tokens, beam {record['beam_size']}, {settings['threads']} thread",
        fontsize=10,
        color=INK,
    )
    return figure


def _draw_curve(axes: Axes, points: Sequence[Mapping[str, Any]], colour: str) -> None:
    shares = [point["asked"] for point in points]
    axes.plot(shares, [point["ideal"] for point in points], color=GREY, linestyle="--", linewidth=1.2, label="ideal")
    axes.plot(
        shares,
        [point["time"]["median"] for point in points],
        color=colour,
        marker="o",
        markersize=3.5,
        linewidth=1.6,
        label="measured",
    )
    axes.fill_between(
        shares,
        [point["time"]["low"] for point in points],
        [point["time"]["high"] for point in points],
        color=colour,
        alpha=0.18,
        linewidth=0,
    )
    axes.set_ylim(0, 1.12)
    axes.grid(axis="y", color=PALE)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def beside_espnet(record: Mapping[str, Any]) -> Figure:
    """Return bars, a panel a length and beam: ms per token of both ESPnets and of our engine, dense and pruned."""
    panels = [
        (audio, beam, found) for audio, found in record["by_audio"].items() for beam in record["settings"]["beam_sizes"]
    ]
    most = max(len(_with_tokens(found, f", beam {beam}")) for _, beam, found in panels)
    figure = new_figure(3.4 * len(panels) + 0.6, 1.5 + 0.25 * most)
    for axes, (audio, beam, found) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        suffix = f", beam {beam}"
        works = _with_tokens(found, suffix)
        values = [1e3 * found["rounds"][name]["token"]["median_s"] for name in works]
        colours = [_colour(name.removesuffix(suffix)) for name in works]
        axes.barh(range(len(works)), values, color=colours, height=0.62)
        for place, value in enumerate(values):
            axes.text(value, place, f" {value:.1f}", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(works)), [name.removesuffix(suffix) for name in works], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * max(values))
        axes.set_title(f"{audio}{suffix}", fontsize=10, loc="left")
        axes.set_xlabel("ms per token", fontsize=8, color=GREY)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{record['settings']['model']}: decoding, same weights and tokens", fontsize=10, color=INK)
    return figure


def _with_tokens(found: Mapping[str, Any], suffix: str) -> list[str]:
    """The works that decode to a fixed length."""
    return [name for name, parts in found["rounds"].items() if name.endswith(suffix) and "token" in parts]


def _colour(work: str) -> str:
    """ESPnet's, our dense engine's, or the one of what is pruned: those name a precision and how."""
    if work.startswith("espnet"):
        return GREY
    return ORANGE if ", " in work else BLUE
