"""Plans that layers decide on the way are the plans of the whole utterance."""

from __future__ import annotations

import pytest
import torch

from skipwise.decoding import DecodeOptions, search
from skipwise.gating import AdapterPlanner, Context, GateConfig, GatePlan, LayerPlanner, LocalPredictorConfig
from skipwise.models.attach import attach
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.planned import decoder_gates, encode_planned
from skipwise.models.prompt import prompt_positions
from skipwise.pipeline import Request, Transcriber
from tests.tiny import tiny_model, tiny_network, tone

CONTEXTS = [Context(language="deu", task="asr"), Context(language="fra", task="st_eng"), Context(task="asr")]
AUDIO = [torch.from_numpy(tone(seconds, seed=seed)) for seed, seconds in enumerate((1.3, 0.7, 1.0))]


def _gated(network: OwsmNetwork) -> AdapterPlanner:
    torch.manual_seed(3)
    predictor = LocalPredictorConfig(open_bias=0.0, output_std=2.0)
    return AdapterPlanner(attach(network, GateConfig(scope="both", predictor=predictor)))


def _prompts(network: OwsmNetwork) -> list[list[int]]:
    prompts = [network.config.prompt(str(c.language or "deu"), str(c.task)) for c in CONTEXTS]
    prompts[1] = [network.config.sop_token_id, 1520, 1530, *prompts[1]]
    return prompts


def test_three_positions_from_the_start_on_decide_whatever_is_before():
    tokens = torch.tensor([[7, 8, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 0], [9, 8, 7, 6, 5, 4, 3]])
    marked = prompt_positions(tokens, 1)
    assert marked.int().tolist() == [[0, 0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]]
    assert prompt_positions(torch.tensor([[1]]), 1).tolist() == [[True]]


@torch.inference_mode()
def test_the_plan_that_was_decided_on_the_way_gives_the_same_states_and_logits():
    network = tiny_network()
    planner = _gated(network)
    embedded = network.embed(network.extract(AUDIO))
    encoded, of_encoder = encode_planned(network.encode, planner, CONTEXTS, embedded)
    assert 0.1 < of_encoder.sparsity() < 0.9 and len({of_encoder.key(row) for row in range(3)}) > 1
    torch.testing.assert_close(network.encode(embedded, of_encoder).states, encoded.states, rtol=0, atol=0)
    prompts = _prompts(network)
    of_decoder = decoder_gates(network, planner, CONTEXTS, encoded, prompts)
    assert isinstance(of_decoder, GatePlan) and of_decoder.sites == planner.adapter.sites("decoder")
    first = encoded.select(torch.tensor([0]))
    tokens = torch.tensor([[*prompts[0], 1520, 1525, 1530]])
    on_the_way = planner.decoder(CONTEXTS[:1], first.pooled())
    assert isinstance(on_the_way, LayerPlanner)
    logits = network.decode(tokens, first, on_the_way)
    assert on_the_way.plan().key() == of_decoder.key(0)
    torch.testing.assert_close(logits, network.decode(tokens, first, of_decoder.row(0)), rtol=0, atol=5e-5)


@torch.inference_mode()
def test_a_batch_decides_as_its_rows_do_alone():
    network = tiny_network()
    planner = _gated(network)
    embedded = network.embed(network.extract(AUDIO))
    encoded, of_encoder = encode_planned(network.encode, planner, CONTEXTS, embedded)
    of_decoder = decoder_gates(network, planner, CONTEXTS, encoded, _prompts(network))
    assert isinstance(of_decoder, GatePlan)
    for row in range(3):
        alone = network.embed(network.extract(AUDIO[row : row + 1]))
        own, plan = encode_planned(network.encode, planner, CONTEXTS[row : row + 1], alone)
        assert plan.key() == of_encoder.key(row)
        later = decoder_gates(network, planner, CONTEXTS[row : row + 1], own, _prompts(network)[row : row + 1])
        assert isinstance(later, GatePlan)
        assert later.key() == of_decoder.key(row)


def test_a_transcriber_follows_them_and_says_what_was_skipped(tmp_path):
    model = tiny_model(tmp_path / "model")
    adapter = _gated(model.network).adapter
    transcriber = Transcriber(model, options=DecodeOptions(max_length_ratio=-6))
    audio = (tone(1.2), 16_000)
    known, unknown = transcriber.transcribe_many([Request(audio, "de", "asr"), Request(audio, None, "st_eng")])
    for transcript in (known, unknown):
        [segment] = transcript.segments
        assert segment.plan.sites == (*adapter.sites("encoder"), *adapter.sites("decoder"))
    exactly = Transcriber(model, gates=adapter, sparsity=0.5, exact=True, options=DecodeOptions(max_length_ratio=-6))
    assert exactly.transcribe(audio, language="de").sparsity == pytest.approx({"encoder": 0.5, "decoder": 0.5})


@torch.inference_mode()
def test_the_search_says_the_same_under_the_plan_as_a_fixed_one():
    network = tiny_network()
    planner = _gated(network)
    embedded = network.embed(network.extract(AUDIO))
    encoded, _ = encode_planned(network.encode, planner, CONTEXTS, embedded)
    prompts = [network.config.prompt(str(c.language or "deu"), str(c.task)) for c in CONTEXTS]
    plan = decoder_gates(network, planner, CONTEXTS, encoded, prompts)
    options = DecodeOptions(max_length_ratio=-8)
    found = search(OwsmEngine(network), encoded, prompts, options=options, gates=plan)
    opened = search(OwsmEngine(network), encoded, prompts, options=options, gates=GatePlan.all_open(plan.sites, 3))
    assert [one[0].tokens for one in found] != [one[0].tokens for one in opened]
