"""From what a user says about gates to the planner that follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    OPEN_PLANNER,
    AdapterPlanner,
    Budget,
    Context,
    FixedPlanner,
    GateAdapter,
    GatePlan,
    LibraryPlanner,
    Planner,
)
from skipwise.gating.adapter import GateBase
from skipwise.gating.shuffle import followed_adapter
from skipwise.models.attach import check_base, describe_base, device_of
from skipwise.models.family import GATES_FOLDER, SpeechModel
from skipwise.models.lora import changed_copy, unchanged_copy
from skipwise.models.registry import family_of, held_gates

OneGates = Literal["auto", "none"] | str | Path | GateAdapter | GatePlan | Planner | None
"""Those beside the model if it has some; none (`none` or None); a folder or Hub name; an adapter; one fixed plan; or
what decides plans itself."""

Gates = OneGates | Mapping[str, OneGates]
"""One of these, or several by name, of which each request names one."""


def budget_of(sparsity: float | Budget | None, *, exact: bool = False) -> Budget:
    """Return the budget that a user means by a sparsity, which may be a whole budget."""
    return sparsity if isinstance(sparsity, Budget) else Budget(sparsity=sparsity, exact=exact)


def planner_for(model: SpeechModel, gates: Gates, budget: Budget) -> Planner:
    """Return what decides the plans of a model that is run with `gates`, at a budget if one is asked for.

    Raises:
        SkipwiseError: if the gates cannot be read, belong to another base, or know no such budget.
    """
    described = lru_cache(partial(describe_base, model.network))  # reads all weights: once for all adapters
    if isinstance(gates, Mapping):
        return LibraryPlanner({name: _one_of(model, one, budget, described) for name, one in gates.items()})
    return _planner(model, gates, budget, described)


def _planner(model: SpeechModel, gates: OneGates, budget: Budget, described: Callable[[], GateBase]) -> Planner:
    """What decides by one's own gates; `described` returns what an adapter must know of its base."""
    held, beside = held_gates(model.network), model.folder / GATES_FOLDER
    if gates == "auto":
        gates = held.gate_adapter or (beside if beside.is_dir() else None)
    asks = budget != Budget()
    if asks and (gates in (None, "none") or isinstance(gates, GatePlan | Planner)):
        raise SkipwiseError(
            f"a sparsity is for gates to follow; {model.name} runs without an adapter. Name one with gates, or leave "
            "sparsity and exact out."
        )
    match gates:
        case None | "none":
            return OPEN_PLANNER
        case Planner():
            return gates
        case GatePlan():
            return FixedPlanner(_checked_plan(gates, model))
        case GateAdapter():
            adapter = gates
        case _:
            adapter = GateAdapter.from_pretrained(gates)
    if adapter is not held.gate_adapter:  # an attached one was checked, and its base may be in training since
        check_base(adapter, described())
    return AdapterPlanner(adapter.to(device_of(model.network)), budget)


def _one_of(model: SpeechModel, gates: OneGates, budget: Budget, described: Callable[[], GateBase]) -> Planner:
    """One of several: a budget is for those of them that are adapters."""
    has_no_budget = gates in (None, "none") or isinstance(gates, GatePlan | Planner)
    return _planner(model, gates, Budget() if has_no_budget else budget, described)


def model_for(model: SpeechModel, planner: Planner) -> SpeechModel:
    """Return the model that follows a planner: with the changes of the base (LoRA) that belong to its adapter.

    Weights that do not change are shared with `model`, which stays as it is.
    """
    adapter, held = followed_adapter(planner), held_gates(model.network)
    if adapter is held.gate_adapter and adapter is not None:
        return model
    if adapter is not None and adapter.lora is not None:
        return replace(model, network=changed_copy(model.network, adapter.lora))
    return replace(model, network=unchanged_copy(model.network)) if held.base_weights else model


def _checked_plan(plan: GatePlan, model: SpeechModel) -> GatePlan:
    sites = family_of(model.network).describe(model.network).sites
    unknown = [str(site) for site in plan.sites if site not in sites]
    if unknown:
        raise SkipwiseError(f"the model has no site {', '.join(unknown)}. Its sites: {', '.join(map(str, sites))}.")
    if plan.num_rows != 1:
        raise SkipwiseError(f"a fixed plan must have one row, which every input follows; got {plan.num_rows}.")
    return plan


def check_request(planner: Planner, context: Context) -> None:
    """Raise a SkipwiseError if gates are named that are not there, or are asked for a sparsity they do not follow."""
    if isinstance(planner, LibraryPlanner):
        return check_request(planner.named(context.gates), replace(context, gates=None))
    if context.gates is not None:
        raise SkipwiseError(
            f"gates {context.gates!r} are asked for by name, but there are not several: give the Transcriber gates by "
            'name, as in gates={"fast": "gates/fast", "dense": None}.'
        )
    if context.budget is None:
        return None
    if not isinstance(planner, AdapterPlanner):
        raise SkipwiseError(f"a sparsity of {context.budget} is for an adapter to follow; this runs without one.")
    planner.check_sparsity(context.budget)
    return None
