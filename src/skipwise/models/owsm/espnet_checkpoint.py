"""An ESPnet model read from its files: mapped, not copied, and checked against its own config."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_files import EspnetFiles, read_yaml
from skipwise.models.owsm.espnet_gates import trained_gates, without_gates
from skipwise.models.owsm.espnet_keys import MEL_FILTERS_KEY, architecture_from_espnet, espnet_names, from_espnet_state
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.models.owsm.weights import check_weights, network_shapes

_ZIP_START = b"PK\x03\x04"


@final
@dataclass(frozen=True, eq=False)
class EspnetCheckpoint:
    """What an ESPnet model holds."""

    files: EspnetFiles
    config: dict[str, Any]
    """`config.yaml`, its `token_list` as a list."""
    architecture: OwsmArchitecture
    weights: dict[str, Tensor]
    """Under the names of `OwsmNetwork`, as they are stored."""
    mel_filters: Tensor
    vocabulary: OwsmVocabulary
    gates: GateAdapter | None
    """Those that ESPnet's trainer trained together with the base."""


def read_espnet(files: EspnetFiles) -> EspnetCheckpoint:
    """Return the model in these files; memory fills as its weights are used.

    Raises:
        SkipwiseError: if a file is missing or damaged, the config asks for something that OWSM does not have, or the
            weights are not exactly those of the config.
    """
    config = read_yaml(files.config)
    config["token_list"] = _token_list(files, config.get("token_list"))
    architecture = architecture_from_espnet(config)
    bpe_model = files.needed("bpemodel", config.get("bpemodel"))
    stored = _read_state(files.weights)
    state = without_gates(stored)
    weights = from_espnet_state(state)
    names = espnet_names(architecture)
    expected = {names[name]: shape for name, shape in network_shapes(architecture).items()}
    expected[MEL_FILTERS_KEY] = state[MEL_FILTERS_KEY].shape if MEL_FILTERS_KEY in state else torch.Size()
    check_weights(files.weights, {key: tensor.shape for key, tensor in state.items()}, expected)
    return EspnetCheckpoint(
        files,
        config,
        architecture,
        weights,
        state[MEL_FILTERS_KEY],
        OwsmVocabulary(config["token_list"], bpe_model.read_bytes()),
        trained_gates(stored, config, architecture, weights, files.weights),
    )


def _token_list(files: EspnetFiles, value: Any) -> list[str]:
    """The tokens in the config, or those in the file that it names, which ESPnet reads in this way."""
    if isinstance(value, str):
        with open(files.needed("token_list", value), encoding="utf-8") as lines:
            return [line.rstrip() for line in lines]
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise SkipwiseError(
            f"the ESPnet config {files.config} has no token_list. Give the config.yaml that ESPnet wrote in training."
        )
    return value


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        with path.open("rb") as file:  # torch maps its newer files; those from before 1.6 are no zip, and are read
            is_mapped = file.read(len(_ZIP_START)) == _ZIP_START
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n", 1)[0]
        raise SkipwiseError(f"cannot read the weights {path}: {reason} Copy the model again.") from error
    if isinstance(state, Mapping) and set(state) == {"module"}:  # DeepSpeed's form, which ESPnet reads too
        state = state["module"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        held = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        raise SkipwiseError(
            f"{path} holds more or less than a model's weights: {held}. Name the file of the weights alone, such as "
            "valid.acc.ave.pth, not the trainer's checkpoint.pth."
        )
    return state
