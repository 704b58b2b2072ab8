"""Where a window of a long recording ends, by its own timestamps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from skipwise.decoding import DecodeOptions
from skipwise.decoding.long_form import Cut, RollingAudio, cut_at_last_sentence
from skipwise.errors import SkipwiseError
from skipwise.models.owsm.loading import OwsmModel
from skipwise.pipeline import Transcriber
from tests.tiny import tiny_architecture, tiny_model, tone

RATE = 16_000
WORD = 1550


def tokens_of(*items: float | None) -> list[int]:
    """Timestamps in seconds, and words (None)."""
    first = tiny_architecture().first_timestamp_token_id
    return [WORD if item is None else first + round(item / 0.02) for item in items]


@pytest.mark.parametrize(
    ("items", "num_tokens", "advance_s"),
    [
        ((0.0, None, 9.5), 3, 9.5),
        ((0.0, None, 9.5, 10.0, None, 28.0), 6, 28.0),
        ((0.0, None, 9.5, 10.0, None, 29.02), 3, 10.0),
        ((0.0, None, 9.5, 10.0, None, 29.0), 6, 29.0),
        ((0.0, None, 29.5), 3, 29.5),
        ((0.0, None, 9.5, 10.0, None), 3, 10.0),
        ((0.0, None, None), 3, None),
        ((0.0, None, 0.0), 3, None),
        ((0.0, None, 0.1), 3, None),
        ((0.0, 0.0, 0.0, None, 29.5), 5, None),
        ((None, None), 2, None),
        ((), 0, None),
    ],
    ids=str,
)
def test_sentences_without_a_safe_end_are_left_to_the_next_window(
    items: tuple[float | None, ...], num_tokens: int, advance_s: float | None
) -> None:
    found = cut_at_last_sentence(tokens_of(*items), tiny_architecture())
    assert found.num_tokens == num_tokens
    assert found.advance_s == (None if advance_s is None else pytest.approx(advance_s))
    assert isinstance(found, Cut)


def test_rolling_audio_holds_a_window_and_goes_on_where_it_is_told() -> None:
    samples = np.arange(100, dtype=np.float32)
    audio = RollingAudio(iter(np.array_split(samples, 13)))
    seen = []
    while len(window := audio.window(30)):
        np.testing.assert_array_equal(window, samples[audio.start : audio.start + 30])
        seen.append(audio.start)
        audio.advance(min(len(window), 17))
    assert seen == [0, 17, 34, 51, 68, 85]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OwsmModel:
    """Windows of 3 s, and timestamps that lie within them."""
    model = tiny_model(tmp_path_factory.mktemp("model") / "model", max_window_s=3.0)
    config = model.network.config
    with torch.no_grad():
        bias = model.network.decoder.lm_head.bias
        bias[config.first_timestamp_token_id + 140 : config.last_timestamp_token_id + 1] -= 50.0
        bias[config.first_timestamp_token_id : config.first_timestamp_token_id + 140] += 1.0
    return model


@pytest.mark.parametrize("condition", [False, True])
def test_each_window_begins_where_the_last_sentence_of_the_one_before_ended(model: OwsmModel, condition: bool) -> None:
    recording = np.concatenate([tone(2.4, seed=seed) for seed in range(3)])
    options = DecodeOptions(timestamps=True, max_length_ratio=-14, condition_on_previous=condition)
    following = Transcriber(model, options=replace(options, long_form="timestamps"))
    found = following.transcribe((recording, RATE), language="de")
    whole = Transcriber(model, options=replace(options, condition_on_previous=False))
    ends_s, previous = [0.0], None
    for segment in found.segments:
        assert segment.start_s == pytest.approx(ends_s[-1])
        start = round(segment.start_s * RATE)
        window = recording[start : start + 3 * RATE]
        alone = whole.transcribe((window, RATE), language="de", previous_text=previous).segments[0]
        cut = cut_at_last_sentence(alone.tokens, model.network.config)
        assert segment.tokens == alone.tokens[: cut.num_tokens]
        length_s = len(window) / RATE
        assert segment.end_s - segment.start_s == pytest.approx(min(length_s, cut.advance_s or length_s))
        assert segment.num_prompt_tokens == alone.num_prompt_tokens
        ends_s.append(segment.end_s)
        previous = "".join(sentence.text for sentence in segment.sentences) if condition else None
    assert len(ends_s) > 3 and recording.size / RATE - ends_s[-1] < 0.2
    assert any(round(end_s % 3.0, 3) for end_s in ends_s[1:-1]), "else timestamps decide nothing"
    assert found.timings.audio_s == pytest.approx(ends_s[-1])


def test_long_form_by_timestamps_wants_timestamps() -> None:
    with pytest.raises(SkipwiseError, match="long_form timestamps goes by predicted timestamps: set timestamps"):
        DecodeOptions(long_form="timestamps")
    with pytest.raises(SkipwiseError, match="long_form must be one of quiet, timestamps; got 'loud'"):
        DecodeOptions(long_form="loud")
