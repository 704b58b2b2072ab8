"""`attach`, `detach` and `gated`: gates on a model in place, and off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, FixedPlanner, GateAdapter, GateConfig, GatePlan, Planner
from skipwise.gating.adapter import GateBase
from skipwise.models.ctc.network import ctc_network
from skipwise.models.espnet.network import HoldsS2tModel, espnet_network
from skipwise.models.fingerprint import fingerprint_of
from skipwise.models.foreign import ForeignNetwork
from skipwise.models.lora import put_on, take_off
from skipwise.models.owsm.loading import base_state
from skipwise.models.owsm.network import OwsmNetwork

Gateable = nn.Module | HoldsS2tModel | ForeignNetwork
"""What gates go on: our networks, transformers' classes around them, ESPnet's `ESPnetS2TModel` and `Speech2Text`."""


def attach(model: Gateable, gates: GateConfig | GateAdapter | str | Path) -> GateAdapter:
    """Put gates on a model, in place, and return their adapter: a fresh one for a config, else the one given or saved.

    Changes of the base that belong to the adapter (LoRA) are made too. The model is an `OwsmNetwork`, the
    `OwsmForConditionalGeneration` around one, a live ESPnet model (attach to its `Speech2Text` to decode with it), or a
    `ForCTC` of transformers' wav2vec2, HuBERT or WavLM.

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
    network.gate_adapter = adapter.to(
        network.device if isinstance(network, ForeignNetwork) else network.feature_mean.device
    )
    return adapter


def check_base(adapter: GateAdapter, base: GateBase) -> None:
    """Raise a SkipwiseError if the adapter belongs to another base."""
    if adapter.base.fingerprint != base.fingerprint:
        raise SkipwiseError(
            f"this adapter belongs to another base: it names {adapter.base.family} {adapter.base.fingerprint}, the "
            f"model is {base.family} {base.fingerprint}. Load the base that it was trained with, or train gates for "
            "this one."
        )


def detach(model: Gateable) -> GateAdapter | None:
    """Take the gates off a model, in place, and return them; the model is bit for bit what it was."""
    network = network_of(model)
    adapter = network.gate_adapter
    network.gate_adapter = None
    take_off(network)
    return adapter


@contextmanager
def gated(model: Gateable, plan: GatePlan) -> Iterator[None]:
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


def planner_of(model: Gateable) -> Planner:
    """Return what decides a model's plans now: a `gated` block, else the attached adapter, else nothing is skipped."""
    network = network_of(model)
    if network.forced_planner is not None:
        return network.forced_planner
    return OPEN_PLANNER if network.gate_adapter is None else AdapterPlanner(network.gate_adapter)


def network_of(model: Gateable) -> OwsmNetwork | ForeignNetwork:
    """Return the network that gates go on: the model itself, or what a class of transformers or of ESPnet holds.

    Raises:
        SkipwiseError: if there is none.
    """
    foreign = model if isinstance(model, ForeignNetwork) else espnet_network(model) or ctc_network(model)
    if foreign is not None:
        return foreign
    held = dict(model.named_children()).get("model") if isinstance(model, nn.Module) else None
    network = model if isinstance(model, OwsmNetwork) else held
    if not isinstance(network, OwsmNetwork):
        raise SkipwiseError(
            "gates go on an OwsmNetwork, an OwsmForConditionalGeneration, ESPnet's ESPnetS2TModel or Speech2Text, or "
            f"transformers' wav2vec2, HuBERT or WavLM with a CTC head (ForCTC); got a {type(model).__name__}. Load one "
            "of those."
        )
    return network


def describe_base(model: Gateable) -> GateBase:
    """Return what an adapter must know of its base."""
    network = network_of(model)
    return GateBase(
        family=network.family if isinstance(network, ForeignNetwork) else "owsm",
        fingerprint=fingerprint(network),
        hidden_size=network.config.hidden_size,
        sites=network.config.gate_sites(),
        languages=network.config.languages,
        tasks=network.config.tasks,
    )


def fingerprint(model: Gateable) -> str:
    """Return a short hash of a base's weights, the same for fp32 and for weights stored as fp16."""
    network = network_of(model)
    return fingerprint_of(network.base_state() if isinstance(network, ForeignNetwork) else base_state(network))
