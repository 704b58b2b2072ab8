"""What the processes of a training know of each other's rows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def is_distributed() -> bool:
    """Return whether this is one of several processes."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def mean_over_processes(
    sparsity: Float[Tensor, " rows"], targets: Float[Tensor, " rows"], weight: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], int]:
    """Return the means over the rows of all processes, and how many these are; only one's own rows carry a gradient."""
    sums = weight * torch.stack([sparsity.sum(), targets.sum(), sparsity.new_tensor(float(len(sparsity)))])
    if is_distributed():
        of_all = sums.detach().clone()
        torch.distributed.all_reduce(of_all)
        sums = sums + (of_all - sums.detach())
    num_known = max(1, round(float(sums[2].detach())))
    return sums[0] / num_known, (sums[1] / num_known).detach(), num_known
