"""Steps by replays: on a CPU the same work in place runs uncaptured. On a GPU these tests capture it."""

from __future__ import annotations

import gc

import pytest
import torch

from skipwise.decoding import DecodeOptions, Hypothesis, search
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.engine.branches import Source
from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.engine.graphs import BufferPool, GraphedState, StepBuffers
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from tests.tiny import tiny_network, tone

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def network() -> OwsmNetwork:
    return tiny_network().to(DEVICE)


@pytest.fixture(scope="module")
@torch.no_grad()
def encoded(network: OwsmNetwork) -> SpeechStates:
    return network.encode(network.embed(network.extract([torch.tensor(tone(1.2)).to(DEVICE)])))


def searched(
    network: OwsmNetwork,
    encoded: SpeechStates,
    plan: GatePlan | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    pool: BufferPool | None,
    beam_size: int,
) -> list[Hypothesis]:
    """A search by replays where there is a pool, else the usual one."""
    engine = OwsmEngine(network)
    options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-90)

    def start(decoder: PackedDecoder, encoded: SpeechStates, gates: GatePlan | None = None) -> GraphedState:
        assert pool is not None
        return GraphedState(Source.of(encoded), gates, pool, len(decoder.layers))

    with monkeypatch.context() as patch:
        if pool is not None:
            patch.setattr(PackedDecoder, "start", start)
        return search(engine, encoded, [network.config.prompt("deu", "asr")], options=options, gates=plan)[0]


def pool_of(network: OwsmNetwork) -> BufferPool:
    return BufferPool(OwsmEngine(network).decoder.layers)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize(
    "closed", [None, [], ["decoder.0.self_attn"], ["decoder.1.src_attn", "decoder.0.ffn"], ["decoder.0.src_attn"]]
)
def test_replays_find_what_the_usual_steps_find(
    network: OwsmNetwork,
    encoded: SpeechStates,
    closed: list[str] | None,
    beam_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than 64 positions: a second graph of self-attention takes over."""
    plan = None if closed is None else GatePlan.closing(network.config.gate_sites(), closed)
    found = searched(network, encoded, plan, monkeypatch, pool=pool_of(network), beam_size=beam_size)
    expected = searched(network, encoded, plan, monkeypatch, pool=None, beam_size=beam_size)
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-2)
    assert max(len(h.tokens) for h in found) == 90


def test_a_closed_branch_is_not_replayed(
    network: OwsmNetwork, encoded: SpeechStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed: set[tuple[int, str]] = set()
    usual = StepBuffers.run

    def run(buffers: StepBuffers, layer: int, kind: str, length: int) -> None:
        replayed.add((layer, kind))
        usual(buffers, layer, kind, length)

    monkeypatch.setattr(StepBuffers, "run", run)
    plan = GatePlan.closing(network.config.gate_sites(), ["decoder.1.src_attn", "decoder.0.ffn"])
    searched(network, encoded, plan, monkeypatch, pool=pool_of(network), beam_size=1)
    assert replayed == {(0, "self_attn"), (0, "src_attn"), (1, "self_attn"), (1, "ffn")}


def test_buffers_are_lent_to_one_search_and_serve_the_next(
    network: OwsmNetwork, encoded: SpeechStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(network)
    plans = [None, GatePlan.closing(network.config.gate_sites(), ["decoder.0.self_attn"])]
    made: list[StepBuffers] = []
    usual = StepBuffers.__init__
    monkeypatch.setattr(StepBuffers, "__init__", lambda self, *args: made.append(self) or usual(self, *args))
    for plan in (*plans, *plans):
        found = searched(network, encoded, plan, monkeypatch, pool=pool, beam_size=3)
        expected = searched(network, encoded, plan, monkeypatch, pool=None, beam_size=3)
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        gc.collect()
    # 94 positions outgrow the first ones
    assert [buffers.size.num_positions for buffers in made] == [64, 256]


@torch.no_grad()
def test_a_text_longer_than_the_buffers_goes_on_in_larger_ones(network: OwsmNetwork, encoded: SpeechStates) -> None:
    decoder = OwsmEngine(network).decoder
    states = [
        GraphedState(Source.of(encoded), None, BufferPool(decoder.layers), len(decoder.layers)),
        decoder.start(encoded),
    ]
    tokens = torch.randint(1512, 1580, (1, 1, 150), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    assert encoded.states.shape[1] < 40, "the first buffers have room for 64 or 128 positions"
    found, expected = (
        torch.stack([decoder.step(tokens[..., i : i + 1], state) for i in range(150)]) for state in states
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)
