"""Windows that are spoken when a step needs them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import torch

from skipwise.corpus.settings import preset
from skipwise.models.owsm.front_end import OwsmFrontEnd
from skipwise.pipeline import Transcriber
from skipwise.training.run import train
from skipwise.training.sources import SpokenWindows, spoken_texts
from tests.tiny import tone

pytest.importorskip("espeakng_loader")


def spoken(**changes: Any) -> SpokenWindows:
    settings: dict[str, Any] = {
        "num_steps": 3,
        "windows_a_step": 2,
        "max_window_s": 12.0,
        "many_share": 0.7,
        "front_end": OwsmFrontEnd(bins=80, min_frames=8),
        "seed": 1,
    }
    return SpokenWindows(preset("tiny"), **settings | changes)


@pytest.fixture(scope="module")
def source() -> SpokenWindows:
    return spoken()


def test_a_step_is_the_same_whoever_speaks_it_and_whatever_was_spoken_before(source: SpokenWindows) -> None:
    windows = source.windows(2)
    assert len(windows) == 2 and source.num_steps == 3 and source.num_sentences is None
    other = pickle.loads(pickle.dumps(source))
    assert other.windows(2) == windows != other.windows(1)
    assert torch.equal(other.features(windows[1]), source.features(windows[1]))
    assert spoken(seed=2).windows(2) != windows


def test_a_window_holds_whole_sentences_of_its_recording(source: SpokenWindows) -> None:
    for window in (*source.windows(0), *source.windows(1)):
        recording = source.recording(window)
        first, last = recording.utterances[window.first], recording.utterances[window.last]
        assert recording.start_s <= window.start_s <= first.start_s < last.start_s + last.duration_s <= window.end_s
        assert abs(source.features(window).shape[0] - (round(window.duration_s * 100) + 1)) <= 1
        for sentence in recording.utterances:
            assert sentence.reference("asr") and sentence.reference("st_eng")


def test_windows_are_counted_without_being_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training process counts them at every step; those beside it speak them."""
    source = spoken()
    monkeypatch.setattr(source, "_spoken", lambda number: pytest.fail(f"window {number} is spoken"))
    assert [source.num_windows(step) for step in range(3)] == [2, 2, 2]


def test_texts_are_those_that_are_spoken(source: SpokenWindows) -> None:
    texts = set(spoken_texts(preset("tiny"), 2))
    for number in (0, 1):
        window = source.windows(0)[number]
        said = [
            sentence.reference(task) for sentence in source.recording(window).utterances for task in ("asr", "st_eng")
        ]
        assert set(said) <= texts


def test_a_model_is_trained_on_the_spot_by_a_process_beside(base_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipwise.training.start._TEXTS_OF", 40)
    monkeypatch.setattr("skipwise.training.sources._MEASURED", 4)
    config = base_config(
        model={"vocabulary_size": 120},
        data={"root": "nowhere", "languages": ["de", "fr", "it"], "on_the_spot": "tiny", "max_window_s": 8},
        optimisation={"max_steps": 2, "batch_s": 16, "eval_utterances": 0, "save_steps": 2},
    )
    folder = train(config)
    summary = json.loads((config.output / "summary.json").read_text())
    assert summary["num_utterances"] is None and [line["loss"] for line in summary["history"] if "loss" in line]
    assert Transcriber(folder).transcribe((tone(1.0), 16_000), language="it").language == "ita"
