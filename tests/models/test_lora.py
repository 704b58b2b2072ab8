"""Low-rank changes on a network, and off again."""

from __future__ import annotations

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter, GateConfig, LoraWeights
from skipwise.models.attach import attach, describe_base, detach
from skipwise.models.lora import changed_copy
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.pipeline import Transcriber
from tests.tiny import tiny_model, tiny_network, tone

LAYERS = {"decoder.layers.0.ffn.fc1": (48, 32), "encoder.layers.1.self_attn.attention.q_proj": (32, 32)}


def _lora(layers=LAYERS) -> LoraWeights:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, (outputs, inputs) in layers.items():
        tensors[f"{name}.lora_A"] = torch.randn(2, inputs, generator=generator)
        tensors[f"{name}.lora_B"] = torch.randn(outputs, 2, generator=generator)
    return LoraWeights.of_tensors(tensors, scaling=0.5)


def _adapter(network: OwsmNetwork) -> GateAdapter:
    return GateAdapter(GateConfig(), describe_base(network), lora=_lora()).eval()


def test_attach_makes_the_changes_and_detach_takes_them_back_bit_by_bit():
    network = tiny_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parameters = dict(network.named_parameters())
    fingerprint = describe_base(network).fingerprint
    adapter = attach(network, _adapter(network))
    for name, tensor in before.items():
        changed = not torch.equal(network.state_dict()[name], tensor)
        assert changed == (name.removesuffix(".weight") in LAYERS), name
        assert torch.equal(network.base_state()[name], tensor), name
    assert describe_base(network).fingerprint == fingerprint
    assert detach(network) is adapter
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(parameter is parameters[name] for name, parameter in network.named_parameters())
    attach(network, adapter)  # a second time, as the first


def test_a_changed_copy_shares_what_does_not_change_and_leaves_the_network_alone():
    network = tiny_network()
    own = dict(network.named_parameters())
    copied = changed_copy(network, _lora())
    for name, parameter in copied.named_parameters():
        assert (parameter is own[name]) == (name.removesuffix(".weight") not in LAYERS), name
    assert dict(network.named_parameters()).keys() == own.keys()
    assert all(parameter is own[name] for name, parameter in network.named_parameters())


def test_a_transcriber_follows_the_changes_and_one_beside_it_does_not(tmp_path):
    model = tiny_model(tmp_path / "model")
    adapter = _adapter(model.network)
    adapter.save_pretrained(tmp_path / "gates")
    dense, pruned = Transcriber(model, gates=None), Transcriber(model, gates=tmp_path / "gates")
    assert dense.model is model and pruned.model.network is not model.network
    changed = pruned.model.network.get_submodule("decoder.layers.0.ffn.fc1")
    expected = model.network.decoder.layers[0].get_parameter("ffn.fc1.weight")
    torch.testing.assert_close(
        changed.get_parameter("weight"), expected + _lora().delta("decoder.layers.0.ffn.fc1"), rtol=0, atol=1e-6
    )
    attach(model.network, adapter)
    attached, plain = Transcriber(model), Transcriber(model, gates=None)
    assert attached.model is model
    assert plain.model.network.base_weights == {}
    audio = (tone(1.5), 16_000)
    texts = [one.transcribe(audio, language="de").text for one in (dense, plain, pruned, attached)]
    assert texts[0] == texts[1] and texts[2] == texts[3]


def test_changes_that_do_not_fit_leave_the_network_as_it_is():
    network = tiny_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for layers in (LAYERS | {"decoder.layers.0.ffn": (4, 4)}, LAYERS | {"decoder.layers.1.ffn.fc2": (5, 5)}):
        adapter = GateAdapter(GateConfig(), describe_base(network), lora=_lora(layers))
        with pytest.raises(SkipwiseError, match=r"changes the layer decoder.layers.* which the model does not have"):
            attach(network, adapter)
        assert network.gate_adapter is None
        assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
