from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skipwise.audio import MIN_SAMPLES, SAMPLE_RATE
from skipwise.decoding.windows import AudioWindow, is_silence, quiet_windows
from skipwise.errors import SkipwiseError


def noise(duration_s: float, *, rms: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, rms, round(duration_s * SAMPLE_RATE)).astype(np.float32)


def in_blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


@given(
    num_samples=st.integers(0, 60_000),
    block_size=st.integers(1_000, 30_000),
    max_window_s=st.floats(0.1, 2.0),
    search_s=st.floats(0.01, 3.0),
    seed=st.integers(0, 9),
)
@example(num_samples=4_801, block_size=1_000, max_window_s=0.1, search_s=0.015625, seed=0)  # searches less than a crumb
def test_windows_cover_the_stream_once_and_keep_to_their_size(
    num_samples: int, block_size: int, max_window_s: float, search_s: float, seed: int
) -> None:
    samples = noise(num_samples / SAMPLE_RATE, seed=seed)
    windows = list(quiet_windows(in_blocks(samples, block_size), max_window_s=max_window_s, search_s=search_s))
    most = round(max_window_s * SAMPLE_RATE)
    assert all(len(window.samples) <= most for window in windows)
    assert all(len(window.samples) >= min(MIN_SAMPLES, num_samples) for window in windows)
    np.testing.assert_array_equal(np.concatenate([samples[:0], *(window.samples for window in windows)]), samples)
    ends = [0.0, *(window.end_s for window in windows)]
    assert [window.start_s for window in windows] == ends[:-1]
    assert ends[-1] == num_samples / SAMPLE_RATE
    assert all(window.end_s - window.start_s == pytest.approx(len(window.samples) / SAMPLE_RATE) for window in windows)


@given(num_samples=st.integers(8_000, 8_000 + 2 * MIN_SAMPLES))
def test_around_one_window_no_crumb_is_left(num_samples: int) -> None:
    windows = list(quiet_windows([noise(num_samples / SAMPLE_RATE)], max_window_s=0.5))
    assert len(windows) == (1 if num_samples == 8_000 else 2)
    assert min(len(window.samples) for window in windows) >= MIN_SAMPLES


def test_a_cut_falls_into_the_pause() -> None:
    samples = noise(60)
    for pause_s in (27.0, 52.5):
        samples[round((pause_s - 0.15) * SAMPLE_RATE) : round((pause_s + 0.15) * SAMPLE_RATE)] *= 0.01
    windows = list(quiet_windows(in_blocks(samples, 100_000), max_window_s=30))
    assert [window.end_s for window in windows] == pytest.approx([27.0, 52.5, 60.0], abs=0.06)


def test_a_dip_inside_a_word_loses_against_a_longer_pause() -> None:
    samples = noise(40)
    samples[round(28.0 * SAMPLE_RATE) : round(28.03 * SAMPLE_RATE)] = 0
    samples[round(26.0 * SAMPLE_RATE) : round(26.2 * SAMPLE_RATE)] *= 0.1
    assert next(quiet_windows([samples], max_window_s=30)).end_s == pytest.approx(26.1, abs=0.05)


def test_the_pause_must_lie_in_the_searched_end() -> None:
    samples = noise(40)
    samples[20 * SAMPLE_RATE : 21 * SAMPLE_RATE] = 0
    assert next(quiet_windows([samples], max_window_s=30)).end_s >= 25
    assert next(quiet_windows([samples], max_window_s=30, search_s=12)).end_s == pytest.approx(20.9, abs=0.02)


def test_of_equal_silence_the_latest_point_is_taken() -> None:
    assert next(quiet_windows([np.zeros(40 * SAMPLE_RATE, np.float32)], max_window_s=30)).end_s == 30


def test_a_stream_that_fits_comes_back_whole() -> None:
    (window,) = quiet_windows(in_blocks(noise(30), 7_777), max_window_s=30)
    np.testing.assert_array_equal(window.samples, noise(30))
    assert (window.start_s, window.end_s) == (0, 30)
    (short,) = quiet_windows([noise(0.01)], max_window_s=30)
    assert len(short.samples) == 160
    assert not list(quiet_windows([], max_window_s=30))


def test_only_as_much_is_read_as_a_window_needs() -> None:
    read = []

    def blocks() -> Iterator[np.ndarray]:
        for index in range(1_000):
            read.append(index)
            yield noise(1, seed=index)

    windows = quiet_windows(blocks(), max_window_s=10)
    for _ in range(3):
        window = next(windows)
        assert len(read) <= window.end_s + 12  # a window, what the search puts back, a block
        assert window.samples.base is None  # no view that would keep the stream alive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_window_s": 0.05}, r"max_window_s must be at least 0\.1 s, got 0\.05"),
        ({"max_window_s": float("nan")}, "max_window_s must be at least"),
        ({"max_window_s": 30.0, "search_s": 0.0}, r"search_s must be more than 0 s, got 0\.0"),
    ],
)
def test_impossible_windows_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        quiet_windows([], **options)


def test_silence_is_silence() -> None:
    for silence in (np.zeros(16_000, np.float32), noise(5, rms=3e-4), np.full(16_000, 0.05, np.float32), noise(0)):
        assert is_silence(silence)


def test_one_quiet_word_is_no_silence() -> None:
    samples = np.zeros(30 * SAMPLE_RATE, np.float32)
    samples[-4_000:] = noise(0.25, rms=3e-3)  # -50 dBFS; over the whole window that is -71
    assert not is_silence(samples)
    assert not is_silence(noise(0.03))


def test_a_window_is_a_value() -> None:
    window = AudioWindow(samples=noise(1), start_s=0.0, end_s=1.0)
    with pytest.raises(AttributeError):
        window.start_s = 2.0  # type: ignore[misc]
