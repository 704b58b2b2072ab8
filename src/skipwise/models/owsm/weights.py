"""Weights in transformers' layout: one safetensors file, or shards and their index. They are mapped, not read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from skipwise.atomic import atomic_write, usual_mode
from skipwise.errors import SkipwiseError
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.network import OwsmNetwork

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_SHARD_BYTES = 1_000_000_000

STATISTICS = ("feature_mean", "feature_std")

# the transformers class keeps the network under this name, and files are laid out for it
KEY_PREFIX = "model."

Progress = Callable[[int, int], None]
"""Takes the bytes done so far, and those of all."""


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights in a folder under the names of `OwsmNetwork`; memory fills as they are used.

    Raises:
        SkipwiseError: if a file is missing or damaged.
    """
    weights: dict[str, Tensor] = {}
    for name in _weight_files(folder / INDEX_FILE):
        try:
            with safe_open(folder / name, framework="pt") as file:
                weights |= {key.removeprefix(KEY_PREFIX): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise SkipwiseError(f"cannot read the weights {folder / name}: {error}. Copy the model again.") from error
    return weights


def write_weights(
    folder: Path,
    weights: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> None:
    """Write weights under the names of `OwsmNetwork` into a folder that exists, one shard in memory at a time.

    They keep their type unless `dtype` is given. The feature statistics always do: they are few, and lose most.
    """
    shards = _shards(weights, max_shard_bytes)
    total = sum(tensor.nbytes for tensor in weights.values())
    files: dict[str, str] = {}
    done = written = 0
    for number, names in enumerate(shards, start=1):
        file = WEIGHTS_FILE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        written += _write_shard(folder / file, {name: weights[name] for name in names}, dtype)
        files |= {KEY_PREFIX + name: file for name in names}
        done += sum(weights[name].nbytes for name in names)
        if progress is not None:
            progress(done, total)
    if len(shards) > 1:
        with atomic_write(folder / INDEX_FILE) as index:
            json.dump({"metadata": {"total_size": written}, "weight_map": files}, index, indent=2)


def network_shapes(architecture: OwsmArchitecture) -> dict[str, torch.Size]:
    """Return the names and shapes of a base's weights, without making them."""
    with torch.device("meta"):
        network = OwsmNetwork(architecture)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def check_weights(where: Path, found: Mapping[str, torch.Size], expected: Mapping[str, torch.Size]) -> None:
    """Raise a SkipwiseError that names the first keys that are missing, unknown or of another shape."""
    missing, unknown = expected.keys() - found.keys(), found.keys() - expected.keys()
    for problem, names in (("lack", missing), ("have unknown", unknown)):
        if names:
            raise SkipwiseError(
                f"the weights in {where} {problem} keys: {', '.join(sorted(names)[:5])} ({len(names)})."
            )
    for name, shape in found.items():
        if shape != expected[name]:
            raise SkipwiseError(
                f"{name} in {where} has shape {tuple(shape)}; the config asks for {tuple(expected[name])}."
            )


def _shards(weights: Mapping[str, Tensor], max_bytes: int) -> list[list[str]]:
    """Names in their order, in groups that do not exceed `max_bytes` unless one tensor does."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in weights.items():
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards


def _write_shard(path: Path, weights: Mapping[str, Tensor], dtype: torch.dtype | None) -> int:
    """Write one file and return the bytes of its weights; their copies, where they have another type, are gone then."""
    shard = {
        KEY_PREFIX + name: _stored(tensor, None if name in STATISTICS else dtype) for name, tensor in weights.items()
    }
    with usual_mode(path):
        save_file(shard, path, metadata={"format": "pt"})
    return sum(tensor.nbytes for tensor in shard.values())


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor as `dtype`; a copy where it is a part of another or has gaps, which no file can hold."""
    tensor = tensor if dtype is None else tensor.to(dtype)
    is_whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if is_whole else tensor.clone(memory_format=torch.contiguous_format)


def _weight_files(index: Path) -> list[str]:
    """The one file, or those that the index of a sharded model names."""
    if not index.exists():
        return [WEIGHTS_FILE]
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SkipwiseError(f"{index} is not an index of weight files: {error!r}. Copy the model again.") from error
