"""What gates on ESPnet's models do where there is no ESPnet; with it, tests/interop/native tests them."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

import pytest
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models.espnet.network import espnet_network
from tests.tiny import tiny_network

without_espnet = pytest.mark.skipif(find_spec("espnet2") is not None, reason="ESPnet is installed")


@without_espnet
def test_training_without_espnet_is_one_clear_error() -> None:
    with pytest.raises(SkipwiseError, match=r'pip install "skipwise\[espnet\]"'):
        importlib.import_module("skipwise.training.espnet.task")


@without_espnet
def test_attaching_imports_nothing_of_espnet() -> None:
    assert espnet_network(tiny_network()) is None and espnet_network(nn.Linear(2, 2)) is None
    assert not [name for name in sys.modules if name.startswith("espnet")]


def test_a_class_of_espnets_name_is_known_by_where_it_comes_from() -> None:
    elsewhere = type("ESPnetS2TModel", (nn.Module,), {"__module__": "somewhere.else"})
    assert espnet_network(elsewhere()) is None
    other = type("ESPnetS2TModel", (nn.Module,), {"__module__": "espnet2.s2t.espnet_model"})
    with pytest.raises(
        SkipwiseError, match=r"gates go on an OWSM \(v3.1, v4\) in ESPnet; this model has NoneType as enc"
    ):
        espnet_network(other())
