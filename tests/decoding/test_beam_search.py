"""Batched, cached beam search against ESPnet's definition of it (reference.py), which knows neither.

Tolerance 2e-3: sums of some dozens of fp32 log-probabilities, in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skipwise.decoding import DecodeOptions, Hypothesis, search
from skipwise.decoding.ended import EndedHypotheses
from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, GateSite
from skipwise.models.engine.decoder import DecoderGates, PackedDecoder
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from tests.decoding import reference
from tests.tiny import tiny_network, tone

TOLERANCE = 2e-3
CONTEXTS = (("deu", "asr"), ("eng", "st_eng"), ("fra", "asr"))
DURATIONS_S = (1.4, 0.9, 1.0)


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    """A network whose hypotheses end, each in its time, and whose CTC head prefers a few tokens."""
    network = tiny_network()
    with torch.no_grad():
        network.decoder.lm_head.bias[network.config.eos_token_id] += 5.0
        network.ctc_head.weight.mul_(4.0)
        network.ctc_head.bias[network.config.pad_token_id] += 6.0
        network.ctc_head.bias[network.config.last_timestamp_token_id :] += 6.0  # words
    return network


@pytest.fixture(scope="module")
@torch.no_grad()
def encoded(network: OwsmNetwork) -> SpeechStates:
    waveforms = [torch.tensor(tone(duration_s, seed=i)) for i, duration_s in enumerate(DURATIONS_S)]
    return network.encode(network.embed(network.extract(waveforms)))


def prompts_of(network: OwsmNetwork, kind: str = "plain") -> list[list[int]]:
    """A prompt a row; with previous texts they differ in length."""
    previous = {"plain": [None, None, None], "timestamps": [None] * 3, "previous": [None, [1520, 1530], []]}[kind]
    return [
        network.config.prompt(language, task, timestamps=kind == "timestamps", previous=before)
        for (language, task), before in zip(CONTEXTS, previous, strict=True)
    ]


def of_score(tokens: tuple[int, ...], score: float) -> Hypothesis:
    return Hypothesis(tokens=tokens, score=score, finished=True)


def searched(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Sequence[list[int]],
    *,
    options: DecodeOptions,
    gates: DecoderGates = None,
) -> list[list[Hypothesis]]:
    return search(OwsmEngine(network), encoded, prompts, options=options, gates=gates)


def alone(states: SpeechStates, row: int) -> SpeechStates:
    """The row without the padding of its batch."""
    chosen = states.select(torch.tensor([row]))
    return SpeechStates(chosen.states[:, : int(chosen.num_frames)], chosen.num_frames, chosen.num_real_frames)


@torch.no_grad()
def expected(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Sequence[list[int]],
    options: DecodeOptions,
    gates: GatePlan | None = None,
) -> list[list[Hypothesis]]:
    plans = [None if gates is None else gates.row(row) for row in range(len(prompts))]
    return [
        reference.beam_search(network, alone(encoded, row), prompt, options, plan)[: options.nbest]
        for row, (prompt, plan) in enumerate(zip(prompts, plans, strict=True))
    ]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert [[h.tokens for h in row] for row in found] == [[h.tokens for h in row] for row in expected]
    assert [[h.finished for h in row] for row in found] == [[h.finished for h in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert [h.score for h in row] == pytest.approx([h.score for h in other], abs=TOLERANCE)


@pytest.mark.parametrize("kind", ["plain", "previous", "timestamps"])
@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.3])
def test_a_batch_finds_what_the_definition_finds_for_each_row(
    network: OwsmNetwork, encoded: SpeechStates, kind: str, beam_size: int, ctc_weight: float
) -> None:
    if kind == "timestamps" and ctc_weight:
        pytest.skip("the CTC head knows no timestamps")
    nbest = 12 if beam_size > 1 else 1
    options = DecodeOptions(beam_size=beam_size, nbest=nbest, ctc_weight=ctc_weight, max_length_ratio=-10)
    prompts = prompts_of(network, kind)
    found = searched(network, encoded, prompts, options=options)
    assert_same(found, expected(network, encoded, prompts, options))
    lengths = {len(hypothesis.tokens) for row in found for hypothesis in row}
    assert len({tuple(h.tokens for h in row) for row in found}) >= 2 and len(lengths) >= 2, "else this proves little"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_length_ratio": 0.4},
        {"max_length_ratio": 0.0},
        {"max_length_ratio": -8, "min_length_ratio": -3},
        {"max_length_ratio": -8, "min_length_ratio": 0.2},
        {"max_length_ratio": -12, "length_bonus": 1.5, "normalize_length": True},
        {"max_length_ratio": -12, "length_bonus": -1.5},
        {"max_length_ratio": -1},
    ],
    ids=str,
)
def test_length_limits_and_bonuses_are_those_of_the_definition(
    network: OwsmNetwork, encoded: SpeechStates, changes: dict[str, Any]
) -> None:
    options = replace(DecodeOptions(beam_size=3, nbest=9), **changes)
    prompts = prompts_of(network)
    assert_same(searched(network, encoded, prompts, options=options), expected(network, encoded, prompts, options))


@pytest.mark.usefixtures("either_attention")
def test_plans_go_with_their_utterance_through_the_whole_search(network: OwsmNetwork, encoded: SpeechStates) -> None:
    sites = tuple(site for site in network.config.gate_sites() if site.stack == "decoder")
    gates = torch.tensor([[1, 0, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1], [1, 0, 1, 1, 0, 1]]).bool()
    plan, prompts = GatePlan(sites, gates), prompts_of(network)
    options = DecodeOptions(beam_size=3, nbest=5, ctc_weight=0.2, max_length_ratio=-12)
    found = searched(network, encoded, prompts, options=options, gates=plan)
    assert_same(found, expected(network, encoded, prompts, options, plan))
    assert found != searched(network, encoded, prompts, options=options)


@pytest.mark.usefixtures("either_attention")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bits=st.lists(st.booleans(), min_size=18, max_size=18),
    close_first=st.booleans(),
    beam_size=st.sampled_from([1, 3]),
    kind=st.sampled_from(["plain", "previous"]),
)
def test_any_plan_of_any_row_finds_what_it_finds_alone(
    network: OwsmNetwork, encoded: SpeechStates, bits: list[bool], close_first: bool, beam_size: int, kind: str
) -> None:
    """Layer 0's self-attention, from which others read how far they are, is closed in half of the examples."""
    sites = tuple(site for site in network.config.gate_sites() if site.stack == "decoder")
    plan, prompts = GatePlan(sites, torch.tensor(bits).view(3, 6)), prompts_of(network, kind)
    plan.gates[:, sites.index(GateSite("decoder", 0, "self_attn"))] &= not close_first
    options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-8)
    found = searched(network, encoded, prompts, options=options, gates=plan)
    assert_same(found, expected(network, encoded, prompts, options, plan))


