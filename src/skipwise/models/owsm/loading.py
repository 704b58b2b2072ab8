"""OWSM from and to a folder in transformers' layout, in plain torch: no transformers model code is imported."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from skipwise.atomic import atomic_dir, atomic_write
from skipwise.errors import SkipwiseError
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
GATES_FOLDER = "gates"
MODEL_TYPE = "owsm"
ARCHITECTURE_NAME = "OwsmForConditionalGeneration"

# the transformers class keeps the network under this name, and files are laid out for it
KEY_PREFIX = "model."


@final
@dataclass(frozen=True, eq=False)
class OwsmModel:
    """A network with the vocabulary that goes with it."""

    network: OwsmNetwork
    vocabulary: OwsmVocabulary
    name: str
    """Where it came from: a folder or a Hub name."""
    folder: Path
    """Where its files lie."""


def load_owsm(source: str | Path, *, device: torch.device | str = "cpu") -> OwsmModel:
    """Return the model in a folder, or under a name on the Hub, in fp32 and eval mode.

    Raises:
        SkipwiseError: if it is not there, not an OWSM, damaged, or its weights are not exactly those of its config.
    """
    folder = _model_folder(source)
    config = _read_config(folder / CONFIG_FILE)
    with torch.device("meta"):
        network = OwsmNetwork(config)
    weights = _read_weights(folder)
    _check_keys(folder, weights, network)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return OwsmModel(network.to(device).eval(), OwsmVocabulary.load(folder), str(source), folder)


def save_owsm(
    folder: str | Path, network: OwsmNetwork, vocabulary: OwsmVocabulary, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write config, weights as `dtype` and tokens into `folder`, which appears whole or not at all."""
    record = {
        "architectures": [ARCHITECTURE_NAME],
        "model_type": MODEL_TYPE,
        "dtype": str(dtype).removeprefix("torch."),
        "is_encoder_decoder": True,
        **{field.name: getattr(network.config, field.name) for field in dataclasses.fields(OwsmArchitecture)},
    }
    with atomic_dir(folder) as aside:
        with atomic_write(aside / CONFIG_FILE) as file:
            json.dump(record, file, indent=2)
        weights = {KEY_PREFIX + name: tensor.to(dtype).contiguous() for name, tensor in base_state(network).items()}
        save_file(weights, aside / WEIGHTS_FILE, metadata={"format": "pt"})
        vocabulary.save(aside)


def base_state(network: OwsmNetwork) -> dict[str, Tensor]:
    """Return the weights of the base alone: those of an attached adapter are not among them."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("gate_adapter.")}


def _model_folder(source: str | Path) -> Path:
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if isinstance(source, Path) or name.count("/") != 1 or name.startswith((".", "/")):
        raise SkipwiseError(
            f"no model at {source}: not a folder. Give a folder that holds {CONFIG_FILE}, or a Hub name."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # the Hub's client raises many types: offline, missing, gated, ...
        raise SkipwiseError(
            f"no model at {name}: not a folder, and the Hub said: {error}. "
            f"Offline, give a folder that holds {CONFIG_FILE}."
        ) from error


def _read_config(path: Path) -> OwsmArchitecture:
    try:
        record: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SkipwiseError(f"no model in {path.parent}: {CONFIG_FILE} is missing.") from error
    except (ValueError, TypeError) as error:  # not UTF-8, not JSON, not an object
        raise SkipwiseError(f"{path} is not a model's config: {error}.") from error
    if record.get("model_type") != MODEL_TYPE:
        raise SkipwiseError(
            f"{path} describes a model of type {record.get('model_type')!r}; this reads {MODEL_TYPE!r}."
        )
    known = {field.name for field in dataclasses.fields(OwsmArchitecture)}
    return OwsmArchitecture(**{name: value for name, value in record.items() if name in known})


def _read_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name in _weight_files(folder / INDEX_FILE):
        try:
            with safe_open(folder / name, framework="pt") as file:
                weights |= {key.removeprefix(KEY_PREFIX): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise SkipwiseError(f"cannot read the weights {folder / name}: {error}. Copy the model again.") from error
    return weights


def _weight_files(index: Path) -> list[str]:
    """The one file, or those that the index of a sharded model names."""
    if not index.exists():
        return [WEIGHTS_FILE]
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SkipwiseError(f"{index} is not an index of weight files: {error!r}. Copy the model again.") from error


def _check_keys(folder: Path, weights: dict[str, Tensor], network: OwsmNetwork) -> None:
    expected = network.state_dict()
    missing, unknown = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    for problem, names in (("lack", missing), ("have unknown", unknown)):
        if names:
            raise SkipwiseError(
                f"the weights in {folder} {problem} keys: {', '.join(sorted(names)[:5])} ({len(names)})."
            )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise SkipwiseError(
                f"{name} in {folder} has shape {tuple(tensor.shape)}; "
                f"the config asks for {tuple(expected[name].shape)}."
            )
