"""The shuffle test on a tiny model with random gates."""

from __future__ import annotations

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.evaluation.run import evaluate
from skipwise.evaluation.shuffle import recorded, shuffle_test, shuffled
from skipwise.gating import GateAdapter, GateConfig, TablePredictorConfig
from skipwise.models.attach import describe_base
from skipwise.pipeline import Transcriber
from tests.evaluation.conftest import OPTIONS


def _plans(evaluation) -> dict[tuple[str, str], list[tuple[bool, ...]]]:
    return {(row.id, row.task): [plan.key() for plan in row.plans] for row in evaluation.rows}


def test_own_input_is_the_plain_evaluation_and_another_ones_is_not(transcribers, utterances):
    _, pruned = transcribers
    found = shuffle_test(pruned, utterances, ["asr", "st_eng"], "speech", seed=3)
    plain = evaluate(pruned, utterances, ["asr", "st_eng"], seed=3)
    assert _plans(found.own) == _plans(plain) != _plans(found.shuffled)
    record = found.to_dict()
    assert set(record) == {"own", "shuffled", "differences"} and record["differences"]["all"]["wer"] is not None
    assert record["shuffled"]["settings"]["gates"] == "adapter, its input shuffled by speech"


def test_a_shuffled_system_computes_in_the_same_precision(transcribers):
    _, pruned = transcribers
    usual = Transcriber(pruned.model, gates=pruned.planner, options=OPTIONS).engine.dtype
    other = "bf16" if usual != "bf16" else "fp32"
    system = Transcriber(pruned.model, gates=pruned.planner, dtype=other, options=OPTIONS)
    recording, planner = recorded(system)
    assert recording.engine.dtype == shuffled(system, planner.donors, "speech").engine.dtype == other


def test_gates_that_do_not_hear_are_untouched_by_speech_and_follow_the_other_task(transcribers, utterances):
    dense, _ = transcribers
    torch.manual_seed(0)
    predictor = TablePredictorConfig(open_bias=0.0, init_std=1.0)
    adapter = GateAdapter(GateConfig(predictor=predictor), describe_base(dense.model.network)).eval()
    table = Transcriber(dense.model, gates=adapter, options=OPTIONS)
    speech = shuffle_test(table, utterances, ["asr", "st_eng"], "speech")
    assert _plans(speech.own) == _plans(speech.shuffled)
    assert [row.hypothesis for row in speech.own.rows] == [row.hypothesis for row in speech.shuffled.rows]
    task = shuffle_test(table, utterances, ["asr", "st_eng"], "task")
    own, other = _plans(task.own), _plans(task.shuffled)
    for (name, one), plan in other.items():
        assert plan == own[name, {"asr": "st_eng", "st_eng": "asr"}[one]] if (name, "st_eng") in own else True
    assert own != other


def test_without_gates_there_is_nothing_to_shuffle(transcribers, utterances):
    with pytest.raises(SkipwiseError, match=r"this model runs without an adapter. Name one with gates"):
        shuffle_test(transcribers[0], utterances, ["asr"], "speech")


def test_one_task_alone_cannot_be_shuffled_by_task(transcribers, utterances):
    with pytest.raises(SkipwiseError, match=r"another utterance of another task for each; there is none"):
        shuffle_test(transcribers[1], utterances, ["asr"], "task")
