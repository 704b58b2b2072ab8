"""`convert_owsm`: a model from ESPnet's layout to transformers', and back, tensor by tensor and value for value."""

from __future__ import annotations

import fnmatch
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, final, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from skipwise.atomic import atomic_dir, atomic_write, usual_mode
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.features.log_mel import mel_filters
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_checkpoint import EspnetCheckpoint, read_espnet
from skipwise.models.owsm.espnet_config import espnet_config, stats_agree, write_stats, write_yaml
from skipwise.models.owsm.espnet_files import (
    CONFIG_KEY,
    META_FILE,
    MODEL_KEY,
    TRAIN_CONFIG,
    EspnetFiles,
    read_yaml,
    unpacked,
)
from skipwise.models.owsm.espnet_keys import MEL_FILTERS_KEY, espnet_names
from skipwise.models.owsm.loading import (
    CONFIG_FILE,
    ESPNET_FOLDER,
    GATES_FOLDER,
    StoredOwsm,
    is_espnet,
    model_place,
    read_config,
    read_folder,
    write_config,
)
from skipwise.models.owsm.vocabulary import SENTENCEPIECE_FILE, TOKENS_FILE
from skipwise.models.owsm.weights import INDEX_FILE, MAX_SHARD_BYTES, Progress, write_weights

Layout = Literal["transformers", "espnet"]

MEL_FILTERS_FILE = "mel_filters.safetensors"
EXPORTED_CONFIG = f"exp/s2t/{TRAIN_CONFIG}"
EXPORTED_WEIGHTS = "exp/s2t/model.pth"

# what this module writes, place by place: nothing else may be in a folder that is replaced
_WRITTEN = tuple(
    PurePosixPath(pattern).parts
    for pattern in (
        *(CONFIG_FILE, "model.safetensors", "model-?????-of-?????.safetensors", INDEX_FILE, TOKENS_FILE),
        *("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json"),
        *(SENTENCEPIECE_FILE, *(f"{ESPNET_FOLDER}/{name}" for name in (TRAIN_CONFIG, MEL_FILTERS_FILE, "*.np[yz]"))),
        *(META_FILE, EXPORTED_CONFIG, EXPORTED_WEIGHTS),
    )
)
_FILES_NAMED = 3


