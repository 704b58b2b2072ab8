"""What is made of seconds beside ESPnet: which is over which, and of what the whole is the sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from skipwise.experiments.bench.espnet_agreement import _compared
from skipwise.experiments.bench.espnet_ratios import ratios_to_espnet
from skipwise.experiments.bench.espnet_works import HALF_BOTH, HALF_DECODER, PrunedRow
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.timing import Rounds
from skipwise.gating import GatePlan
from tests.tiny import tiny_network

SETTINGS = BenchSettings(dtypes=("fp32", "int8"), beam_sizes=(1,), audio_s=(10,))


def decoder(token: float, whole: float) -> dict[str, float]:
    return {"decoder": whole, "first": whole - 10 * token, "token": token}


@pytest.fixture(scope="module")
def ratios() -> dict[str, Any]:
    sites = tiny_network().config.gate_sites()
    half = GatePlan.closing(sites, ["decoder.0.ffn", "decoder.1.ffn", "decoder.1.src_attn"])
    both = GatePlan(sites, torch.zeros(1, len(sites), dtype=torch.bool))
    rows = [PrunedRow(how=HALF_DECODER, plan=half, notes={}), PrunedRow(how=HALF_BOTH, plan=both, notes={})]
    rounds = []
    for drift in (1.0, 2.0, 4.0):  # the machine slows down: ratios are those of each round
        works = {
            "espnet, encoder": {"encoder": 12.0},
            "fp32, encoder": {"encoder": 6.0},
            "fp32, half of both, encoder": {"encoder": 3.0},
            "int8, encoder": {"encoder": 4.0},
            "int8, half of both, encoder": {"encoder": 2.0},
            "espnet, beam 1": decoder(8.0, 88.0),
            "espnet once, beam 1": decoder(4.0, 48.0),
            "fp32, beam 1": decoder(2.0, 24.0),
            "fp32, half of the decoder, beam 1": decoder(1.0, 12.0),
            "int8, beam 1": decoder(1.0, 11.0),
            "int8, half of the decoder, beam 1": decoder(0.5, 5.0),
            "espnet, to <eos>, beam 1": decoder(8.0, 80.0),
            "espnet once, to <eos>, beam 1": decoder(4.0, 40.0),
            "fp32, to <eos>, beam 1": decoder(2.0, 20.0),
            "int8, to <eos>, beam 1": decoder(1.0, 10.0),
        }
        rounds.append({work: {part: drift * s for part, s in parts.items()} for work, parts in works.items()})
    return ratios_to_espnet(Rounds.of(rounds), SETTINGS, rows)


def test_a_ratio_is_how_many_times_as_long_espnet_takes(ratios: dict[str, Any]) -> None:
    found = ratios["ratios"]
    assert found["fp32, beam 1"]["espnet, token"] == {"median": 4.0, "low": 4.0, "high": 4.0}
    assert found["fp32, beam 1"]["espnet once, token"]["median"] == 2.0
    assert found["int8, beam 1"]["espnet, decoder"]["median"] == 8.0
    half = found["fp32, half of the decoder, beam 1"]
    assert (half["espnet, token"]["median"], half["dense, token"]["median"]) == (8.0, 2.0)
    assert found["fp32, to <eos>, beam 1"]["espnet once, decoder"]["median"] == 2.0
    assert found["fp32, encoder"]["espnet"]["median"] == 2.0
    assert found["int8, half of both, encoder"]["espnet"]["median"] == 6.0
    assert found["int8, half of both, encoder"]["dense"]["median"] == 2.0


def test_the_whole_is_encoder_and_decoder_of_the_same_row(ratios: dict[str, Any]) -> None:
    found = ratios["whole_ratios"]
    assert found["fp32, beam 1"]["espnet"]["median"] == pytest.approx((12 + 88) / (6 + 24))
    assert found["fp32, half of the decoder, beam 1"]["espnet"]["median"] == pytest.approx((12 + 88) / (6 + 12))
    assert found["fp32, half of both, beam 1"]["espnet once"]["median"] == pytest.approx((12 + 48) / (3 + 12))
    assert found["int8, to <eos>, beam 1"]["espnet"]["median"] == pytest.approx((12 + 80) / (4 + 10))


def test_lists_agree_where_the_same_tokens_stand_at_the_same_place() -> None:
    expected = [[1, 2, 3], [4, 5], [6]]
    same = {"same": 3, "of": 3, "first_tokens_of_best": 3, "tokens_of_best": 3}
    assert _compared(expected, expected) == same
    assert _compared([[1, 2, 9], [6], [6], [7]], expected) == same | {"same": 1, "of": 4, "first_tokens_of_best": 2}
