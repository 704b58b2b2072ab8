"""Dense and pruned take turns on the same batches."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.compare import Comparison, compare, differences
from skipwise.evaluation.run import evaluate
from skipwise.pipeline import Transcriber

Pair = tuple[Transcriber, Transcriber]


@pytest.fixture(scope="module")
def comparison(transcribers: Pair, utterances: Sequence[Utterance]) -> Comparison:
    return compare(*transcribers, utterances, ("asr", "st_eng"), batch_s=4.0)


def test_both_systems_saw_the_same_and_said_what_they_say_alone(
    comparison: Comparison, transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    keys = [[(row.id, row.task) for row in side.rows] for side in (comparison.dense, comparison.pruned)]
    assert keys[0] == keys[1] and len(keys[0]) == 15
    alone = evaluate(transcribers[1], utterances, ("asr", "st_eng"), batch_s=4.0)
    assert [row.hypothesis for row in alone.rows] == [row.hypothesis for row in comparison.pruned.rows]
    assert [r.hypothesis for r in alone.rows] != [r.hypothesis for r in comparison.dense.rows]


def test_systems_take_turns_after_a_warm_up(
    monkeypatch: pytest.MonkeyPatch, transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    order: list[str] = []
    plain = Transcriber.transcribe_many

    def logged(self: Transcriber, *args: Any, **kwargs: Any) -> Any:
        order.append("dense" if self is transcribers[0] else "pruned")
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Transcriber, "transcribe_many", logged)
    found = compare(*transcribers, utterances[:3], ["asr"], batch_s=0.1)
    assert order == ["dense", "pruned", "dense", "pruned", "pruned", "dense", "dense", "pruned"]
    assert len(found.turns) == 3 and len(found.dense.rows) == 3


def test_the_ratio_of_times_is_the_median_over_batches(comparison: Comparison) -> None:
    def slower(row: Any, factor: float) -> Any:
        return replace(row, timings=replace(row.timings, decoder_s=row.timings.decoder_s * factor))

    factors = [0.25 + 0.5 * (i % 2) for i in range(len(comparison.turns))]
    turns = tuple(
        replace(turn, pruned=tuple(slower(row, factor) for row in turn.dense))
        for turn, factor in zip(comparison.turns, factors, strict=True)
    )
    ratio = replace(comparison, turns=turns).time_ratio("decoder")
    assert ratio is not None and ratio.interval is not None
    assert 0.25 <= ratio.interval.low <= ratio.median <= ratio.interval.high <= 0.75
    assert ratio.interval.low < ratio.interval.high and ratio.num_batches == len(turns) > 4
    same = replace(comparison, turns=tuple(replace(turn, pruned=turn.dense) for turn in comparison.turns))
    unchanged = same.time_ratio("total", "asr")
    assert unchanged is not None and unchanged.median == 1 and unchanged.num_batches < len(turns)
    assert same.time_ratio("total", "st_deu") is None


def test_the_record_holds_both_sides_their_differences_and_ratios(comparison: Comparison) -> None:
    record = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert record["dense"]["settings"]["gates"] == "none" and record["pruned"]["settings"]["gates"] == "adapter"
    for group, of in (("asr", "wer"), ("st_eng", "bleu"), ("st_eng", "chrf")):
        found = record["differences"]["per_task"][group][of]
        sides = [record[side]["per_task"][group][of] for side in ("dense", "pruned")]
        assert found["absolute"] == pytest.approx(sides[1] - sides[0])
        low, high = found["absolute_interval"]
        assert low <= found["absolute"] <= high
    assert record["differences"]["per_language_task"]["fra"]["asr"]["bleu"] is None
    assert record["time_ratios"]["per_task"]["asr"]["decoder"]["median"] > 0


def test_evaluations_of_other_utterances_cannot_be_paired(
    comparison: Comparison, transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    other = evaluate(transcribers[0], utterances[:3], ["asr"])
    with pytest.raises(SkipwiseError, match=r"paired on the same utterances.*15 and 3 rows"):
        differences(comparison.dense, other)


def test_evaluations_are_paired_by_utterance_whatever_their_order(comparison: Comparison) -> None:
    shuffled = replace(comparison.pruned, rows=comparison.pruned.rows[::-1])
    assert differences(comparison.dense, shuffled) == differences(comparison.dense, comparison.pruned)
    assert differences(comparison.dense, shuffled)["all"]["chrf"]["absolute"] != 0