@final
@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written."""

    folder: Path
    layout: Layout
    architecture: OwsmArchitecture
    num_parameters: int
    num_bytes: int
    """Of all files together."""


def convert_owsm(
    source: str | Path,
    target: str | Path,
    *,
    to: Layout = "transformers",
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> Conversion:
    """Write the model at `source` into the folder `target` in the other layout, whole or not at all.

    `source` is an ESPnet model (its folder, its `.pth` file, a packed archive, a Hub name), or for `to="espnet"` a
    folder in transformers' layout or a Hub name. Weights keep their type unless `dtype` is given. What transformers'
    layout has no place for stays beside it in `espnet/`, so that the way back is exact.

    Raises:
        SkipwiseError: if the source is not there, not an OWSM, damaged or in that layout already, or if `target` has
            files and `overwrite` is not set, or files that this did not write.
    """
    if to not in get_args(Layout):
        raise SkipwiseError(f"a model is converted to one of {', '.join(get_args(Layout))}; got {to!r}.")
    folder = Path(target)
    _check_target(source, folder, overwrite=overwrite)
    if to == "espnet":
        if dtype is not None:
            raise SkipwiseError(
                f"dtype is for transformers' layout, got {dtype}: an ESPnet model keeps the type of its weights. "
                "Leave it out."
            )
        architecture, num_parameters = _to_espnet(model_place(source), folder, progress)
    else:
        with _opened(source, folder.absolute().parent) as place:
            files = _espnet_files(place, str(source))
            checkpoint = read_espnet(files)
            _to_transformers(checkpoint, folder, dtype, max_shard_bytes, progress)
        architecture, num_parameters = checkpoint.architecture, _num_values(checkpoint.weights)
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Conversion(
        folder=folder, layout=to, architecture=architecture, num_parameters=num_parameters, num_bytes=num_bytes
    )


def _to_transformers(
    checkpoint: EspnetCheckpoint,
    target: Path,
    dtype: torch.dtype | None,
    max_shard_bytes: int,
    progress: Progress | None,
) -> None:
    from skipwise.models.owsm.processing import OwsmProcessor

    files, config = checkpoint.files, checkpoint.config
    stats_file = (config.get("normalize_conf") or {}).get("stats_file")
    stats = files.needed("normalize_conf.stats_file", stats_file)
    _warn_of_gates(files.root)
    with atomic_dir(target) as aside:
        write_config(aside, checkpoint.architecture, dtype or checkpoint.weights["ctc_head.weight"].dtype)
        write_weights(aside, checkpoint.weights, dtype=dtype, max_shard_bytes=max_shard_bytes, progress=progress)
        checkpoint.vocabulary.save(aside)
        OwsmProcessor.for_model(aside).save_pretrained(aside)
        origin = aside / ESPNET_FOLDER
        origin.mkdir()
        with atomic_write(origin / TRAIN_CONFIG) as file:
            write_yaml(file, {**config, "token_list": TOKENS_FILE})
        shutil.copyfile(stats, origin / stats.name)
        with usual_mode(origin / MEL_FILTERS_FILE):
            save_file({MEL_FILTERS_KEY: checkpoint.mel_filters.contiguous()}, origin / MEL_FILTERS_FILE)
        if checkpoint.gates is not None:
            checkpoint.gates.save_pretrained(aside / GATES_FOLDER)


def _to_espnet(source: Path, target: Path, progress: Progress | None) -> tuple[OwsmArchitecture, int]:
    if source.is_file() or is_espnet(source):
        raise SkipwiseError(f"{source} is in ESPnet's layout already. For transformers' leave out --to espnet.")
    stored = read_folder(source)
    origin = source / ESPNET_FOLDER
    born = read_yaml(origin / TRAIN_CONFIG) if (origin / TRAIN_CONFIG).is_file() else None
    if born is not None:
        born["token_list"] = list(stored.vocabulary.tokens)
    config = espnet_config(stored.architecture, stored.vocabulary.tokens, born)
    _warn_of_gates(source)
    _warn_of_padding(stored.architecture)
    with atomic_dir(target) as aside:
        with atomic_write(aside / META_FILE) as file:
            write_yaml(file, {"files": {MODEL_KEY: EXPORTED_WEIGHTS}, "yaml_files": {CONFIG_KEY: EXPORTED_CONFIG}})
        with atomic_write(aside / EXPORTED_CONFIG) as file:
            write_yaml(file, config)
        with atomic_write(aside / config["bpemodel"], "wb") as file:
            file.write(stored.vocabulary.sentencepiece_model)
        _write_stats(aside / config["normalize_conf"]["stats_file"], stored, origin)
        state = _espnet_state(stored, origin)
        with atomic_write(aside / EXPORTED_WEIGHTS, "wb") as file:
            counted = _Counted(file, sum(tensor.nbytes for tensor in state.values()), progress)
            torch.save(state, counted)  # pyrefly: ignore[bad-argument-type]
    return stored.architecture, _num_values(stored.weights)


def _espnet_state(stored: StoredOwsm, origin: Path) -> dict[str, Tensor]:
    """The state dict in ESPnet's order; the tensors are mapped, and written one after the other."""
    weights = stored.weights
    filters = mel_filters(stored.architecture.num_mel_bins)
    if (origin / MEL_FILTERS_FILE).is_file():
        born = load_file(origin / MEL_FILTERS_FILE)[MEL_FILTERS_KEY]
        filters = born if born.shape == filters.shape else filters
    names = espnet_names(stored.architecture)
    return {MEL_FILTERS_KEY: filters} | {names[name]: weights[name] for name in names if name in weights}


