"""What a budget comes to: plans close whole sites, so what is asked for is met up to a site."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from skipwise.evaluation.rows import Row
from skipwise.gating import AdapterPlanner, Stack
from skipwise.gating.budget import closed_share
from skipwise.gating.sites import STACKS


def achieved_shares(rows: Sequence[Row], planner: AdapterPlanner) -> dict[Stack, float]:
    """Return the mean closed share of each gated stack over all decoded windows, in the budget's unit."""
    shares: dict[Stack, float] = {}
    for stack in STACKS:
        sites = planner.adapter.sites(stack)
        plans = [part for row in rows for plan in row.all_plans if (part := plan.of_stack(stack)).sites == sites]
        if sites and plans:
            open_shares = torch.stack([plan.open_shares() for plan in plans])
            shares[stack] = float(closed_share(open_shares, planner.site_weights(stack)).mean())
    return shares
