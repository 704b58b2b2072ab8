"""`attach`, `detach` and `gated`: gates on a model in place, and off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, FixedPlanner, GateAdapter, GateConfig, GatePlan, Planner
from skipwise.gating.adapter import GateBase
from skipwise.models.fingerprint import fingerprint_of
from skipwise.models.foreign import ForeignNetwork
from skipwise.models.lora import put_on, take_off, without_peft
from skipwise.models.registry import gate_family_of, held_gates


def attach(model: object, gates: GateConfig | GateAdapter | str | Path) -> GateAdapter:
    """Put gates on a model, in place, and return their adapter: a fresh one for a config, else the one given or saved.

    Changes of the base that belong to the adapter (LoRA) are made too. The model is one of a family that
    `skipwise.models.registry` knows: an OWSM, its transformers class around it, transformers' Whisper, a live ESPnet
    model (attach to its `Speech2Text` to decode with it), or a `ForCTC` of transformers' wav2vec2, HuBERT or WavLM.

    Raises:
        SkipwiseError: if the model has gates already, or the adapter belongs to another base.
    """
    family = gate_family_of(model)
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


def detach(model: object) -> GateAdapter | None:
    """Take the gates off a model, in place, and return them; the model is bit for bit what it was."""
    family = gate_family_of(model)
    network = family.network(model)
    held = family.held(network)
    adapter = held.gate_adapter
    take_off(network, held)
    held.gate_adapter = None
    family.settle(network, held)
    return adapter


@contextmanager
def gated(model: object, plan: GatePlan) -> Iterator[None]:
    """Make a model follow one plan, of one row or of as many as its inputs have, until the block ends.

    For transformers' `generate()` and for notebooks: one call at a time. Our own decoding takes plans as arguments.
    """
    family = gate_family_of(model)
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
def disable_gates(model: object) -> Iterator[None]:
    """Run the base alone until the block ends, whatever gates are on the model: one call at a time, as `gated`.

    Low-rank changes of the base that belong to an adapter stay; `detach` takes them back.
    """
    with gated(model, GatePlan.all_open(())):
        yield


def planner_of(model: object) -> Planner:
    """Return what decides a model's plans now: a `gated` block, else the attached adapter, else nothing is skipped."""
    held = held_gates(network_of(model))
    if held.forced_planner is not None:
        return held.forced_planner
    return OPEN_PLANNER if held.gate_adapter is None else AdapterPlanner(held.gate_adapter)


def network_of(model: object) -> Any:
    """Return the network that gates go on: the model itself, or what a class of transformers or of ESPnet holds.

    Raises:
        SkipwiseError: if the model is of no known family.
    """
    return gate_family_of(model).network(model)


def device_of(network: nn.Module | ForeignNetwork) -> torch.device:
    """Return where the weights of a network lie."""
    return network.device if isinstance(network, ForeignNetwork) else next(network.parameters()).device


def describe_base(model: object) -> GateBase:
    """Return what an adapter must know of its base."""
    family = gate_family_of(model)
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


def fingerprint(model: object) -> str:
    """Return a short hash of a base's weights, the same for fp32 and for weights stored as fp16.

    Low-rank changes that peft has put on a model are not among them.
    """
    family = gate_family_of(model)
    return fingerprint_of(without_peft(family.base_state(family.network(model))))