def _write_stats(path: Path, stored: StoredOwsm, origin: Path) -> None:
    """Those that the model was born with, as long as they are still its own."""
    mean, std = stored.weights["feature_mean"], stored.weights["feature_std"]
    born = origin / path.name
    with atomic_write(path, "wb") as file:
        if born.is_file() and stats_agree(born, mean, std):
            file.write(born.read_bytes())
        else:
            write_stats(file, mean, std)


@contextmanager
def _opened(source: str | Path, beside: Path) -> Iterator[Path]:
    """The folder of the source, or its one file; an archive is unpacked on the disk that the result goes to."""
    path = Path(source)
    if path.is_file() and path.suffix not in (".pth", ".yaml"):
        with unpacked(path, beside=beside) as folder:
            yield folder
    else:
        yield model_place(source)


def _espnet_files(place: Path, name: str) -> EspnetFiles:
    if (place / CONFIG_FILE).is_file() and not is_espnet(place):
        read_config(place / CONFIG_FILE)  # names another type of model
        raise SkipwiseError(f"{name} is in transformers' layout already. For ESPnet's add --to espnet.")
    return EspnetFiles.find(place, name=name)


def _check_target(source: str | Path, target: Path, *, overwrite: bool) -> None:
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not overwrite:
        raise SkipwiseError(f"{target} is not empty. Name another folder, or replace the model in it with --overwrite.")
    if Path(os.path.realpath(source)).is_relative_to(os.path.realpath(target)):
        raise SkipwiseError(f"{target} holds the source, {source}: it cannot be replaced by it. Name another folder.")
    if Path.cwd().is_relative_to(os.path.realpath(target)):
        raise SkipwiseError(f"{target} holds the working directory: it cannot be replaced. Name another folder.")
    files = [path.relative_to(target) for path in sorted(target.rglob("*")) if not path.is_dir()]
    named = _named_in(target)
    foreign = [str(file) for file in files if str(file) not in named and not _is_written(file)]
    if foreign:
        more = f" and {len(foreign) - _FILES_NAMED} more" if len(foreign) > _FILES_NAMED else ""
        raise SkipwiseError(
            f"{target} holds files that are no conversion's, and would be lost: {', '.join(foreign[:_FILES_NAMED])}"
            f"{more}. Move them away, or name another folder."
        )


def _is_written(file: Path) -> bool:
    return any(len(parts) == len(file.parts) and all(map(fnmatch.fnmatchcase, file.parts, parts)) for parts in _WRITTEN)


def _named_in(target: Path) -> set[str]:
    """The tokens and statistics of an exported model, whose places its own config names."""
    if not (target / EXPORTED_CONFIG).is_file():
        return set()
    config = read_yaml(target / EXPORTED_CONFIG)
    return {str(config.get("bpemodel")), str((config.get("normalize_conf") or {}).get("stats_file"))}


def _num_values(weights: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in weights.values())


def _warn_of_gates(source: Path) -> None:
    if (source / GATES_FOLDER).is_dir():
        warnings.warn(
            f"the gates in {source / GATES_FOLDER} stay behind: they are no part of an ESPnet model. They fit this "
            "model in either layout, as long as its weights are the same.",
            SkipwiseWarning,
            stacklevel=4,
        )


def _warn_of_padding(architecture: OwsmArchitecture) -> None:
    if architecture.window_s is None:
        warnings.warn(
            f"this model was trained on audio as long as it is, but ESPnet pads it to {architecture.max_window_s:g} s "
            "and attends to the padding: expect invented text there.",
            SkipwiseWarning,
            stacklevel=4,
        )


@final
class _Counted:
    """A file for `torch.save` that tells how far it is."""

    def __init__(self, file: IO[bytes], total: int, progress: Progress | None) -> None:
        self._file, self._total, self._progress, self._done = file, total, progress, 0

    def write(self, data: Any) -> int:
        """Write bytes, and tell."""
        written = self._file.write(data)
        self._done += written
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)
        return written

    def flush(self) -> None:
        """As a file does."""
        self._file.flush()
