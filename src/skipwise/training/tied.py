"""Weights under several names, as an output layer that is the embedding: once in what a module saves.

Safetensors refuses tensors that share their memory.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def save_tied_once(module: nn.Module) -> None:
    """Leave the second names of tied parameters out of a module's state, and read such a state strictly."""

    def drop(owner: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        for name in _second_names(owner):
            state.pop(prefix + name, None)

    def complete(owner: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        for name, first in _second_names(owner).items():
            if prefix + first in state:
                state.setdefault(prefix + name, state[prefix + first])

    module.register_state_dict_post_hook(drop)
    module.register_load_state_dict_pre_hook(complete)


def _second_names(module: nn.Module) -> dict[str, str]:
    """The first name of each parameter by every other that it has."""
    first: dict[int, str] = {}
    second = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            second[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return second
