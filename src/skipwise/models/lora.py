"""Low-rank changes on a network: made in place by `put_on`, taken back bit by bit by `take_off`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating import LoraWeights
from skipwise.models.family import HeldGates
from skipwise.models.foreign import ForeignNetwork
from skipwise.models.registry import family_of, held_gates

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


@torch.no_grad()
def put_on(network: nn.Module | ForeignNetwork, held: HeldGates, lora: LoraWeights) -> None:
    """Add the changes to the weights of a network; its own ones are kept in `held`.

    Raises:
        SkipwiseError: if the network has no such layer, or one of another size; nothing is changed then.
    """
    assert not held.base_weights
    layers = {name: _linear(network, name, lora) for name in lora.layers}
    originals: dict[str, nn.Parameter] = {}
    for name, layer in layers.items():
        own: Any = layer.weight
        originals[name] = own
        changed = layer.weight + lora.delta(name).to(layer.weight)
        layer.weight = nn.Parameter(changed, requires_grad=layer.weight.requires_grad)
    held.base_weights = originals


def take_off(network: nn.Module | ForeignNetwork, held: HeldGates) -> None:
    """Give a network its own weights back: the very tensors that it had."""
    for name, weight in held.base_weights.items():
        layer: Any = network.get_submodule(name)
        layer.weight = weight
    held.base_weights = {}


def without_peft(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a model that peft has put low-rank changes on, by the names that they had before."""
    return {name.replace(".base_layer.", "."): tensor for name, tensor in state.items() if ".lora_" not in name}


def changed_copy(network: AnyNetwork, lora: LoraWeights) -> AnyNetwork:
    """Return a network with the changes on; it shares all other weights with `network`, which stays as it is."""
    copied = unchanged_copy(network)
    family = family_of(copied)
    held = family.held(copied)
    put_on(copied, held, lora)
    family.settle(copied, held)
    return copied


def unchanged_copy(network: AnyNetwork) -> AnyNetwork:
    """Return a network of the base's own weights, which it shares with `network`."""
    copied = sharing_copy(network)
    take_off(copied, held_gates(copied))
    return copied


def sharing_copy(network: AnyNetwork) -> AnyNetwork:
    """Return a network of the same weights, not of copies of them."""
    shared = [*network.parameters(), *network.buffers(), *held_gates(network).base_weights.values()]
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def _linear(network: nn.Module | ForeignNetwork, name: str, lora: LoraWeights) -> nn.Linear:
    found = dict(network.named_modules()).get(name)
    change = lora.layers[name]
    size = (change.up.shape[0], change.down.shape[1])
    if not isinstance(found, nn.Linear) or tuple(found.weight.shape) != size:
        raise SkipwiseError(
            f"this adapter changes the layer {name} of {size[0]} x {size[1]}, which the model does not have. Load the "
            "base that it was trained with."
        )
    return found
