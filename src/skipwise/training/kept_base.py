"""Training that leaves the base as it is, or its encoder: gates alone, or with low-rank changes (LoRA, by peft)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter, LoraWeights
from skipwise.gating.lora import LowRank
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.lora import sharing_copy
from skipwise.models.registry import family_of, held_gates
from skipwise.training.config import LoraSection, ModelSection

_NAME = "default"


def keep_base(network: nn.Module, asked: ModelSection) -> None:
    """Make a network train what it should: all of it, or its gates and its decoder, low-rank changes or nothing else.

    Raises:
        SkipwiseError: if low-rank changes are asked for without peft, or of layers that there are none of.
    """
    if asked.base == "full":
        return
    network.requires_grad_(False)
    if asked.base == "decoder":
        for parameter in family_of(network).decoder_parameters(network):
            parameter.requires_grad_(True)
    elif asked.base == "lora":
        _inject(network, asked.lora)
    adapter = held_gates(network).gate_adapter
    if adapter is not None:
        adapter.requires_grad_(True)


def lora_weights(network: nn.Module) -> LoraWeights | None:
    """Return the low-rank changes as they are now; None if there are none."""
    layers, scaling = {}, 0.0
    for name, module in _lora_layers(network).items():
        down, up = (matrices[_NAME].weight.detach().clone() for matrices in (module.lora_A, module.lora_B))
        layers[name], scaling = LowRank(down, up), float(module.scaling[_NAME])
    return LoraWeights(scaling, layers) if layers else None


def as_used(
    model: SpeechModel[nn.Module, Vocabulary],
) -> tuple[SpeechModel[nn.Module, Vocabulary], GateAdapter | None]:
    """Return a model in training as others run it: the base without changes, and the adapter with them.

    Weights are shared with the model in training. A model without changes is returned as it is.
    """
    adapter, changes = held_gates(model.network).gate_adapter, lora_weights(model.network)
    if changes is None or adapter is None:
        return model, adapter
    network = sharing_copy(model.network)
    family = family_of(network)
    held = family.held(network)
    held.gate_adapter = None
    family.settle(network, held)
    for name, module in _lora_layers(network).items():
        network.set_submodule(name, module.base_layer)
    adapter.lora = changes
    return replace(model, network=network.eval()), adapter


def _inject(network: nn.Module, lora: LoraSection) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise SkipwiseError('low-rank changes of the base need peft: pip install "skipwise[peft]"') from error
    names = "|".join(lora.layers)
    pattern = rf"(.*\.)?(encoder|decoder)\.layers\..*\.({names})"
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=pattern)
    try:
        inject_adapter_in_model(config, network, adapter_name=_NAME)
    except ValueError as error:
        linear = {name.rpartition(".")[2] for name, m in network.named_modules() if isinstance(m, torch.nn.Linear)}
        raise SkipwiseError(
            f"model.lora.layers must name linear layers, such as {', '.join(sorted(linear))}; got "
            f"{', '.join(lora.layers)}."
        ) from error


def _lora_layers(network: nn.Module) -> dict[str, Any]:
    """The layers that peft has changed, by name; peft is not asked, so that it need not be there."""
    return {
        name: module
        for name, module in network.named_modules()
        if dict(module.named_children()).keys() >= {"base_layer", "lora_A", "lora_B"}
    }
