"""Low-rank changes of a Whisper that belong to an adapter: on with it, and off bit by bit."""

from __future__ import annotations

import torch

from skipwise.gating import GateAdapter, GateConfig, LoraWeights
from skipwise.models.attach import attach, describe_base, detach
from skipwise.models.lora import changed_copy
from tests.conformance.test_whisper import AUDIO, prompts
from tests.tiny_whisper import features_of, tiny_whisper

LAYERS = {"model.decoder.layers.0.fc1": (48, 32), "model.encoder.layers.1.self_attn.q_proj": (32, 32)}


def _adapter() -> GateAdapter:
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, (outputs, inputs) in LAYERS.items():
        tensors[f"{name}.lora_A"] = torch.randn(2, inputs, generator=generator)
        tensors[f"{name}.lora_B"] = torch.randn(outputs, 2, generator=generator)
    lora = LoraWeights.of_tensors(tensors, scaling=0.5)
    return GateAdapter(GateConfig(), describe_base(tiny_whisper()), lora=lora).eval()


@torch.no_grad()
def test_an_adapters_changes_go_on_and_off_with_it():
    model, features = tiny_whisper(), features_of(AUDIO)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    base, adapter = model(features, decoder_input_ids=prompts()).logits, _adapter()
    attach(model, adapter)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{name}.weight" for name in LAYERS}
    assert describe_base(model).fingerprint == adapter.base.fingerprint  # of the base alone
    assert not torch.equal(model(features, decoder_input_ids=prompts()).logits, base)
    detach(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(features, decoder_input_ids=prompts()).logits, base)


@torch.no_grad()
def test_a_changed_copy_shares_what_does_not_change_and_leaves_the_model_alone():
    model = tiny_whisper()
    lora = _adapter().lora
    assert lora is not None
    copied, before = changed_copy(model, lora), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = changed_copy(copied, lora)  # of the base: not twice
    assert all(torch.equal(tensor, copied.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert describe_base(again).fingerprint == describe_base(model).fingerprint
    own, other = dict(model.named_parameters()), dict(copied.named_parameters())
    shared = {name for name in own if own[name].data_ptr() == other[name].data_ptr()}
    assert own.keys() - shared == {f"{name}.weight" for name in LAYERS}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
