"""Greedy search against plain recomputation; tolerances are fp32 noise: other batch sizes use other kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from skipwise.decoding import DecodeOptions, Hypothesis, search
from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from tests.projections import counted_projections
from tests.tiny import tiny_network, tone

NOISE = 2e-4
CONTEXTS = (("deu", "asr"), ("eng", "st_eng"), ("fra", "asr"), ("deu", "st_eng"))
DURATIONS_S = (1.4, 0.9, 2.0, 1.6)


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    return tiny_network()


@torch.no_grad()
def encoded_by(network: OwsmNetwork) -> SpeechStates:
    waveforms = [torch.tensor(tone(duration_s, seed=i)) for i, duration_s in enumerate(DURATIONS_S)]
    return network.encode(network.embed(network.extract(waveforms)))


def prompts_of(network: OwsmNetwork) -> Tensor:
    return torch.tensor([network.config.prompt(language, task) for language, task in CONTEXTS])


def greedy_search(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Tensor,
    *,
    options: DecodeOptions,
    gates: GatePlan | None = None,
) -> list[Hypothesis]:
    """The only hypothesis of each row."""
    found = search(OwsmEngine(network), encoded, prompts.tolist(), options=options, gates=gates)
    assert [len(hypotheses) for hypotheses in found] == [1] * len(prompts)
    return [hypotheses[0] for hypotheses in found]


def mixed_plan(network: OwsmNetwork) -> GatePlan:
    """A plan a row, all different; in one site only the first row is open, another is closed everywhere."""
    sites = tuple(site for site in network.config.gate_sites() if site.stack == "decoder")
    gates = torch.tensor([[1, 0, 1, 1, 1, 1], [0, 0, 1, 0, 1, 1], [1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1]]).bool()
    return GatePlan(sites, gates)


def one_row(states: SpeechStates, row: int) -> SpeechStates:
    """The row alone, without the padding of its batch."""
    chosen = states.select(torch.tensor([row]))
    length = int(chosen.num_frames)
    return SpeechStates(chosen.states[:, :length], chosen.num_frames, chosen.num_real_frames)


@torch.no_grad()
def recomputed(
    network: OwsmNetwork, encoded: SpeechStates, prompt: Tensor, *, limit: int, gates: GatePlan | None
) -> Hypothesis:
    """One row by recomputing the whole prefix for each token: ESPnet's definition, without a cache."""
    config, prefix, score = network.config, prompt[None], 0.0
    for _ in range(limit):
        log_probs = network.decode(prefix, encoded, gates)[0, -1].log_softmax(dim=-1)
        allowed = log_probs.clone()
        if config.no_timestamps_token_id in prompt.tolist():
            allowed[config.first_timestamp_token_id : config.last_timestamp_token_id + 1] = -math.inf
        token = int(allowed.argmax())
        score += float(log_probs[token])
        if token == config.eos_token_id:
            return Hypothesis(tokens=tuple(prefix[0, len(prompt) :].tolist()), score=score, finished=True)
        prefix = torch.cat([prefix, torch.tensor([[token]])], dim=1)
    return Hypothesis(tokens=tuple(prefix[0, len(prompt) :].tolist()), score=score, finished=False)


def assert_same(found: Hypothesis, expected: Hypothesis) -> None:
    assert found.tokens == expected.tokens
    assert found.finished == expected.finished
    assert found.score == pytest.approx(expected.score, abs=NOISE * (1 + len(expected.tokens)))


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("window_s", [None, 30.0])
def test_cached_search_of_a_batch_finds_what_recomputing_each_row_alone_finds(
    planned: bool, window_s: float | None
) -> None:
    network = tiny_network(window_s=window_s)
    encoded, prompts = encoded_by(network), prompts_of(network)
    plan = mixed_plan(network) if planned else None
    options = DecodeOptions(max_length_ratio=0.4 if window_s is None else -12)
    found = greedy_search(network, encoded, prompts, options=options, gates=plan)
    for row, hypothesis in enumerate(found):
        alone = one_row(encoded, row)
        gates = None if plan is None else plan.row(row)
        limit = options.max_tokens(alone.states.shape[1])
        assert_same(hypothesis, recomputed(network, alone, prompts[row], limit=limit, gates=gates))
    assert len({hypothesis.tokens for hypothesis in found}) >= 3, "else the rows prove nothing"


@torch.no_grad()
@pytest.mark.parametrize("planned", [False, True])
def test_incremental_logits_are_the_full_ones(network: OwsmNetwork, planned: bool) -> None:
    encoded, prompts = encoded_by(network), prompts_of(network)
    tokens = torch.cat([prompts, torch.randint(1500, 1580, (4, 40), generator=torch.Generator().manual_seed(1))], dim=1)
    plan, decoder = mixed_plan(network) if planned else None, OwsmEngine(network).decoder
    state = decoder.start(encoded, plan)
    pieces = [tokens[:, :4], *tokens[:, 4:].split(1, dim=1)]
    states = torch.cat([decoder.states(piece[:, None], state)[:, 0] for piece in pieces], dim=1)
    full = network.decode(tokens, encoded, plan)
    torch.testing.assert_close(decoder.logits(states), full, rtol=0, atol=NOISE)
    if planned:
        assert (full - network.decode(tokens, encoded)).abs().max() > 1.0


