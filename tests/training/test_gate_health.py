"""Gates are watched while they learn."""

from __future__ import annotations

import logging

import pytest
import torch

from skipwise.gating import (
    GateConfig,
    LocalPredictorConfig,
    MlpPredictorConfig,
    StaticPredictorConfig,
    TablePredictorConfig,
)
from skipwise.gating.predictors import PredictorConfig
from skipwise.models.attach import attach
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.training.gate_health import GateHealth
from tests.tiny import tiny_network
from tests.training.test_objective import _batch

SCATTERED = MlpPredictorConfig(open_bias=0.0, output_std=1.0)


def _gated(predictor: PredictorConfig = SCATTERED) -> OwsmNetwork:
    network = tiny_network().train()
    torch.manual_seed(0)
    attach(network, GateConfig(scope="both", predictor=predictor))
    return network


def test_gates_that_stay_do_not_flip_and_gates_that_change_do():
    network = _gated()
    health = GateHealth(network, _batch())
    first = health.measure(0.0)
    assert "gate_flips_decoder" not in first and first["gate_plans_decoder"] > 1
    assert health.measure(0.0)["gate_flips_decoder"] == 0.0
    bias = network.get_parameter("gate_adapter.predictors.decoder.output.bias")
    with torch.no_grad():
        bias.copy_(-bias + torch.tensor([0.0, 1.0]).repeat(len(bias) // 2))
    assert 0 < health.measure(0.0)["gate_flips_decoder"] <= 1
    assert network.training, "it goes on as it was"


def test_the_entropy_is_a_bit_where_a_gate_is_a_coin_and_none_where_it_is_decided():
    for bias, expected in ((0.0, 1.0), (30.0, 0.0)):
        network = _gated(StaticPredictorConfig(open_bias=bias, init_std=0.0))
        found = GateHealth(network, _batch()).measure(0.0)
        assert found["gate_entropy_encoder"] == found["gate_entropy_decoder"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("predictor", "problem"),
    [
        (MlpPredictorConfig(open_bias=9.0), "all gates of the decoder are open on the probe, with a target of 0.5"),
        (MlpPredictorConfig(open_bias=-9.0), "all gates of the decoder are closed on the probe"),
        (MlpPredictorConfig(open_bias=9.0), "all 4 rows of the probe follow one plan in the encoder"),
        (LocalPredictorConfig(open_bias=9.0), "all 4 rows of the probe follow one plan in the decoder"),
        (TablePredictorConfig(open_bias=9.0), "all 4 rows of the probe follow one plan in the encoder"),
    ],
)
def test_a_collapse_is_told_once_when_gates_are_no_longer_young(caplog, predictor, problem):
    health = GateHealth(_gated(predictor), _batch())
    with caplog.at_level(logging.WARNING):
        assert health.measure(0.1)["gate_collapse_decoder"] == 0.0 and not caplog.messages
        assert health.measure(0.5)["gate_collapse_decoder"] == 1.0
        assert sum(problem in message for message in caplog.messages) == 1
        told = len(caplog.messages)
        health.measure(0.6)
    assert len(caplog.messages) == told


def test_one_mask_is_no_collapse_for_gates_that_see_nothing(caplog):
    network = _gated(StaticPredictorConfig(open_bias=0.0, init_std=1.0))
    with caplog.at_level(logging.WARNING):
        found = GateHealth(network, _batch()).measure(0.9)
    assert found["gate_plans_decoder"] == 1 and found["gate_collapse_decoder"] == 0.0 and not caplog.messages


def test_gates_that_differ_are_well(caplog):
    with caplog.at_level(logging.WARNING):
        found = GateHealth(_gated(), _batch()).measure(0.9)
    assert found["gate_collapse_encoder"] == found["gate_collapse_decoder"] == 0.0 and not caplog.messages
