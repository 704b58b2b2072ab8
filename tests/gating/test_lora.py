"""Low-rank changes as values, and as a file of the adapter."""

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter, GateConfig, LoraWeights

TENSORS = {"decoder.a.lora_A": torch.randn(2, 4), "decoder.a.lora_B": torch.randn(3, 2)}


def test_a_change_is_the_scaled_product_of_its_matrices():
    weights = LoraWeights.of_tensors(TENSORS, scaling=0.5)
    expected = 0.5 * TENSORS["decoder.a.lora_B"] @ TENSORS["decoder.a.lora_A"]
    torch.testing.assert_close(weights.delta("decoder.a"), expected)
    assert weights.tensors().keys() == TENSORS.keys()


def test_matrices_without_a_partner_or_of_another_rank_are_named():
    with pytest.raises(SkipwiseError, match=r"come in pairs, <layer>.lora_A and .lora_B; see decoder.a.lora_B"):
        LoraWeights.of_tensors({"decoder.a.lora_A": torch.randn(2, 4)}, scaling=1.0)
    with pytest.raises(SkipwiseError, match=r"matrices of decoder.a do not fit together: A \(2, 4\), B \(3, 5\)"):
        LoraWeights.of_tensors(TENSORS | {"decoder.a.lora_B": torch.randn(3, 5)}, scaling=1.0)


def test_an_adapter_carries_its_changes_in_its_folder(base, tmp_path):
    lora = LoraWeights.of_tensors(TENSORS, scaling=0.5)
    GateAdapter(GateConfig(), base, lora=lora).save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates").lora
    assert loaded is not None and loaded.scaling == 0.5
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in loaded.tensors().items())
    GateAdapter(GateConfig(), base).save_pretrained(tmp_path / "gates")
    assert GateAdapter.from_pretrained(tmp_path / "gates").lora is None
    assert not (tmp_path / "gates" / "gate_lora.safetensors").exists()


def test_a_missing_file_of_changes_is_named(base, tmp_path):
    GateAdapter(GateConfig(), base, lora=LoraWeights.of_tensors(TENSORS, scaling=1.0)).save_pretrained(tmp_path / "g")
    (tmp_path / "g" / "gate_lora.safetensors").unlink()
    with pytest.raises(SkipwiseError, match=r"cannot read .*gate_lora.safetensors"):
        GateAdapter.from_pretrained(tmp_path / "g")
