"""`attach`, `detach` and `gated`: gates on a model in place, and off again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, FixedPlanner, GateAdapter, GateConfig, GatePlan, Planner
from skipwise.gating.adapter import GateBase
from skipwise.models.lora import put_on, take_off, without_peft
from skipwise.models.registry import family_of, held_gates

_SAMPLED_VALUES = 256


def attach(model: nn.Module, gates: GateConfig | GateAdapter | str | Path) -> GateAdapter:
    """Put gates on a model, in place, and return their adapter: a fresh one for a config, else the one given or saved.

    Changes of the base that belong to the adapter (LoRA) are made too. The model is one of a family that
    `skipwise.models.registry` knows: an OWSM, its transformers class around it, or transformers' Whisper.

    Raises:
        SkipwiseError: if the model has gates already, or the adapter belongs to another base.
    """
    family = family_of(model)
    network = family.network(model)
    held = family.held(network)
    if held.gate_adapter is not None:
        raise SkipwiseError("this model has gates already. Call detach(model) first.")
    base = describe_base(network)
    match gates:
        case GateConfig():
            adapter = GateAdapter(gates, base)
        case GateAdapter():
            adapter = gates
        case _:
            adapter = GateAdapter.from_pretrained(gates)
    check_base(adapter, base)
    held.gate_adapter = adapter.to(device_of(network))
    try:
        if adapter.lora is not None:
            put_on(network, held, adapter.lora)
        family.settle(network, held)
    except SkipwiseError:
        take_off(network, held)
        held.gate_adapter = None
        family.settle(network, held)
        raise
    return adapter


def check_base(adapter: GateAdapter, base: GateBase) -> None:
    """Raise a SkipwiseError if the adapter belongs to another base."""
    if adapter.base.fingerprint != base.fingerprint:
        raise SkipwiseError(
            f"this adapter belongs to another base: it names {adapter.base.family} {adapter.base.fingerprint}, the "
            f"model is {base.family} {base.fingerprint}. Load the base that it was trained with, or train gates for "
            "this one."
        )


def detach(model: nn.Module) -> GateAdapter | None:
    """Take the gates off a model, in place, and return them; the model is bit for bit what it was."""
    family = family_of(model)
    network = family.network(model)
    held = family.held(network)
    adapter = held.gate_adapter
    take_off(network, held)
    held.gate_adapter = None
    family.settle(network, held)
    return adapter


@contextmanager
def gated(model: nn.Module, plan: GatePlan) -> Iterator[None]:
    """Make a model follow one plan, of one row or of as many as its inputs have, until the block ends.

    For transformers' `generate()` and for notebooks: one call at a time. Our own decoding takes plans as arguments.
    """
    family = family_of(model)
    network = family.network(model)
    unknown = set(plan.sites) - set(family.describe(network).sites)
    if unknown:
        raise SkipwiseError(f"the model has no site {', '.join(sorted(map(str, unknown)))}.")
    held = family.held(network)
    before = held.forced_planner
    held.forced_planner = FixedPlanner(plan)
    try:
        family.settle(network, held)
        yield
    finally:
        held.forced_planner = before
        family.settle(network, held)


@contextmanager
def disable_gates(model: nn.Module) -> Iterator[None]:
    """Run the base alone until the block ends, whatever gates are on the model: one call at a time, as `gated`.

    Low-rank changes of the base that belong to an adapter stay; `detach` takes them back.
    """
    with gated(model, GatePlan.all_open(())):
        yield


def planner_of(model: nn.Module) -> Planner:
    """Return what decides a model's plans now: a `gated` block, else the attached adapter, else nothing is skipped."""
    held = held_gates(network_of(model))
    if held.forced_planner is not None:
        return held.forced_planner
    return OPEN_PLANNER if held.gate_adapter is None else AdapterPlanner(held.gate_adapter)


def network_of(model: nn.Module) -> nn.Module:
    """Return the network that gates go on: the model itself, or what its transformers class holds.

    Raises:
        SkipwiseError: if the model is of no known family.
    """
    return family_of(model).network(model)


def device_of(network: nn.Module) -> torch.device:
    """Return where the weights of a network lie."""
    return next(network.parameters()).device


def describe_base(model: nn.Module) -> GateBase:
    """Return what an adapter must know of its base."""
    family = family_of(model)
    network = family.network(model)
    described = family.describe(network)
    return GateBase(
        family=family.name,
        fingerprint=fingerprint(network),
        hidden_size=described.hidden_size,
        sites=described.sites,
        languages=described.languages,
        tasks=described.tasks,
    )


@torch.no_grad()
def fingerprint(model: nn.Module) -> str:
    """Return a short hash of a base's weights, the same for fp32 and for weights stored as fp16.

    Names, shapes and 256 evenly spaced values of each tensor enter, so that a model of billions takes milliseconds.
    """
    digest = hashlib.sha256()
    family = family_of(model)
    for name, tensor in sorted(without_peft(family.base_state(family.network(model))).items()):
        flat = tensor.reshape(-1)
        sampled = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)][:_SAMPLED_VALUES]
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sampled.to("cpu", torch.float16).numpy().tobytes())
    return digest.hexdigest()[:16]
