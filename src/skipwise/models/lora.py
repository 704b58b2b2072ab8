"""Low-rank changes on a network: made in place by `put_on`, taken back bit by bit by `take_off`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import LoraWeights
from skipwise.models.foreign import ForeignNetwork
from skipwise.models.owsm.network import OwsmNetwork


@torch.no_grad()
def put_on(network: OwsmNetwork | ForeignNetwork, lora: LoraWeights) -> None:
    """Add the changes to the weights of a network, which keeps its own ones aside.

    Raises:
        SkipwiseError: if the network has no such layer, or one of another size; nothing is changed then.
    """
    assert not network.base_weights
    layers = {name: _linear(network, name, lora) for name in lora.layers}
    originals: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        own: Any = layer.weight
        originals[name] = own
        changed = layer.weight + lora.delta(name).to(layer.weight)
        layer.weight = nn.Parameter(changed, requires_grad=layer.weight.requires_grad)
    network.base_weights = originals


def take_off(network: OwsmNetwork | ForeignNetwork) -> None:
    """Give a network its own weights back: the very tensors that it had."""
    for name, weight in network.base_weights.items():
        network.get_submodule(name).weight = weight
    network.base_weights = {}


def changed_copy(network: OwsmNetwork, lora: LoraWeights) -> OwsmNetwork:
    """Return a network with the changes on; it shares all other weights with `network`, which stays as it is."""
    copied = sharing_copy(network)
    take_off(copied)
    put_on(copied, lora)
    return copied


def sharing_copy(network: OwsmNetwork) -> OwsmNetwork:
    """Return a network of the same weights, not of copies of them."""
    shared = [*network.parameters(), *network.buffers(), *network.base_weights.values()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def _linear(network: OwsmNetwork | ForeignNetwork, name: str, lora: LoraWeights) -> nn.Linear:
    found = dict(network.named_modules()).get(name)
    change = lora.layers[name]
    size = (change.up.shape[0], change.down.shape[1])
    if not isinstance(found, nn.Linear) or tuple(found.weight.shape) != size:
        raise SkipwiseError(
            f"this adapter changes the layer {name} of {size[0]} x {size[1]}, which the model does not have. Load the "
            "base that it was trained with."
        )
    return found
