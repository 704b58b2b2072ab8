"""The conformance suite sees what it is there for: each identity is broken in the family of docs/new_family.md."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch

from skipwise.errors import SkipwiseError
from tests.conformance.new_family_page import FAMILY_CODE, case_of, murmur

FFN = 'hidden = add_branch(hidden, lambda h, rows: layer["ffn"](h), gate_of(own, "ffn"))'
ENTRY = 'gates = stack_gates(gates, "encoder", hidden, len(self.encoder))'
BROKEN = {
    "gates round on the way": (
        ENTRY,
        f"hidden = hidden if gates is None else hidden * (1 + 1e-6)\n        {ENTRY}",
        "test_all_open_is_the_base_model_bit_for_bit",
    ),
    "a branch that runs whatever its gate says": (
        FFN,
        'hidden = hidden + layer["ffn"](hidden)',
        "test_a_closed_site_is_not_executed_and_the_others_are",
    ),
    "a bias behind the gate": (
        FFN,
        f'{FFN}\n            bias = layer["ffn"].norm.bias\n'
        '            hidden = hidden + bias * (type(own.get("ffn")).__name__ == "ScaledGate")',
        "test_multiplied_by_hard_gates_is_skipped",
    ),
    "a cache that forgets": ("memory.get(index)", "None", "test_incremental_is_full"),
    "a convolution that hears padding": ("(hidden * mask[..., None])", "hidden", "test_batch_is_single"),
    "attention that looks at padding": ("key_padding_mask=unheard, ", "", "test_batch_is_single"),
    "a fingerprint of nothing": ("return network.base_state()", "return {}", "test_an_adapter_refuses_another_base"),
}


def run(code: str, name: str) -> None:
    """One test of the suite, on a family of this code."""
    with murmur(code), torch.no_grad():
        names = case_of()
        case: Any = names["MurmurCase"]()
        more: dict[str, Any] = {
            "test_multiplied_by_hard_gates_is_skipped": {"seed": 0},
            "test_incremental_is_full": {"chunking": "one by one", "record_property": print},
            "test_batch_is_single": {"record_property": print},
        }.get(name, {})
        getattr(names["TestMurmur"](), name)(case=case, model=case.build(), **more)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_family_that_breaks_an_identity_is_seen(broken: str) -> None:
    sound, unsound, name = BROKEN[broken]
    assert FAMILY_CODE.count(sound) == 1
    run(FAMILY_CODE, name)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(FAMILY_CODE.replace(sound, unsound), name)


def test_without_pytest_the_suite_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "skipwise.testing")
    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(SkipwiseError, match=r'needs pytest. Install it: pip install "skipwise\[testing\]"'):
        importlib.import_module("skipwise.testing")
