"""An adapter as files: `gate_config.json`, `gate_model.safetensors` and, with changes of the base, its LoRA weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from skipwise.atomic import atomic_dir, atomic_write, usual_mode
from skipwise.errors import SkipwiseError
from skipwise.gating.adapter import GateAdapter, GateBase, GateConfig
from skipwise.gating.card import CARD_FILE, model_card
from skipwise.gating.lora import LoraWeights
from skipwise.gating.predictors.base import predictor_config_class
from skipwise.gating.sites import GateSite
from skipwise.hub import local_folder

CONFIG_FILE = "gate_config.json"
WEIGHTS_FILE = "gate_model.safetensors"
LORA_FILE = "gate_lora.safetensors"
FORMAT_VERSION = 1


def write_adapter(adapter: GateAdapter, folder: str | Path) -> None:
    """Write an adapter into `folder`, which appears whole or not at all."""
    record = {
        "format": FORMAT_VERSION,
        "config": config_record(adapter.config),
        "base": {**dataclasses.asdict(adapter.base), "sites": [str(site) for site in adapter.base.sites]},
        "notes": adapter.notes,
    }
    if adapter.lora is not None:
        record["lora"] = {"scaling": adapter.lora.scaling}
    with atomic_dir(folder) as aside:
        with atomic_write(aside / CONFIG_FILE) as file:
            json.dump(record, file, indent=2, ensure_ascii=False)
        _write_tensors(adapter.state_dict(), aside / WEIGHTS_FILE)
        if adapter.lora is not None:
            _write_tensors(adapter.lora.tensors(), aside / LORA_FILE)
        with atomic_write(aside / CARD_FILE) as file:
            file.write(model_card(adapter))


def read_adapter(source: str | Path) -> GateAdapter:
    """Return the adapter saved in a folder, or under a name on the Hub, in eval mode.

    Raises:
        SkipwiseError: if files are missing or damaged, or their keys are not exactly those of the adapter.
    """
    patterns = (CONFIG_FILE, WEIGHTS_FILE, LORA_FILE)
    folder = local_folder(source, what="gate adapter", needs=CONFIG_FILE, patterns=patterns)
    record = _read_record(folder / CONFIG_FILE)
    config, base, notes = _described(record, folder / CONFIG_FILE)
    lora = None
    if record.get("lora") is not None:
        lora = LoraWeights.of_tensors(_read_tensors(folder / LORA_FILE), scaling=float(record["lora"]["scaling"]))
    adapter = GateAdapter(config, base, notes=notes, lora=lora)
    weights = _read_tensors(folder / WEIGHTS_FILE)
    wrong = set(weights.keys() ^ adapter.state_dict().keys())
    if wrong:
        raise SkipwiseError(f"{folder / WEIGHTS_FILE} has missing or unknown keys: {', '.join(sorted(wrong))}.")
    adapter.load_state_dict(weights)
    return adapter.eval()


def base_named_in(source: str | Path) -> str | None:
    """Return the base that the adapter in a folder, or on the Hub, was trained on, by the name that training knew.

    Raises:
        SkipwiseError: if there is no adapter.
    """
    folder = local_folder(source, what="gate adapter", needs=CONFIG_FILE, patterns=(CONFIG_FILE,))
    return (_read_record(folder / CONFIG_FILE).get("notes") or {}).get("base")


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    with usual_mode(path):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SkipwiseError(f"cannot read {path}: {error}. Copy the adapter's folder again.") from error


def config_record(config: GateConfig) -> dict[str, Any]:
    """Return a config as plain values, for JSON or YAML."""
    predictor = {"kind": type(config.predictor).__name__, **dataclasses.asdict(config.predictor)}
    return {**dataclasses.asdict(config), "predictor": predictor}


def config_of(record: Mapping[str, Any]) -> GateConfig:
    """Return the config in a record that `config_record` made."""
    predictor = dict(record["predictor"])
    kind = predictor_config_class(predictor.pop("kind"))
    fields: dict[str, Any] = {**_without_lists(record), "predictor": kind(**predictor)}
    return GateConfig(**fields)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT_VERSION:
            raise SkipwiseError(
                f"{path} has format {record['format']}, this version reads {FORMAT_VERSION}. Update skipwise."
            )
        return dict(record)
    except FileNotFoundError as error:
        raise SkipwiseError(f"no gate adapter in {path.parent}: {path.name} is missing.") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SkipwiseError(f"{path} is not a gate adapter's config: {error}.") from error


def _described(record: dict[str, Any], path: Path) -> tuple[GateConfig, GateBase, dict[str, Any]]:
    try:
        base = _without_lists(record["base"])
        base["sites"] = tuple(GateSite.parse(text) for text in base["sites"])
        return config_of(record["config"]), GateBase(**base), dict(record["notes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise SkipwiseError(f"{path} is not a gate adapter's config: {error}.") from error


def _without_lists(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with tuples where JSON has lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
