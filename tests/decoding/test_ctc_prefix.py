"""CTC prefix scores against the sum over all paths, one by one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from skipwise.decoding.ctc_prefix import LOG_ZERO, CtcPrefixScorer
from skipwise.features import SpeechStates
from skipwise.models.owsm.network import OwsmNetwork
from tests.tiny import tiny_architecture

BLANK, A, B, EOS = range(4)
PROMPT = [EOS, EOS, EOS]
"""Counts as output, so that the first two frames cannot emit."""
LENGTHS = (7, 5)


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = OwsmNetwork(tiny_architecture(vocab_size=4, pad_token_id=BLANK, eos_token_id=EOS))
        network.ctc_head.weight.data.normal_(std=0.3)
    return network.eval()


@pytest.fixture(scope="module")
def encoded() -> SpeechStates:
    """Two rows of 7 and 5 frames; beyond its end the second one holds what must not be heard."""
    states = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))
    states[1, 5:] = 100.0
    return SpeechStates(states, torch.tensor(LENGTHS), torch.tensor(LENGTHS))


@torch.no_grad()
def log_probs(network: OwsmNetwork, encoded: SpeechStates, row: int) -> Tensor:
    return network.ctc_logits(encoded)[row, : LENGTHS[row]].double().log_softmax(dim=-1)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != BLANK)


def summed(log_probs_TV: Tensor, prefix: tuple[int, ...], *, exactly: bool, silent_before: int) -> float:
    """The log-probability of all paths that spell something beginning with `prefix`, or spell it and no more."""
    total = 0.0
    for path in itertools.product(range(4), repeat=len(log_probs_TV)):
        spelled = collapsed(path)
        if any(token != BLANK for token in path[:silent_before]):
            continue
        if spelled == prefix if exactly else spelled[: len(prefix)] == prefix:
            total += math.exp(sum(float(log_probs_TV[t, token]) for t, token in enumerate(path)))
    return math.log(total) if total else -math.inf


@torch.no_grad()
@pytest.mark.parametrize("silent_before", [len(PROMPT) - 1, 0], ids=["the prompt counts", "the prompt is skipped"])
@pytest.mark.parametrize("text", [(A,), (A, B), (A, A), (B, A, A), (B, A, B)])
def test_prefix_scores_are_sums_over_all_paths(
    network: OwsmNetwork, encoded: SpeechStates, text: tuple[int, ...], silent_before: int
) -> None:
    scorer = CtcPrefixScorer.of(network, encoded, len(PROMPT) - 1 - silent_before)

    def summed_over_paths(of_row: Tensor, prefix: tuple[int, ...], *, exactly: bool = False) -> float:
        return summed(of_row, prefix, exactly=exactly, silent_before=silent_before)

    state, prefix = scorer.start(), torch.tensor([PROMPT, PROMPT])[:, None]
    totals = torch.zeros(2, dtype=torch.float64)
    for position, token in enumerate(text):
        candidates = torch.tensor([[[B, A]], [[B, A]]])
        step = scorer.step(state, prefix, candidates)
        for row in (0, 1):
            of_row = log_probs(network, encoded, row)
            so_far = text[:position]
            before = 0.0 if not so_far else summed_over_paths(of_row, so_far)
            for next_token in (A, B):
                expected = summed_over_paths(of_row, (*so_far, next_token)) - before
                found = float(step.scores[row, 0, next_token])
                assert found == pytest.approx(expected, abs=1e-5) or (expected == -math.inf and found < LOG_ZERO / 2)
            if so_far:
                ending = summed_over_paths(of_row, so_far, exactly=True) - before
                assert float(step.scores[row, 0, EOS]) == pytest.approx(ending, abs=1e-5)
            assert float(step.scores[row, 0, BLANK]) < LOG_ZERO / 2
        chosen = torch.tensor([[token], [token]])
        totals += step.scores[:, 0, token].double()
        state = step.follow(torch.zeros(2, 1, dtype=torch.long), chosen)
        prefix = torch.cat([prefix, chosen[..., None]], dim=2)
    assert torch.isfinite(totals).all()


@torch.no_grad()
def test_states_follow_their_beams_and_utterances(network: OwsmNetwork, encoded: SpeechStates) -> None:
    scorer = CtcPrefixScorer.of(network, encoded)
    prefix, candidates = torch.tensor([[PROMPT], [PROMPT]]), torch.tensor([[[A, B]], [[B, A]]])
    step = scorer.step(scorer.start(), prefix, candidates)
    both = step.follow(torch.zeros(2, 2, dtype=torch.long), torch.tensor([[B, A], [A, B]]))
    kept, second = both.keep(torch.tensor([1])), torch.tensor([1])
    longer = torch.tensor([[[*PROMPT, A], [*PROMPT, B]]])
    found = scorer.keep(second).step(kept, longer, torch.tensor([[[A, B], [A, B]]]))
    for beam, token in enumerate((A, B)):
        alone = step.follow(torch.zeros(2, 1, dtype=torch.long), torch.tensor([[token], [token]])).keep(second)
        expected = scorer.keep(second).step(alone, longer[:, beam : beam + 1], torch.tensor([[[A, B]]]))
        torch.testing.assert_close(found.scores[:, beam], expected.scores[:, 0], rtol=0, atol=1e-9)
    assert float((found.scores[0, 0, [A, B]] - found.scores[0, 1, [A, B]]).abs().min()) > 1e-3


@torch.no_grad()
def test_a_text_longer_than_the_speech_scores_next_to_nothing(network: OwsmNetwork, encoded: SpeechStates) -> None:
    scorer = CtcPrefixScorer.of(network, encoded)
    prefix = torch.full((2, 1, 12), A)
    step = scorer.step(scorer.start(), prefix, torch.full((2, 1, 1), B))
    assert float(step.scores[..., B].max()) < LOG_ZERO / 2


@torch.no_grad()
def test_the_heads_log_probabilities_are_the_same_token_by_token(network: OwsmNetwork, encoded: SpeechStates) -> None:
    whole = network.ctc_logits(encoded).log_softmax(dim=-1)
    tokens = torch.tensor([[B, A], [EOS, BLANK]])
    some = network.ctc_logits_of(encoded, tokens) - network.ctc_log_normalizer(encoded)[:, None]
    for row in (0, 1):
        torch.testing.assert_close(some[row], whole[row][:, tokens[row]].T, rtol=0, atol=1e-5)
