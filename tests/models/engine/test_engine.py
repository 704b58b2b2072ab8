"""The engine in every precision, and shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from skipwise.decoding import DecodeOptions, Hypothesis, search
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.precision import DTYPES, Dtype
from tests.models.test_precision import needs_x86
from tests.tiny import tiny_network, tone

DURATIONS_S = (1.4, 0.9, 1.0)
OPTIONS = DecodeOptions(beam_size=3, nbest=2, max_length_ratio=-12)


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    return tiny_network()


def features_of(network: OwsmNetwork) -> SpeechStates:
    return network.extract([torch.tensor(tone(duration_s, seed=i)) for i, duration_s in enumerate(DURATIONS_S)])


def searched(engine: OwsmEngine, plan: GatePlan | None = None) -> list[list[Hypothesis]]:
    encoded = engine.encode(engine.embed(features_of(engine.network)), plan and plan.of_stack("encoder"))
    prompts = [engine.config.prompt("deu", "asr")] * len(DURATIONS_S)
    return search(engine, encoded, prompts, options=OPTIONS, gates=plan and plan.of_stack("decoder"))


@needs_x86
@torch.inference_mode()
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_precision_computes_nearly_the_same(network: OwsmNetwork, dtype: Dtype) -> None:
    """Relative to the largest value: what is left of 24, 11, 8 and 7 bits after two layers of random weights."""
    engine = OwsmEngine(network, dtype)
    encoded = engine.encode(engine.embed(features_of(network)))
    expected = network.encode(network.embed(features_of(network)))
    bound = {"fp32": 1e-5, "fp16-packed": 2e-3, "bf16": 0.1, "int8": 0.1}[dtype]
    for row, length in enumerate(expected.num_frames.tolist()):
        difference = (encoded.states[row, :length].float() - expected.states[row, :length]).abs().max()
        assert float(difference) <= bound * float(expected.states[row, :length].abs().max())
    tokens = torch.tensor([network.config.prompt("deu", "asr")] * 3)
    state = engine.decoder.start(SpeechStates(encoded.states, encoded.num_frames, encoded.num_real_frames))
    logits, full = engine.decoder.step(tokens[:, None], state)[:, 0].float(), network.decode(tokens, expected)[:, -1]
    assert float((logits - full).abs().max()) <= bound * float(full.abs().max())
    assert dtype == "fp32" or not torch.equal(logits, full)


@needs_x86
def test_packed_weights_find_what_fp32_finds(network: OwsmNetwork) -> None:
    plan = GatePlan.closing(network.config.gate_sites(), ["encoder.1.cgmlp", "decoder.0.self_attn"])
    for gates in (None, plan):
        found, expected = (searched(OwsmEngine(network, dtype), gates) for dtype in ("fp16-packed", "fp32"))
        assert [[h.tokens for h in row] for row in found] == [[h.tokens for h in row] for row in expected]


def test_an_engine_does_not_follow_later_changes_of_fused_weights() -> None:
    network = tiny_network()
    engine = OwsmEngine(network)
    before = searched(engine)
    with torch.no_grad():
        network.get_parameter("decoder.layers.0.self_attn.attention.k_proj.weight").zero_()
    assert searched(engine) == before
    assert searched(OwsmEngine(network)) != before


def test_threads_with_different_plans_get_what_each_gets_alone(network: OwsmNetwork) -> None:
    engine, sites = OwsmEngine(network), network.config.gate_sites()
    plans = [
        None,
        GatePlan.closing(sites, ["decoder.0.self_attn", "encoder.0.ffn1"]),
        GatePlan.closing(sites, ["decoder.1.src_attn", "decoder.0.ffn", "encoder.1.self_attn"]),
    ]
    alone = [searched(engine, plan) for plan in plans]
    assert len({str(found) for found in alone}) == len(plans)
    together: dict[int, list[list[Hypothesis]]] = {}
    start = threading.Barrier(2 * len(plans))

    def run(place: int) -> Callable[[], None]:
        def work() -> None:
            start.wait()
            for _ in range(3):
                together[place] = searched(engine, plans[place % len(plans)])

        return work

    threads = [threading.Thread(target=run(place)) for place in range(2 * len(plans))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[place] for place in range(2 * len(plans))] == alone * 2
