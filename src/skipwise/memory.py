"""Running out of memory, on any device."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether there was no memory left: torch has a type for GPUs alone, its CPU allocator a RuntimeError."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
