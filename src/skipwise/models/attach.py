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
from skipwise.models.lora import put_on, take_off
from skipwise.models.owsm.loading import base_state
from skipwise.models.owsm.network import OwsmNetwork

_SAMPLED_VALUES = 256


def attach(model: nn.Module, gates: GateConfig | GateAdapter | str | Path) -> GateAdapter:
    """Put gates on a model, in place, and return their adapter: a fresh one for a config, else the one given or saved.

    Changes of the base that belong to the adapter (LoRA) are made too. The model is an `OwsmNetwork` or the
    `OwsmForConditionalGeneration` around one.

    Raises:
        SkipwiseError: if the model has gates already, or the adapter belongs to another base.
    """
    network = network_of(model)
    if network.gate_adapter is not None:
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
    if adapter.lora is not None:
        put_on(network, adapter.lora)
    network.gate_adapter = adapter.to(network.feature_mean.device)
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
    network = network_of(model)
    adapter = network.gate_adapter
    network.gate_adapter = None
    take_off(network)
    return adapter


@contextmanager
def gated(model: nn.Module, plan: GatePlan) -> Iterator[None]:
    """Make a model follow one plan, of one row or of as many as its inputs have, until the block ends.

    For transformers' `generate()` and for notebooks: one call at a time. Our own decoding takes plans as arguments.
    """
    network = network_of(model)
    unknown = set(plan.sites) - set(network.config.gate_sites())
    if unknown:
        raise SkipwiseError(f"the model has no site {', '.join(sorted(map(str, unknown)))}.")
    before = network.forced_planner
    network.forced_planner = FixedPlanner(plan)
    try:
        yield
    finally:
        network.forced_planner = before


def planner_of(model: nn.Module) -> Planner:
    """Return what decides a model's plans now: a `gated` block, else the attached adapter, else nothing is skipped."""
    network = network_of(model)
    if network.forced_planner is not None:
        return network.forced_planner
    return OPEN_PLANNER if network.gate_adapter is None else AdapterPlanner(network.gate_adapter)


def network_of(model: nn.Module) -> OwsmNetwork:
    """Return the network that gates go on: the model itself, or what its transformers class holds under `model`.

    Raises:
        SkipwiseError: if there is none.
    """
    network = model if isinstance(model, OwsmNetwork) else dict(model.named_children()).get("model")
    if not isinstance(network, OwsmNetwork):
        raise SkipwiseError(
            f"gates go on an OwsmNetwork or an OwsmForConditionalGeneration; got a {type(model).__name__}. "
            "Load the model with skipwise, or with OwsmForConditionalGeneration.from_pretrained."
        )
    return network


def describe_base(model: nn.Module) -> GateBase:
    """Return what an adapter must know of its base."""
    network = network_of(model)
    return GateBase(
        family="owsm",
        fingerprint=fingerprint(network),
        hidden_size=network.config.hidden_size,
        sites=network.config.gate_sites(),
        languages=network.config.languages,
        tasks=network.config.tasks,
    )


@torch.no_grad()
def fingerprint(model: nn.Module) -> str:
    """Return a short hash of a base's weights, the same for fp32 and for weights stored as fp16.

    Names, shapes and 256 evenly spaced values of each tensor enter, so that a model of billions takes milliseconds.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(base_state(network_of(model)).items()):
        flat = tensor.reshape(-1)
        sampled = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)][:_SAMPLED_VALUES]
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sampled.to("cpu", torch.float16).numpy().tobytes())
    return digest.hexdigest()[:16]
