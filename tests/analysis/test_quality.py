"""Bars of dense and pruned show values and intervals."""

import pytest
from matplotlib.patches import Rectangle

from skipwise.analysis.names import display_name
from skipwise.analysis.quality import Bar, BarPanel, panels_of, quality_bars
from skipwise.errors import SkipwiseError


def cell(task: str, score: float) -> dict[str, object]:
    wer, bleu = (score, None) if task == "asr" else (None, score)
    return {"wer": wer, "wer_interval": wer and [wer - 1, wer + 2], "bleu": bleu, "bleu_interval": None}


def record(offset: float) -> dict[str, object]:
    cells = {
        language: {task: cell(task, offset + 10 * index) for task in ("asr", "st_eng")}
        for index, language in enumerate(("deu", "fra"))
    }
    return {"per_language_task": cells, "per_task": {"asr": {}, "st_eng": {}}}


def test_panels_hold_wer_for_transcription_and_bleu_for_translation() -> None:
    asr, st = panels_of({"dense": record(5.0), "pruned": record(6.0)})
    assert (asr.title, st.title) == ("Transcription", "Translation into English")
    assert asr.axis.startswith("WER") and st.axis.startswith("BLEU")
    assert Bar(group="French", system="pruned", value=16.0, interval=(15.0, 18.0)) in asr.bars
    assert Bar(group="German", system="dense", value=5.0) in st.bars
    assert len(asr.bars) == len(st.bars) == 4


def test_bars_have_their_heights_and_a_colour_for_each_system() -> None:
    figure = quality_bars(panels_of({"dense": record(5.0), "pruned": record(6.0)}))
    first = figure.axes[0]
    bars = [patch for patch in first.patches if isinstance(patch, Rectangle)]
    assert sorted(bar.get_height() for bar in bars) == [5.0, 6.0, 15.0, 16.0]
    assert len({patch.get_facecolor() for patch in bars}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dense", "pruned"]
    assert first.get_ylim()[1] > 18.0 and first.get_ylim()[0] == 0


def test_nothing_to_draw_and_too_much_to_draw_are_errors() -> None:
    with pytest.raises(SkipwiseError, match="got 0"):
        quality_bars([])
    bars = [Bar(group="German", system=f"s{i}", value=1.0) for i in range(4)]
    with pytest.raises(SkipwiseError, match="got 4"):
        quality_bars([BarPanel(title="t", axis="a", bars=bars)])


def test_codes_without_a_name_stay_codes() -> None:
    assert display_name("deu") == "German" and display_name("xyz") == "xyz"
    assert display_name("st_fra") == "Translation\ninto French"