def test_a_wider_beam_finds_better_hypotheses_and_nbest_cuts_their_list(
    network: OwsmNetwork, encoded: SpeechStates
) -> None:
    prompts = prompts_of(network)
    greedy, wide, two = (
        search(
            OwsmEngine(network),
            encoded,
            prompts,
            options=DecodeOptions(beam_size=beam, nbest=nbest, max_length_ratio=-10),
        )
        for beam, nbest in ((1, 1), (6, 9), (6, 2))
    )
    assert any(row[0].score > other[0].score + 0.1 for row, other in zip(wide, greedy, strict=True))
    assert all(len(row) == 1 for row in greedy) and all(len(row) > 2 for row in wide)
    assert two == [row[:2] for row in wide]
    for row in wide:
        assert [h.score for h in row] == sorted((h.score for h in row), reverse=True)
        assert len({h.tokens for h in row}) == len(row)


def test_the_ctc_head_changes_what_is_found(network: OwsmNetwork, encoded: SpeechStates) -> None:
    prompts = prompts_of(network)
    without, with_ctc = (
        search(
            OwsmEngine(network),
            encoded,
            prompts,
            options=DecodeOptions(beam_size=4, ctc_weight=weight, max_length_ratio=-10),
        )
        for weight in (0.0, 0.3)
    )
    assert [row[0].tokens for row in without] != [row[0].tokens for row in with_ctc]