def test_a_plan_changes_the_search_and_the_open_plan_does_not(network: OwsmNetwork) -> None:
    encoded, prompts, options = encoded_by(network), prompts_of(network), DecodeOptions()
    dense = greedy_search(network, encoded, prompts, options=options)
    opened = GatePlan.all_open(network.config.gate_sites())
    assert greedy_search(network, encoded, prompts, options=options, gates=opened) == dense
    assert greedy_search(network, encoded, prompts, options=options, gates=mixed_plan(network)) != dense


def test_a_plan_of_one_row_serves_every_row_and_one_of_two_is_refused(network: OwsmNetwork) -> None:
    encoded, prompts, options = encoded_by(network), prompts_of(network), DecodeOptions()
    row = mixed_plan(network).row(1)
    shared = greedy_search(network, encoded, prompts, options=options, gates=row)
    assert shared == greedy_search(network, encoded, prompts, options=options, gates=row.expand(4))
    with pytest.raises(SkipwiseError, match=r"one row or one per utterance \(4\); got 2"):
        greedy_search(network, encoded, prompts, options=options, gates=row.expand(2))


def test_a_branch_that_is_closed_for_all_rows_is_never_run(network: OwsmNetwork) -> None:
    options = DecodeOptions(max_length_ratio=-7)
    engine, prompts = OwsmEngine(network), prompts_of(network).tolist()
    with counted_projections(engine.decoder) as counts:
        found = search(engine, encoded_by(network), prompts, options=options, gates=mixed_plan(network))
    assert max(len(hypotheses[0].tokens) for hypotheses in found) == 7
    assert {name: len(rows) for (layer, name), rows in counts.items() if layer == 0} == {
        "self_attn.qkv": 7,
        "self_attn.out": 7,
        "ffn.inner": 7,
        "ffn.out": 7,
        **dict.fromkeys(("src_attn.query", "src_attn.key", "src_attn.value", "src_attn.out"), 0),
    }


def test_each_row_has_the_length_limit_of_its_own_frames(network: OwsmNetwork) -> None:
    encoded, prompts = encoded_by(network), prompts_of(network)
    for options in (DecodeOptions(), DecodeOptions(max_length_ratio=0), DecodeOptions(max_length_ratio=-3)):
        found = greedy_search(network, encoded, prompts, options=options)
        assert not any(hypothesis.finished for hypothesis in found)
        limits = [options.max_tokens(frames) for frames in encoded.num_frames.tolist()]
        assert [len(hypothesis.tokens) for hypothesis in found] == limits


def test_a_row_ends_at_eos_and_the_others_go_on_as_before() -> None:
    network = tiny_network()
    encoded, prompts, options = encoded_by(network), prompts_of(network), DecodeOptions()
    free = greedy_search(network, encoded, prompts, options=options)
    # the token that some rows say early and others late plays <eos>
    network.config.eos_token_id = eos = free[1].tokens[4]
    ended = greedy_search(network, encoded, prompts, options=options)
    for row, (before, after) in enumerate(zip(free, ended, strict=True)):
        cut = before.tokens.index(eos) if eos in before.tokens else len(before.tokens)
        assert after.tokens == before.tokens[:cut]
        assert after.finished == (eos in before.tokens)
        limit = options.max_tokens(int(encoded.num_frames[row]))
        assert_same(after, recomputed(network, one_row(encoded, row), prompts[row], limit=limit, gates=None))
    assert len({len(hypothesis.tokens) for hypothesis in ended}) > 2


def test_timestamps_are_suppressed_after_a_prompt_that_says_so_and_scores_stay_those_of_the_whole_vocabulary() -> None:
    network = tiny_network()
    config = network.config
    with torch.no_grad():
        network.decoder.lm_head.bias[config.first_timestamp_token_id : config.last_timestamp_token_id + 1] += 9.0
    encoded, prompts = encoded_by(network), prompts_of(network)
    found = greedy_search(network, encoded, prompts, options=DecodeOptions())
    times = range(config.first_timestamp_token_id, config.last_timestamp_token_id + 1)
    assert not any(token in times for hypothesis in found for token in hypothesis.tokens)
    for row, hypothesis in enumerate(found):
        alone = one_row(encoded, row)
        limit = DecodeOptions().max_tokens(alone.states.shape[1])
        assert_same(hypothesis, recomputed(network, alone, prompts[row], limit=limit, gates=None))
    assert found[0].score / len(found[0].tokens) < -9.0
