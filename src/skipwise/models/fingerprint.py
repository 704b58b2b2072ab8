"""A short hash of a base's weights: what an adapter knows its base by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_SAMPLED_VALUES = 256


@torch.no_grad()
def fingerprint_of(state: Mapping[str, Tensor]) -> str:
    """Return a short hash of weights by name, the same for fp32 and for weights stored as fp16.

    Names, shapes and 256 evenly spaced values of each tensor enter, so that a model of billions takes milliseconds.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        flat = tensor.reshape(-1)
        sampled = flat[:: max(1, flat.numel() // _SAMPLED_VALUES)][:_SAMPLED_VALUES]
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(sampled.to("cpu", torch.float16).numpy().tobytes())
    return digest.hexdigest()[:16]
