"""Works that take turns, on a clock that is made up."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from skipwise.experiments.bench.timing import Rounds, take_turns


def test_works_take_turns_forwards_and_backwards_and_the_warm_up_does_not_count() -> None:
    ran: list[str] = []

    def work(name: str) -> Mapping[str, float]:
        ran.append(name)
        return {"s": float(len(ran))}

    told: list[int] = []
    rounds = take_turns(
        {"a": lambda: work("a"), "b": lambda: work("b"), "c": lambda: work("c")},
        rounds=2,
        on_round=lambda: told.append(1),
    )
    assert ran == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert rounds.seconds == {"a": {"s": [6.0, 7.0]}, "b": {"s": [5.0, 8.0]}, "c": {"s": [4.0, 9.0]}}
    assert len(told) == 3


def test_a_ratio_is_taken_round_by_round_so_that_drift_cancels() -> None:
    rounds = Rounds({"slow": {"s": [2.0, 20.0, 200.0]}, "fast": {"s": [1.0, 10.0, 100.0]}})
    ratio = rounds.ratio("slow", "fast", "s")
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 2.0, 2.0)
    uneven = Rounds({"slow": {"s": [2.0, 3.0, 4.0, 5.0]}, "fast": {"t": [1.0, 1.0, 1.0, 1.0]}})
    ratio = uneven.ratio("slow", "fast", "s", fast_part="t")
    assert (ratio.low, ratio.median, ratio.high) == (2.75, 3.5, 4.25)


def test_medians_and_all_seconds_are_written_down() -> None:
    rounds = Rounds({"a": {"s": [3.0, 1.0, 2.0]}, "b": {"s": [5.0]}})
    assert rounds.median_s("a", "s") == 2.0
    record = rounds.to_dict()
    assert record["a"]["s"] == {"median_s": 2.0, "quartiles_s": [1.5, 2.5], "seconds": [3.0, 1.0, 2.0]}
    assert record["b"]["s"]["quartiles_s"] == [5.0, 5.0]


def test_rounds_of_different_numbers_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Rounds({"a": {"s": [1.0, 2.0]}, "b": {"s": [1.0]}}).ratio("a", "b", "s")


def test_parts_of_works_add_up_round_by_round() -> None:
    rounds = Rounds({"encoder": {"s": [1.0, 2.0]}, "decoder": {"t": [10.0, 20.0]}})
    both = rounds.with_sums({"whole": [("encoder", "s"), ("decoder", "t")]})
    assert both.seconds["whole"] == {"total": [11.0, 22.0]} and both.seconds["encoder"] == rounds.seconds["encoder"]
    assert both.ratio("whole", "encoder", "total", fast_part="s").median == 11.0
