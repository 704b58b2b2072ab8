"""The search against the n-best lists that ESPnet 202511 wrote for tiny random checkpoints: tests/golden/oracle.

The weights are drawn again, without ESPnet. Each group is decoded as one batch; ESPnet took one clip at a time.
What the differences were when the file was made: results/oracle/full.json.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from skipwise.decoding.ctc_greedy import ctc_greedy
from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.language import predict_language
from skipwise.features import SpeechStates
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import OwsmModel
from tests.interop.agreement import Tally, Theirs
from tests.interop.checkpoints import TINY, Checkpoint
from tests.interop.golden import Golden
from tests.interop.matrix import LONG_BEFORE, LONG_OPTIONS, LONG_S, Group, Options, clips_of, long_clip, matrix
from tests.interop.skipwise_side import decode, decode_long, drawn_model, encode

by_checkpoint = pytest.mark.parametrize("checkpoint", TINY, ids=lambda checkpoint: checkpoint.name)


@cache
def golden() -> Golden:
    return Golden.load()


@cache
def model_of(checkpoint: Checkpoint) -> tuple[OwsmModel, SpeechStates]:
    """A checkpoint's model and its clips, encoded."""
    built = golden().checkpoints[checkpoint.name]
    model = drawn_model(checkpoint, built["shapes"], built["checksum"])
    return model, encode(model.network, clips_of(checkpoint))


def kept(checkpoint: Checkpoint) -> list[tuple[Group, list[list[Theirs]]]]:
    """A checkpoint's groups with what ESPnet said, those of a few hundred steps left to `make oracle`."""
    groups = zip(matrix("full").groups, golden().groups, strict=True)
    return [(group, lists) for group, lists in groups if lists is not None and group.checkpoint == checkpoint]


def compared(checkpoint: Checkpoint, group: Group, lists: list[list[Theirs]]) -> Tally:
    """What skipwise says to a group, compared with `lists`."""
    (model, encoded), tally = model_of(checkpoint), Tally()
    found = decode(model, encoded, group.options, group.rows)
    for row, ours, theirs in zip(group.rows, found, lists, strict=True):
        tally.add(f"{group.options} {row}", ours, theirs)
    return tally


@by_checkpoint
def test_nbest_lists_are_those_of_espnet(checkpoint: Checkpoint) -> None:
    num_hypotheses = num_ties = 0
    for group, lists in kept(checkpoint):
        tally = compared(checkpoint, group, lists)
        tally.check()
        num_hypotheses, num_ties = num_hypotheses + tally.num_hypotheses, num_ties + tally.num_ties
    assert num_ties <= 0.01 * num_hypotheses


@by_checkpoint
def test_a_change_of_an_option_shows(checkpoint: Checkpoint) -> None:
    changes: tuple[tuple[float, dict[str, Any]], ...] = (
        (0.3, {"ctc_weight": 0.29}),
        (0.0, {"penalty": 0.01}),
        (0.0, {"beam_size": 3, "nbest": 3}),
    )
    for ctc_weight, change in changes:
        group, lists = next(
            (group, lists)
            for group, lists in kept(checkpoint)
            if group.options == Options(beam_size=5, nbest=5, maxlenratio=-40.0, ctc_weight=ctc_weight)
        )
        changed = replace(group, options=replace(group.options, **change))
        with pytest.raises(AssertionError, match="differences from ESPnet"):
            compared(checkpoint, changed, lists).check()


@by_checkpoint
def test_what_espnet_said_is_worth_comparing(checkpoint: Checkpoint) -> None:
    for group, lists in kept(checkpoint):
        best = [row[0].tokens for row in lists if row]
        assert len(set(best)) > 1 or len(best) < 2, group.options
        scores = [theirs.score for row in lists for theirs in row]
        assert len(set(scores)) > 0.9 * len(scores), group.options
    everything = [theirs for _, lists in kept(checkpoint) for row in lists for theirs in row]
    assert sum(theirs.finished for theirs in everything) > 0.3 * len(everything)
    assert not all(theirs.finished for theirs in everything)
    assert len({token for theirs in everything for token in theirs.tokens}) > 50


@by_checkpoint
def test_languages_are_as_likely_as_espnet_says(checkpoint: Checkpoint) -> None:
    model, encoded = model_of(checkpoint)
    theirs = golden().heads[checkpoint.name]["languages"]
    languages = model.network.config.languages
    expected = torch.tensor([[row[f"<{language}>"] for language in languages] for row in theirs])
    torch.testing.assert_close(predict_language(OwsmEngine(model.network), encoded), expected, rtol=0, atol=1e-5)
    assert expected.std(dim=0).max() > 0.01


@by_checkpoint
def test_the_best_ctc_path_is_that_of_espnet(checkpoint: Checkpoint) -> None:
    model, encoded = model_of(checkpoint)
    found = [list(hypothesis.tokens) for hypothesis in ctc_greedy(model.network, encoded)]
    assert found == golden().heads[checkpoint.name]["ctc"]
    assert any(found)


@pytest.mark.parametrize(("name", "initial_text"), [("alone", None), ("conditioned", LONG_BEFORE)])
def test_a_long_recording_becomes_espnets_sentences(name: str, initial_text: str | None) -> None:
    (checkpoint,) = matrix("full").long_form
    model, _ = model_of(checkpoint)
    found = decode_long(model, long_clip(), options=LONG_OPTIONS, language="fra", initial_text=initial_text)
    said = golden().long_form[checkpoint.name]
    # ESPnet's may end after the recording does, and may have no words
    expected = [[min(start_s, LONG_S), min(end_s, LONG_S), text] for start_s, end_s, text in said[name] if text]
    assert found == expected
    assert len(expected) > 1
    assert said["alone"] != said["conditioned"]


def test_one_token_too_many_is_a_difference_and_a_swap_of_equals_a_tie() -> None:
    ours = [_ours((1, 2), -3.0), _ours((1, 3), -3.0005)]
    same, tied, wrong = Tally(), Tally(), Tally()
    same.add("same", ours, [Theirs((1, 2), -3.0, True), Theirs((1, 3), -3.0005, True)])
    tied.add("tied", ours, [Theirs((1, 3), -3.0, True), Theirs((1, 2), -3.0005, True)])
    wrong.add("wrong", ours, [Theirs((1, 3), -2.0, True), Theirs((1, 2), -3.0, True)])
    assert (same.num_ties, same.differences) == (0, [])
    assert (tied.num_ties, tied.differences) == (2, [])
    assert len(wrong.differences) == 2


def _ours(tokens: tuple[int, ...], score: float) -> Hypothesis:
    return Hypothesis(tokens=tokens, score=score, finished=True)
