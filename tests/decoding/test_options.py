"""What may be asked of decoding, and what each option means for one length of speech."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest

from skipwise.decoding.options import DecodeOptions
from skipwise.errors import SkipwiseError, SkipwiseWarning


@pytest.mark.parametrize(
    ("ratio", "num_frames", "expected"),
    [
        (0.4, 100, 40),
        (0.4, 99, 39),
        (0.4, 2, 1),
        (0.001, 10, 1),
        (1.5, 10, 15),
        (5, 10, 50),
        (0, 37, 37),
        (-1, 50, 1),
        (-5, 50, 5),
    ],
)
def test_the_most_tokens_follow_espnets_maxlenratio(ratio: float, num_frames: int, expected: int) -> None:
    assert DecodeOptions(max_length_ratio=ratio).max_tokens(num_frames) == expected


@pytest.mark.parametrize("ratio", [-0.5, -2.5, 5.5, 50, 1e308, math.nan, math.inf])
def test_a_length_ratio_that_means_nothing_is_refused(ratio: float) -> None:
    with pytest.raises(SkipwiseError, match="max_length_ratio must be tokens per encoder frame"):
        DecodeOptions(max_length_ratio=ratio)


@pytest.mark.parametrize(("ratio", "num_frames", "expected"), [(0, 100, 0), (0.1, 99, 9), (0.5, 3, 1), (-7, 3, 7)])
def test_the_fewest_tokens_follow_espnets_minlenratio(ratio: float, num_frames: int, expected: int) -> None:
    assert DecodeOptions(min_length_ratio=ratio, max_length_ratio=0).min_tokens(num_frames) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_length_ratio": -0.5}, r"min_length_ratio must be .* 0 for none, or minus a whole number .* got -0.5"),
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"nbest": -1}, "nbest must be at least 1, got -1"),
        ({"nbest": 3}, "greedy search finds one hypothesis, got nbest 3. Set beam_size to as many"),
        ({"method": "ctc", "beam_size": 2}, "the method ctc takes the one best path: leave beam_size, nbest and"),
        ({"method": "ctc", "ctc_weight": 0.3}, "the method ctc takes the one best path"),
        (
            {"min_length_ratio": 0.5, "max_length_ratio": 0.4},
            "min_length_ratio asks for more than max_length_ratio allows: 0.5 and 0.4. Lower",
        ),
        ({"min_length_ratio": -50, "max_length_ratio": -20}, "min_length_ratio asks for more .* -50 and -20"),
        ({"ctc_weight": 1.0}, r"ctc_weight must be in \[0, 1\), got 1.0. For the CTC head alone use the method ctc"),
        ({"ctc_weight": -0.1}, r"ctc_weight must be in \[0, 1\), got -0.1"),
        ({"method": "greedy"}, "method must be one of attention, ctc; got 'greedy'"),
        ({"length_bonus": math.nan}, "length_bonus must be a finite number, got nan"),
        ({"timestamps": True, "ctc_weight": 0.3}, "the CTC head knows no timestamps: use the method attention"),
        ({"timestamps": True, "method": "ctc"}, "the CTC head knows no timestamps: use the method attention"),
    ],
    ids=str,
)
def test_an_option_that_means_nothing_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        DecodeOptions(**given)


def test_translation_by_the_ctc_head_alone_is_refused_and_with_some_of_it_is_warned_of() -> None:
    with pytest.raises(SkipwiseError, match=r"writes down the source language, so the method ctc cannot do .* st_eng"):
        DecodeOptions(method="ctc").check_task("st_eng")
    with pytest.warns(SkipwiseWarning, match=r"ctc_weight 0.3 draws the task st_eng towards untranslated text. Use 0"):
        DecodeOptions(ctc_weight=0.3).check_task("st_eng")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DecodeOptions(ctc_weight=0.3).check_task("asr")
        DecodeOptions(method="ctc").check_task("asr")
        DecodeOptions().check_task("st_eng")


def test_a_limit_that_nobody_chose_leaves_unpadded_windows_a_token_a_frame() -> None:
    nobody, somebody = DecodeOptions(), DecodeOptions(max_length_ratio=0.3)
    assert nobody.for_windows(padded=True).max_tokens(100) == nobody.max_tokens(100) == 40
    assert nobody.for_windows(padded=False).max_tokens(100) == 100
    assert somebody.for_windows(padded=False) is somebody


def test_the_fewest_tokens_are_held_against_the_limit_that_suits_the_model() -> None:
    many = DecodeOptions(min_length_ratio=0.5)
    assert many.for_windows(padded=False).min_tokens(100) == 50
    with pytest.raises(SkipwiseError, match=r"more than max_length_ratio allows: 0.5 and 0.4"):
        many.for_windows(padded=True)
