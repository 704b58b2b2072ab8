"""Figures of benchmarks, from made-up records."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from skipwise.analysis.bench import beside_espnet, time_against_sparsity

SETTINGS = {"model": "base", "dtypes": ["fp32", "fp16-packed"], "num_tokens": 40, "threads": 1, "beam_sizes": [1, 5]}


def test_a_panel_a_scope_shows_measured_and_ideal() -> None:
    points = [
        {
            "asked": s / 10,
            "ideal": 1 - 0.08 * s,
            "time": {"median": 1 - 0.07 * s, "low": 0.9 - 0.07 * s, "high": 1.1 - 0.07 * s},
        }
        for s in range(11)
    ]
    record: dict[str, Any] = {
        "settings": SETTINGS,
        "audio_s": 30,
        "beam_size": 1,
        "curves": {"decoder": points, "encoder": points, "both": points},
    }
    figure = time_against_sparsity(record)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Decoder", "Encoder", "Whole"]
    ideal, measured = figure.axes[0].get_lines()
    assert np.asarray(measured.get_xydata())[-1].tolist() == [1.0, 1 - 0.07 * 10]
    assert np.asarray(ideal.get_xydata())[-1].tolist() == [1.0, 1 - 0.08 * 10]


def test_bars_are_milliseconds_per_token() -> None:
    rounds = {
        f"{work}, beam {beam}": {"token": {"median_s": value * beam}}
        for work, value in (("espnet", 0.05), ("espnet once", 0.02), ("fp32", 0.01))
        for beam in (1, 5)
    } | {"espnet, encoder": {"encoder": {"median_s": 1.0}}, "fp32, to <eos>, beam 1": {"decoder": {"median_s": 1.0}}}
    rounds |= {"fp32, half of the decoder, beam 5": {"token": {"median_s": 0.02}}}
    figure = beside_espnet({"settings": SETTINGS, "by_audio": {"10 s": {"rounds": rounds}}})
    assert len(figure.axes) == 2
    assert [bar.get_width() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)] == [50.0, 20.0, 10.0]
    names = ["espnet", "espnet once", "fp32", "fp32, half of the decoder"]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == names
    bars = [bar for bar in figure.axes[1].patches if isinstance(bar, Rectangle)]
    espnet, once, dense, pruned = (bar.get_facecolor() for bar in bars)
    assert espnet == once and len({espnet, dense, pruned}) == 3
