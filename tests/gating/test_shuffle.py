"""The planners of the shuffle test: whose input the gates are decided from."""

from __future__ import annotations

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    OPEN_PLANNER,
    AdapterPlanner,
    Context,
    GateAdapter,
    GateConfig,
    GatePlan,
    LocalPredictorConfig,
    MlpPredictorConfig,
    RecordingPlanner,
    ShuffledPlanner,
    TablePredictorConfig,
)
from skipwise.gating.shuffle import followed_adapter

CONTEXTS = [Context(language=language, task=task) for language in ("deu", "fra") for task in ("asr", "st_eng")] * 3
POOLED = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))


def _planner(base, predictor) -> AdapterPlanner:
    torch.manual_seed(0)
    return AdapterPlanner(GateAdapter(GateConfig(predictor=predictor), base).eval())


def _keys(planner, rows=range(12)) -> list[tuple[bool, ...]]:
    plan = planner.decoder([CONTEXTS[row] for row in rows], POOLED[list(rows)])
    assert isinstance(plan, GatePlan)
    return [plan.key(row) for row in range(len(rows))]


def test_recording_changes_nothing_and_keeps_what_was_seen(base):
    planner = _planner(base, MlpPredictorConfig(open_bias=0.0, output_std=1.0))
    recording = RecordingPlanner(planner)
    assert _keys(recording) == _keys(planner)
    assert [donor.context for donor in recording.donors["decoder"]] == CONTEXTS
    assert not recording.donors["encoder"]


def test_speech_of_another_utterance_leaves_a_table_alone_and_changes_gates_that_hear(base):
    for predictor, changes in (
        (TablePredictorConfig(open_bias=0.0, init_std=1.0), False),
        (MlpPredictorConfig(open_bias=0.0, output_std=1.0), True),
    ):
        recording = RecordingPlanner(_planner(base, predictor))
        own = _keys(recording)
        assert (_keys(ShuffledPlanner(recording.planner, recording.donors, "speech")) != own) == changes


@pytest.mark.parametrize(("level", "row_of"), [("language", (2, 3, 0, 1)), ("task", (1, 0, 3, 2))])
def test_a_table_under_another_language_or_task_follows_that_ones_row(base, level, row_of):
    recording = RecordingPlanner(_planner(base, TablePredictorConfig(open_bias=0.0, init_std=1.0)))
    own = _keys(recording)
    assert len(set(own[:4])) == 4
    assert _keys(ShuffledPlanner(recording.planner, recording.donors, level))[:4] == [own[row] for row in row_of]


def test_whose_input_it_is_depends_on_the_seed_and_not_on_the_batch(base):
    recording = RecordingPlanner(_planner(base, MlpPredictorConfig(open_bias=0.0, output_std=1.0)))
    _keys(recording)
    shuffled = ShuffledPlanner(recording.planner, recording.donors, "speech")
    together = _keys(shuffled)
    assert [_keys(shuffled, [row])[0] for row in range(12)] == together
    others = [ShuffledPlanner(recording.planner, recording.donors, "speech", seed=seed) for seed in range(1, 9)]
    assert any(_keys(other) != together for other in others)


def test_where_nobody_can_give_an_input_the_test_says_so(base):
    recording = RecordingPlanner(_planner(base, MlpPredictorConfig()))
    recording.decoder(CONTEXTS[:1], POOLED[:1])
    for level, wanted in (("speech", "this language and task"), ("language", "another language")):
        planner = ShuffledPlanner(recording.planner, recording.donors, level)
        with pytest.raises(SkipwiseError, match=rf"another utterance of {wanted} for each; there is none for deu asr"):
            planner.decoder(CONTEXTS[:1], POOLED[:1])


def test_gates_that_hear_their_own_layer_cannot_be_shuffled(base):
    recording = RecordingPlanner(_planner(base, LocalPredictorConfig()))
    recording.decoder(CONTEXTS, POOLED)
    with pytest.raises(SkipwiseError, match=r"the shuffle test is for gates that are decided before a stack runs"):
        ShuffledPlanner(recording.planner, recording.donors, "speech").decoder(CONTEXTS, POOLED)


def test_the_adapter_behind_a_planner_is_found(base):
    planner = _planner(base, MlpPredictorConfig())
    for one in (planner, RecordingPlanner(planner), ShuffledPlanner(planner, {}, "speech")):
        assert followed_adapter(one) is planner.adapter
    assert followed_adapter(OPEN_PLANNER) is None
