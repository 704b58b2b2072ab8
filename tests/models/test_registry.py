"""Families are found by the classes of their models."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models import registry
from skipwise.models.attach import describe_base, network_of
from skipwise.models.family import HeldGates
from skipwise.models.foreign_family import ForeignFamily
from skipwise.models.registry import (
    FamilyEntry,
    family_of,
    gate_family_of,
    held_gates,
    register_family,
    unregister_family,
)
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


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A registry that is what it was afterwards."""
    monkeypatch.setattr(registry, "_KNOWN", dict(registry._KNOWN))
    registry._add_installed.cache_clear()
    yield monkeypatch
    registry._add_installed.cache_clear()


TOY = ForeignFamily("toy", lambda _: None)


@pytest.mark.usefixtures("known")
def test_a_registered_class_and_what_derives_from_it_are_recognised():
    register_family(TOY, nn.Linear)
    assert gate_family_of(_Derived(1, 1)) is gate_family_of(nn.Linear(1, 1)) is TOY
    unregister_family("toy")
    with pytest.raises(SkipwiseError, match="got a Linear"):
        gate_family_of(nn.Linear(1, 1))


@pytest.mark.usefixtures("known")
def test_the_nearest_class_decides():
    register_family(TOY, nn.Linear)
    other = ForeignFamily("other", lambda _: None)
    register_family(other, _Derived)
    assert gate_family_of(_Derived(1, 1)) is other and gate_family_of(nn.Linear(1, 1)) is TOY


@pytest.mark.usefixtures("known")
def test_a_family_without_models_is_an_error():
    with pytest.raises(SkipwiseError, match=r"got none for 'toy'. Call register_family\(family, TheModel\)"):
        register_family(TOY)


@pytest.mark.usefixtures("known")
def test_a_name_that_is_taken_is_an_error_and_can_be_freed():
    register_family(TOY, nn.Linear)
    with pytest.raises(SkipwiseError, match=r"a family 'toy' already.*unregister_family\('toy'\) first"):
        register_family(TOY, nn.Bilinear)
    unregister_family("toy")
    register_family(TOY, nn.Bilinear)


@pytest.mark.usefixtures("known")
def test_a_class_that_is_taken_is_an_error_that_names_both_families():
    with pytest.raises(SkipwiseError, match=r"OwsmNetwork belongs to the family 'owsm' already; 'toy' wants it too"):
        register_family(TOY, type(tiny_network()))
    assert family_of(tiny_network()).name == "owsm"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("family", "said"), [(ForeignFamily, "the class ForeignFamily"), ("toy", "a str")])
def test_what_is_no_family_is_refused(family: Any, said: str):
    with pytest.raises(SkipwiseError, match=rf"derives from GateFamily; got {said}. Call register_family\(TheFamily"):
        unchecked(register_family)(family, nn.Linear)
    assert "toy" not in registry._KNOWN


@pytest.mark.usefixtures("known")
def test_what_is_no_model_class_is_refused():
    with pytest.raises(SkipwiseError, match=r"the classes of its models; got a Linear. Call register_family\(family"):
        unchecked(register_family)(TOY, nn.Linear(1, 1))
    assert "toy" not in registry._KNOWN


@pytest.mark.parametrize(("attribute", "said"), [("Linear", "the class Linear"), ("TOY", "a NoneType")])
def test_an_entry_that_names_no_family_is_one_error(attribute: str, said: str):
    entry = FamilyEntry(model_type="toy", classes=(), module="torch.nn", attribute=attribute)
    with pytest.raises(SkipwiseError, match=f"'toy' must be a GateFamily; got {said} as {attribute} of torch.nn"):
        entry.load()


def unchecked(function: Any) -> Any:
    """What a caller reaches who has no type checker, as the suite's own would refuse the call first."""
    return inspect.unwrap(function)


def test_a_family_that_is_not_there_cannot_be_forgotten():
    with pytest.raises(SkipwiseError, match=r"no family 'toy' to forget. Known: ctc, espnet, owsm, whisper"):
        unregister_family("toy")


def test_a_family_of_an_installed_package_is_found_without_importing_it(
    known: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(known, tmp_path, "ENTRY")
    (tmp_path / "toy_family.py").write_text(
        "from skipwise.models.registry import FamilyEntry\n"
        "ENTRY = FamilyEntry(model_type='toy', classes=('torch.nn.modules.linear.Linear',), "
        "module='families_of_toys', attribute='TOY')\n"
    )
    known.setitem(sys.modules, "families_of_toys", types.SimpleNamespace(TOY=TOY))
    assert gate_family_of(nn.Linear(1, 1)) is TOY


def test_an_installed_family_that_is_broken_is_one_error_that_names_its_package(
    known: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(known, tmp_path, "MISSING")
    (tmp_path / "toy_family.py").write_text("ENTRY = 3\n")
    with pytest.raises(SkipwiseError, match=r"the family 'toy' of the package toy-family cannot be loaded: .*MISSING"):
        gate_family_of(nn.Linear(1, 1))


def test_an_installed_family_must_be_an_entry(known: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _install(known, tmp_path, "ENTRY")
    (tmp_path / "toy_family.py").write_text("ENTRY = 3\n")
    with pytest.raises(SkipwiseError, match=r"'toy' of the package toy-family must name a .*FamilyEntry, got int"):
        gate_family_of(nn.Linear(1, 1))


def _install(patch: pytest.MonkeyPatch, folder: Path, attribute: str) -> None:
    """Make a package known to Python as pip does: its metadata on the path."""
    metadata = folder / "toy_family-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[skipwise.families]\ntoy = toy_family:{attribute}\n")
    patch.delitem(sys.modules, "toy_family", raising=False)
    patch.syspath_prepend(folder)
