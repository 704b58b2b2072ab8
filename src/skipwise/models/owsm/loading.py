"""OWSM from and to a folder in transformers' layout, and from one in ESPnet's, in plain torch and without copies."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from skipwise.atomic import atomic_dir, atomic_write
from skipwise.errors import SkipwiseError
from skipwise.hub import local_folder
from skipwise.models.family import GATES_FOLDER, SpeechModel
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_checkpoint import read_espnet
from skipwise.models.owsm.espnet_files import ESPNET_PATTERNS, META_FILE, EspnetFiles, has_espnet_files
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import SENTENCEPIECE_FILE, TOKENS_FILE, OwsmVocabulary
from skipwise.models.owsm.weights import (
    INDEX_FILE,
    WEIGHTS_FILE,
    check_weights,
    network_shapes,
    read_weights,
    write_weights,
)

CONFIG_FILE = "config.json"
ESPNET_FOLDER = "espnet"
MODEL_TYPE = "owsm"
ARCHITECTURE_NAME = "OwsmForConditionalGeneration"

HUB_PATTERNS = (
    *(CONFIG_FILE, WEIGHTS_FILE, "model-*.safetensors", INDEX_FILE, TOKENS_FILE, SENTENCEPIECE_FILE),
    *(f"{GATES_FOLDER}/gate_*", f"{ESPNET_FOLDER}/*"),
    *ESPNET_PATTERNS,
)
"""The files of a Hub repository that are a model, in either layout; not its logs, figures and optimiser states."""


OwsmModel = SpeechModel[OwsmNetwork, OwsmVocabulary]
"""An OWSM in memory."""


@final
@dataclass(frozen=True, eq=False)
class StoredOwsm:
    """A model as a folder holds it, before there is a network."""

    architecture: OwsmArchitecture
    weights: dict[str, Tensor]
    """Under the names of `OwsmNetwork`, as they are stored."""
    vocabulary: OwsmVocabulary


def load_owsm(source: str | Path, *, device: torch.device | str = "cpu") -> OwsmModel:
    """Return the model at `source` in fp32 and eval mode.

    `source` is a folder in transformers' or in ESPnet's layout, a `.pth` file of ESPnet, or a name on the Hub.

    Raises:
        SkipwiseError: if it is not there, not an OWSM, damaged, or its weights are not exactly those of its config.
    """
    place = model_place(source)
    folder = place if place.is_dir() else place.parent
    is_ours = place.is_dir() and not is_espnet(place)
    stored = read_folder(place) if is_ours else read_espnet(EspnetFiles.find(place, name=str(source)))
    with torch.device("meta"):
        network = OwsmNetwork(stored.architecture)
    network.load_state_dict({name: tensor.float() for name, tensor in stored.weights.items()}, assign=True)
    return OwsmModel(network.to(device).eval(), stored.vocabulary, str(source), folder)


def save_owsm(
    folder: str | Path, network: OwsmNetwork, vocabulary: OwsmVocabulary, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write config, weights as `dtype` and tokens into `folder`, which appears whole or not at all.

    What was in `folder` is gone then, gates included: they belong to the weights that they were trained with.
    """
    with atomic_dir(folder) as aside:
        write_config(aside, network.config, dtype)
        write_weights(aside, {name: tensor.to(dtype) for name, tensor in network.base_state().items()})
        vocabulary.save(aside)


def model_place(source: str | Path) -> Path:
    """Return the folder of a model, the one with its files in the Hub's cache, or one `.pth` or `.yaml` of ESPnet's.

    Raises:
        SkipwiseError: if there is none.
    """
    if Path(source).is_file():
        if Path(source).suffix in (".pth", ".yaml"):
            return Path(source)
        raise SkipwiseError(
            f"no model at {source}: a file, not a folder. `skipwise convert {source} DIR` unpacks one that ESPnet "
            "packed; then name DIR."
        )
    needs = f"{CONFIG_FILE}, or ESPnet's config.yaml and .pth"
    return local_folder(source, what="model", needs=needs, patterns=HUB_PATTERNS)


def is_espnet(folder: Path) -> bool:
    """Return whether a folder holds a model in ESPnet's layout; where it is in both, transformers' counts."""
    if not (folder / CONFIG_FILE).exists():
        return not (folder / TOKENS_FILE).exists() and has_espnet_files(folder)
    return (folder / META_FILE).exists() and _read_record(folder / CONFIG_FILE).get("model_type") != MODEL_TYPE


def read_folder(folder: Path) -> StoredOwsm:
    """Return the model in a folder in transformers' layout; memory fills as its weights are used.

    Raises:
        SkipwiseError: if a file is missing or damaged, or the weights are not exactly those of the config.
    """
    architecture = read_config(folder / CONFIG_FILE)
    weights = read_weights(folder)
    found = {name: tensor.shape for name, tensor in weights.items()}
    check_weights(folder, found, network_shapes(architecture))
    return StoredOwsm(architecture, weights, OwsmVocabulary.load(folder))


def write_config(folder: Path, architecture: OwsmArchitecture, dtype: torch.dtype) -> None:
    """Write the `config.json` of a model whose weights are stored as `dtype`."""
    record = {
        "architectures": [ARCHITECTURE_NAME],
        "model_type": MODEL_TYPE,
        "dtype": str(dtype).removeprefix("torch."),
        "is_encoder_decoder": True,
        **{field.name: getattr(architecture, field.name) for field in dataclasses.fields(OwsmArchitecture)},
    }
    with atomic_write(folder / CONFIG_FILE) as file:
        json.dump(record, file, indent=2)


def read_config(path: Path) -> OwsmArchitecture:
    """Return the sizes in a `config.json`.

    Raises:
        SkipwiseError: if it is missing, damaged, or that of another type of model.
    """
    record = _read_record(path)
    if record.get("model_type") != MODEL_TYPE:
        raise SkipwiseError(
            f"{path} describes a model of type {record.get('model_type')!r}; this reads {MODEL_TYPE!r}."
        )
    known = {field.name for field in dataclasses.fields(OwsmArchitecture)}
    return OwsmArchitecture(**{name: value for name, value in record.items() if name in known})


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise SkipwiseError(f"no model in {path.parent}: {CONFIG_FILE} is missing.") from error
    except (ValueError, TypeError) as error:  # not UTF-8, not JSON, not an object
        raise SkipwiseError(f"{path} is not a model's config: {error}.") from error
