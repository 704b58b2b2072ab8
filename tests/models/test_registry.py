"""Families are found by the classes of their models."""

from __future__ import annotations

import pytest
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models import registry
from skipwise.models.attach import describe_base, network_of
from skipwise.models.family import HeldGates
from skipwise.models.registry import FamilyEntry, family_of, held_gates, register_family
from tests.tiny import tiny_network


class _Derived(nn.Linear):
    """A class of somebody else's model."""


def test_a_network_belongs_to_its_family_and_is_described_by_it():
    network = tiny_network()
    family = family_of(network)
    assert family.name == "owsm"
    assert network_of(network) is network
    base, described = describe_base(network), family.describe(network)
    assert (base.family, base.sites, base.languages) == ("owsm", described.sites, described.languages)
    assert isinstance(held_gates(network), HeldGates) and held_gates(network).gate_adapter is None


def test_a_model_of_no_family_is_one_clear_error():
    with pytest.raises(SkipwiseError, match=r"gates go on one of .*OwsmNetwork.*; got a Linear.*register_family"):
        family_of(nn.Linear(1, 1))


def test_a_registered_class_and_what_derives_from_it_are_recognised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    module = "skipwise.models.owsm.family"
    register_family(FamilyEntry(model_type="toy", classes=(f"{nn.Linear.__module__}.Linear",), module=module))
    assert family_of(_Derived(1, 1)) is family_of(tiny_network())
