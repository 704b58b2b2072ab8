"""Engines of one network in several precisions."""

from __future__ import annotations

import platform

import pytest

from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.precision import DTYPES, Dtype
from tests.tiny import tiny_network

needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="packed weights are x86 only")


@needs_x86
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_encoder_that_computes_the_same_is_shared(dtype: Dtype) -> None:
    network = tiny_network()
    first = OwsmEngine(network, "fp32")
    beside = OwsmEngine(network, dtype, beside=[first])
    shared = [one is other for one, other in zip(first.encoder_layers, beside.encoder_layers, strict=True)]
    assert shared == [dtype in ("fp32", "fp16-packed")] * len(shared)
    assert OwsmEngine(tiny_network(), "fp32", beside=[first]).encoder_layers[0] is not first.encoder_layers[0]
