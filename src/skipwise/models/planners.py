"""From what a user says about gates to the planner that follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skipwise.errors import SkipwiseError
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, FixedPlanner, GateAdapter, GatePlan, Planner
from skipwise.models.attach import check_base, describe_base
from skipwise.models.owsm.loading import GATES_FOLDER, OwsmModel

Gates = Literal["auto", "none"] | str | Path | GateAdapter | GatePlan | None
"""Those beside the model if it has some; none (`none` or None); a folder or Hub name; an adapter; one fixed plan."""


def planner_for(model: OwsmModel, gates: Gates, *, sparsity: float | None, exact: bool) -> Planner:
    """Return what decides the plans of a model that is run with `gates`, at a sparsity if one is asked for.

    Raises:
        SkipwiseError: if the gates cannot be read, belong to another base, or know no such budget.
    """
    network, beside = model.network, model.folder / GATES_FOLDER
    if gates == "auto":
        gates = network.gate_adapter or (beside if beside.is_dir() else None)
    if (sparsity is not None or exact) and (gates in (None, "none") or isinstance(gates, GatePlan)):
        raise SkipwiseError(
            f"a sparsity is for gates to follow; {model.name} runs without an adapter. Name one with gates, or leave "
            "sparsity and exact out."
        )
    match gates:
        case None | "none":
            return OPEN_PLANNER
        case GatePlan():
            return FixedPlanner(_checked_plan(gates, model))
        case GateAdapter():
            adapter = gates
        case _:
            adapter = GateAdapter.from_pretrained(gates)
    if adapter is not network.gate_adapter:  # an attached one was checked, and its base may be in training since
        check_base(adapter, describe_base(network))
    return AdapterPlanner(adapter.to(network.feature_mean.device), sparsity=sparsity, exact=exact)


def _checked_plan(plan: GatePlan, model: OwsmModel) -> GatePlan:
    sites = model.network.config.gate_sites()
    unknown = [str(site) for site in plan.sites if site not in sites]
    if unknown:
        raise SkipwiseError(f"the model has no site {', '.join(unknown)}. Its sites: {', '.join(map(str, sites))}.")
    if plan.num_rows != 1:
        raise SkipwiseError(f"a fixed plan must have one row, which every input follows; got {plan.num_rows}.")
    return plan
