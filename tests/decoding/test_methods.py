"""The CTC head's best path, the predicted language, and sentences out of timestamps."""

from __future__ import annotations

import itertools

import pytest
import torch

from skipwise.decoding import DecodeOptions, predict_language, search
from skipwise.decoding.sentences import Sentence, sentences_of
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from tests.tiny import tiny_architecture, tiny_network, tiny_vocabulary, tone


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    network = tiny_network()
    with torch.no_grad():
        network.ctc_head.weight.mul_(4.0)
        network.ctc_head.bias[network.config.pad_token_id] += 8.0
    return network


@pytest.fixture(scope="module")
@torch.no_grad()
def encoded(network: OwsmNetwork) -> SpeechStates:
    waveforms = [torch.tensor(tone(duration_s, seed=i)) for i, duration_s in enumerate((1.4, 0.6))]
    return network.encode(network.embed(network.extract(waveforms)))


@torch.no_grad()
def test_the_best_path_merges_repeats_and_drops_blanks(network: OwsmNetwork, encoded: SpeechStates) -> None:
    found = search(OwsmEngine(network), encoded, [[1], [1]], options=DecodeOptions(method="ctc"))
    for row, (hypothesis,) in enumerate(found):
        log_probs = network.ctc_logits(encoded)[row, : int(encoded.num_frames[row])].log_softmax(dim=-1)
        best = log_probs.argmax(dim=-1).tolist()
        assert hypothesis.tokens == tuple(token for token, _ in itertools.groupby(best) if token != 0)
        assert hypothesis.score == pytest.approx(float(log_probs.amax(dim=-1).sum()), abs=1e-4)
        assert hypothesis.finished
        assert 0 in best and len(hypothesis.tokens) < len(best) and any(a == b for a, b in itertools.pairwise(best))


@torch.no_grad()
def test_a_language_is_as_likely_as_its_token_after_sos(network: OwsmNetwork, encoded: SpeechStates) -> None:
    found = predict_language(OwsmEngine(network), encoded)
    start = torch.full((2, 1), network.config.bos_token_id)
    logits = network.decode(start, encoded)[:, 0]
    tokens = [network.config.language_token_ids[language] for language in network.config.languages]
    assert len(tokens) == 3
    torch.testing.assert_close(found, logits[:, tokens].softmax(dim=-1), rtol=0, atol=1e-6)
    plan = GatePlan.closing(network.config.gate_sites(), ["decoder.1.src_attn"])
    assert float((predict_language(OwsmEngine(network), encoded, plan) - found).abs().max()) > 1e-3


def times(*seconds: float) -> list[int]:
    return [tiny_architecture().first_timestamp_token_id + round(second / 0.02) for second in seconds]


def test_sentences_lie_between_pairs_of_timestamps_and_are_told_in_the_files_time() -> None:
    vocabulary, config = tiny_vocabulary(), tiny_architecture()
    one, two = vocabulary.encode("the report"), vocabulary.encode("today")
    (a, b, c, d) = times(0.5, 1.02, 1.02, 9.0)
    found = sentences_of([a, *one, b, c, *two, d], config, vocabulary, start_s=60.0, end_s=68.0)
    assert found == (
        Sentence(start_s=60.5, end_s=61.02, text=vocabulary.decode(one).strip()),
        Sentence(start_s=61.02, end_s=68.0, text=vocabulary.decode(two).strip()),
    )
    cut = sentences_of([a, *one, b, c, *two], config, vocabulary, start_s=0.0, end_s=5.0)
    assert cut[1] == Sentence(start_s=1.02, end_s=5.0, text=vocabulary.decode(two).strip())
    assert sentences_of([a, b], config, vocabulary, start_s=0.0, end_s=5.0) == ()
    assert sentences_of([], config, vocabulary, start_s=0.0, end_s=5.0) == ()
