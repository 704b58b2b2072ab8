"""The gate map shows shares of inputs, where they belong."""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from skipwise.analysis.figure import save_png
from skipwise.analysis.gate_map import gate_map
from skipwise.errors import SkipwiseError
from skipwise.gating import GatePlan, GateSite

DECODER = tuple(GateSite("decoder", layer, kind) for layer in range(2) for kind in ("self_attn", "src_attn", "ffn"))
ENCODER = tuple(
    GateSite("encoder", layer, kind) for layer in range(3) for kind in ("ffn1", "self_attn", "cgmlp", "ffn2")
)


def closing(*closed: str, sites: tuple[GateSite, ...] = DECODER) -> GatePlan:
    return GatePlan.closing(sites, closed)


def texts(figure: Figure) -> list[str]:
    titles = [axes.get_title() for axes in figure.axes]
    return [text.get_text() for text in figure.texts] + titles


def heat_maps(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_cells_are_the_shares_of_inputs_for_which_a_module_ran() -> None:
    plans = {
        ("deu", "asr"): [closing("decoder.1.ffn"), closing("decoder.1.ffn", "decoder.0.src_attn"), closing(), closing()]
    }
    [shares] = heat_maps(gate_map(plans))
    # rows are layers from the input up, columns self-attention, source attention, feed-forward
    np.testing.assert_allclose(shares, [[1, 0.75, 1], [1, 1, 0.5]])


def test_every_language_and_task_has_a_panel_named_in_words() -> None:
    half = closing(*map(str, DECODER[:3]))
    plans = {(language, task): [half] for task in ("asr", "st_eng") for language in ("deu", "fra", "ita")}
    figure = gate_map(plans)
    assert len(heat_maps(figure)) == 6
    assert {"German", "French", "Italian", "Transcription", "Translation\ninto English"} <= set(texts(figure))
    assert texts(figure).count("decoder skips 50 %") == 6
    assert "Which modules run: decoder skips 50 %" in texts(figure)


def test_a_missing_combination_is_an_empty_panel() -> None:
    figure = gate_map({("deu", "asr"): [closing()], ("fra", "st_eng"): [closing()]})
    assert texts(figure).count("no input") == 2
    assert sum(np.isnan(shares).all() for shares in heat_maps(figure)) == 2


def test_the_encoder_is_shown_only_if_it_has_gates() -> None:
    both = ENCODER + DECODER
    figure = gate_map({("deu", "asr"): [GatePlan.closing(both, ["encoder.2.cgmlp"])]})
    assert [shares.shape for shares in heat_maps(figure)] == [(3, 4), (2, 3)]
    assert "Which modules run: encoder skips 8 %, decoder skips 0 %" in texts(figure)
    assert [shares.shape for shares in heat_maps(gate_map({("deu", "asr"): [closing()]}))] == [(2, 3)]


def test_plans_without_gates_have_no_map() -> None:
    with pytest.raises(SkipwiseError, match="needs plans with gates"):
        gate_map({("deu", "asr"): [GatePlan.all_open(())]})


def test_a_figure_is_the_same_bytes_again_and_leaves_no_global_state(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    plans = {("deu", "asr"): [GatePlan(DECODER, torch.tensor([[True, False] * 3]))]}
    for name in ("a.png", "b.png"):
        save_png(gate_map(plans), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert dict(mpl.rcParams) == before


def test_other_plans_make_another_picture() -> None:
    def png(plan: GatePlan) -> bytes:
        file = BytesIO()
        gate_map({("deu", "asr"): [plan]}).savefig(file, format="png", dpi=40)
        return file.getvalue()

    assert png(closing("decoder.0.ffn")) != png(closing("decoder.1.ffn"))
