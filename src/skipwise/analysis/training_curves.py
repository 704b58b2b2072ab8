"""Training curves: what Trainer logged of a run, as losses, dev quality and sparsity over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skipwise.analysis.figure import BLUE, GREEN, GREY, ORANGE, PALE, new_figure
from skipwise.errors import SkipwiseError

History = Sequence[Mapping[str, Any]]
"""`log_history` of a run: a record a log line, with its `step`."""


def _dev_lines(metric: str) -> tuple[tuple[str, str, str], ...]:
    """Of the dense model, of gates for one budget, and of gates for any at the budgets that a run evaluates."""
    budgets = (("30", GREEN), ("50", ORANGE), ("70", GREY))
    return (
        (f"eval_{metric}", "dense", BLUE),
        (f"eval_pruned_{metric}", "pruned", ORANGE),
        *((f"eval_pruned_{budget}_{metric}", f"pruned, {budget} %", colour) for budget, colour in budgets),
    )


_PANELS: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Training loss",
        "nats per token",
        (
            ("ctc", "CTC", GREY),
            ("attention", "attention, dense", BLUE),
            ("pruned_attention", "attention, pruned", ORANGE),
        ),
    ),
    (
        "Sparsity in training",
        "share of sites skipped",
        (
            ("sparsity_argmax_encoder", "encoder, arg-max", GREEN),
            ("sparsity_argmax_decoder", "decoder, arg-max", BLUE),
            ("sparsity_sampled_encoder", "encoder, drawn", GREEN),
            ("sparsity_sampled_decoder", "decoder, drawn", BLUE),
        ),
    ),
    ("Dev WER", "% of words", _dev_lines("wer")),
    ("Dev BLEU", "BLEU", _dev_lines("bleu")),
)


def training_curves(history: History, *, title: str) -> Figure:
    """Return a panel for each kind of value that the run logged.

    Raises:
        SkipwiseError: if it logged none that has a panel.
    """
    panels = [panel for panel in _PANELS if any(_points(history, key) for key, _, _ in panel[2])]
    if not panels:
        raise SkipwiseError("this history has no losses and no dev scores. Give the `history` of a run's summary.json.")
    figure = new_figure(3.1 * len(panels) + 0.4, 2.9)
    for axes, (name, unit, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, history, lines)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylabel(unit, fontsize=8, color=GREY)
    figure.suptitle(title, fontsize=11)
    return figure


def _points(history: History, key: str) -> list[tuple[int, float]]:
    return [(int(record["step"]), float(record[key])) for record in history if key in record]


def _draw(axes: Axes, history: History, lines: Sequence[tuple[str, str, str]]) -> None:
    for key, label, colour in lines:
        points = _points(history, key)
        if points:
            marker = "o" if key.startswith("eval_") else None
            style = "--" if key.startswith("sparsity_sampled_") else "-"
            steps, values = zip(*points, strict=True)
            axes.plot(
                steps, values, color=colour, label=label, linestyle=style, linewidth=1.4, marker=marker, markersize=3
            )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step", fontsize=8, color=GREY)
    axes.grid(axis="y", color=PALE)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
