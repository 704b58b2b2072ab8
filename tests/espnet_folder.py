"""A tiny model in ESPnet's packed layout, without ESPnet: the weights and the config of a golden file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from skipwise.models.owsm.espnet_keys import architecture_from_espnet, espnet_names
from tests.tiny import tiny_vocabulary

GOLDEN = Path(__file__).parent / "golden" / "owsm"
CONFIG = "exp/s2t_train_tiny/config.yaml"
WEIGHTS = "exp/s2t_train_tiny/valid.total_count.ave_5best.till45epoch.pth"
BPE_MODEL = "data/token_list/bpe_unigram50000/bpe.model"
STATS = "exp/s2t_stats_raw_bpe50000/train/feats_stats.npz"
MEL_FILTERS = "frontend.logmel.melmat"


@lru_cache(maxsize=2)
def _golden(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    record = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return {**record["config"], "token_list": record["token_list"]}, load_file(GOLDEN / f"{name}.safetensors")


def espnet_config_of(name: str) -> dict[str, Any]:
    """Return the config of a golden file as a published OWSM has it, with paths from the archive's root on."""
    config, _ = _golden(name)
    return {
        **config,
        "encoder_conf": {**config["encoder_conf"], "layer_drop_rate": 0.1},  # concerns training alone
        "normalize_conf": {"stats_file": STATS},
        "token_type": "bpe",
        "bpemodel": BPE_MODEL,
        "optim_conf": {"lr": 2e-4, "betas": [0.9, 0.98]},
        "preprocessor": "s2t",
        "preprocessor_conf": {"fs": 16000, "speech_length": 30, "notime_symbol": "<notimestamps>"},
    }


def espnet_state_of(name: str) -> dict[str, Tensor]:
    """Return the state dict of a golden file; the statistics in float64, as NumPy 2 leaves them before training."""
    config, tensors = _golden(name)
    state = {key.removeprefix("state."): tensor for key, tensor in tensors.items() if key.startswith("state.")}
    keys = [MEL_FILTERS, *(key for key in espnet_names(architecture_from_espnet(config)).values() if key in state)]
    return {key: state[key].double() if key.startswith("normalize.") else state[key] for key in keys}


def write_espnet(root: Path, name: str = "v3_tiny") -> Path:
    """Write the model of a golden file as ESPnet packs it, and return its folder."""
    for file in (CONFIG, BPE_MODEL, STATS):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
    meta = {"files": {"s2t_model_file": WEIGHTS}, "yaml_files": {"s2t_train_config": CONFIG}, "espnet": "202511"}
    (root / "meta.yaml").write_text(yaml.safe_dump(meta))
    write_config(root, espnet_config_of(name))
    torch.save(espnet_state_of(name), root / WEIGHTS)
    (root / BPE_MODEL).write_bytes(tiny_vocabulary().sentencepiece_model)
    stats: Any = {
        key.removeprefix("stats."): tensor.numpy() for key, tensor in _golden(name)[1].items() if "stats." in key
    }
    np.savez(root / STATS, **stats)
    (root / "exp/s2t_train_tiny/train.log").write_text("not needed")
    return root


def write_config(root: Path, config: dict[str, Any]) -> None:
    """Write `config.yaml` as ESPnet does."""
    (root / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, indent=4), encoding="utf-8")
