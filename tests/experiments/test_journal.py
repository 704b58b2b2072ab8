"""What a benchmark notes while it measures, and goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.journal import Journal, read_lines
from skipwise.experiments.bench.timing import take_turns

HEADER = {"settings": {"rounds": 4}, "machine": {"cores": 2}}


def test_a_killed_measurement_loses_the_round_that_was_running(tmp_path: Path) -> None:
    place, ran = tmp_path / "out" / "espnet.part.jsonl", list[str]()
    most = 7  # works: the warm-up and two rounds of two, and one of the third

    def work(name: str) -> Mapping[str, float]:
        if len(ran) == most:
            raise KeyboardInterrupt
        ran.append(name)
        return {"s": float(len(ran))}

    works = {"a": lambda: work("a"), "b": lambda: work("b")}
    with pytest.raises(KeyboardInterrupt):
        take_turns(works, rounds=4, kept=Journal(place, HEADER).rounds("10 s"))
    with place.open("a") as file:
        file.write('{"key": "10 s", "val')  # killed while writing
    most = 99
    rounds = take_turns(works, rounds=4, kept=Journal(place, HEADER).rounds("10 s"))
    assert rounds.seconds["a"]["s"][:2] == [4.0, 5.0] and rounds.seconds["b"]["s"][:2] == [3.0, 6.0]
    assert len(rounds.seconds["a"]["s"]) == 4
    assert len(ran) == 7 + 2 + 4, "a warm-up and the two rounds that were missing"
    again = take_turns(works, rounds=4, kept=Journal(place, HEADER).rounds("10 s"))
    assert again.seconds == rounds.seconds and len(ran) == 13, "what is done is not run again, warm-up included"
    assert take_turns(works, rounds=1, kept=Journal(place, HEADER).rounds("30 s")).seconds["a"]["s"] != [4.0]


def test_notes_of_something_else_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "espnet.part.jsonl"
    Journal(place, HEADER).add("10 s", {"a": {"s": 1.0}})
    with pytest.raises(SkipwiseError, match=r"part\.jsonl was begun with other machine\. Go on there as before"):
        Journal(place, {**HEADER, "machine": {"cores": 4}})
    with pytest.raises(SkipwiseError, match=r"rounds of 10 s were begun with other works: b\. Remove"):
        take_turns({"a": dict, "b": dict}, rounds=2, kept=Journal(place, HEADER).rounds("10 s"))
    assert read_lines(tmp_path / "none") == []