def test_what_is_too_short_is_no_hypothesis(network: OwsmNetwork, encoded: SpeechStates) -> None:
    options = DecodeOptions(beam_size=3, max_length_ratio=0.1, min_length_ratio=-9)
    assert searched(network, encoded, prompts_of(network), options=options) == [[], [], []]


def test_a_beam_wider_than_the_vocabulary_is_refused(network: OwsmNetwork, encoded: SpeechStates) -> None:
    with pytest.raises(SkipwiseError, match=r"beam_size must be at most the vocabulary's \d+ tokens, got 9999"):
        searched(network, encoded, prompts_of(network), options=DecodeOptions(beam_size=9999))


def test_the_search_stops_once_its_best_are_decided_and_finds_them_all_the_same(
    network: OwsmNetwork, encoded: SpeechStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, steps = prompts_of(network), []
    usual = PackedDecoder.step
    monkeypatch.setattr(PackedDecoder, "step", lambda *args: steps.append(1) or usual(*args))
    settings: list[dict[str, Any]] = [{}, {"nbest": 3}, {"length_bonus": -0.2, "nbest": 2}]
    for changes in settings:
        options = replace(DecodeOptions(beam_size=4, max_length_ratio=-20), **changes)
        steps.clear()
        found = searched(network, encoded, prompts, options=options)
        num_early = len(steps)
        with monkeypatch.context() as never:
            never.setattr(EndedHypotheses, "is_decided", lambda self, best_live: False)
            steps.clear()
            late = searched(network, encoded, prompts, options=options)
        assert [[h.tokens for h in row] for row in found] == [[h.tokens for h in row] for row in late]
        assert num_early < len(steps) == 20
    steps.clear()
    search(
        OwsmEngine(network),
        encoded,
        prompts,
        options=DecodeOptions(beam_size=4, max_length_ratio=-20, length_bonus=0.1),
    )
    assert len(steps) == 20, "a score that can rise is waited for"


def test_a_decision_waits_for_as_many_as_are_asked_for() -> None:
    ended = EndedHypotheses(DecodeOptions(beam_size=2, nbest=2), num_frames=100, prompt_length=4)
    ended.add(0, of_score((7,), -1.0))
    assert not ended.is_decided(-50.0)
    ended.add(1, of_score((7, 7), -3.0))
    assert ended.is_decided(-3.1) and not ended.is_decided(-3.0) and not ended.is_decided(-2.0)


def test_end_detection_wants_three_hopeless_lengths_in_a_row() -> None:
    """Hypotheses of 4 + 2, 3, 4 tokens in ESPnet's count (prompt and `<eos>`) are looked at 5 steps after their end."""
    ended = EndedHypotheses(DecodeOptions(max_length_ratio=0.0), num_frames=100, prompt_length=4)
    for step, score in ((0, -1.0), (1, -11.5), (2, -12.0), (3, -13.0)):
        ended.add(step, of_score((7,) * step, score))
    assert [step for step in range(15) if ended.is_enough(step)] == [8]
    ended.add(4, of_score((7,) * 4, -10.9))  # not hopeless: 9.9 below the best
    assert not ended.is_enough(9)
    limited = EndedHypotheses(DecodeOptions(max_length_ratio=0.4), num_frames=100, prompt_length=4)
    for step in range(4):
        limited.add(step, of_score((7,) * step, -100.0 * step))
    assert not any(limited.is_enough(step) for step in range(15)), "there is a length limit"
