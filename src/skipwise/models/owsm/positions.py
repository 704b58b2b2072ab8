"""Sinusoidal positions, computed when needed: a non-persistent buffer would come back as garbage from a meta device."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def add_positions(embedded: Float[Tensor, "batch time dim"], *, offset: int = 0) -> Float[Tensor, "batch time dim"]:
    """Return `embedded * sqrt(dim) + positions`, the first one being position `offset`."""
    length, dim = embedded.shape[1:]
    capacity = 1 << max(9, (offset + length - 1).bit_length())
    table = _sinusoids(capacity, dim, embedded.device)
    return embedded * math.sqrt(dim) + table[offset : offset + length].to(embedded.dtype)


@lru_cache(maxsize=16)
def _sinusoids(length: int, dim: int, device: torch.device) -> Float[Tensor, "length dim"]:
    with torch.inference_mode(False):  # an inference tensor in the cache would break a later training step
        position = torch.arange(length, dtype=torch.float32, device=device)[:, None]
        rate = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32, device=device) * -(math.log(10000.0) / dim))
        table = torch.empty(length, dim, device=device)
        table[:, 0::2] = (position * rate).sin()
        table[:, 1::2] = (position * rate).cos()
        return table
