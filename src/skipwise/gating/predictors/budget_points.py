"""A budget as a line through learned points, so that a small change of it is a small change of the gates.

Shapes: B rows, P points, evenly spaced from 0 to 1, S sites.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

NUM_POINTS = 11


def point_weights(budget: Float[Tensor, " batch"]) -> Float[Tensor, "batch points"]:
    """Return the weights of the two points that each budget lies between."""
    points = torch.arange(NUM_POINTS, device=budget.device)
    return (1 - (budget[:, None] * (NUM_POINTS - 1) - points).abs()).clamp_min(0)


def mask_logits(
    margins: Float[Tensor, "batch points sites"], budget: Float[Tensor, " batch"]
) -> Float[Tensor, "batch sites 2"]:
    """Return the logits (closed, open) of a mask learned for each point; where there is one point, budgets are one."""
    weights_BP1 = torch.ones_like(budget)[:, None, None] if margins.shape[1] == 1 else point_weights(budget)[..., None]
    margins_BS = (weights_BP1 * margins).sum(dim=1)
    return torch.stack([torch.zeros_like(margins_BS), margins_BS], dim=-1)
