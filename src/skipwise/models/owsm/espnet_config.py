"""The `config.yaml` and the feature statistics that ESPnet needs of a model, made from ours.

Source: ESPnet 202511, `espnet2.tasks.s2t`, `espnet2.layers.global_mvn`, and the recipe of OWSM v3.1 (`egs2/owsm_v3.1`).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import yaml
from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.features.log_mel import FFT_SIZE, HOP_LENGTH, SAMPLE_RATE, WIN_LENGTH
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_keys import OPTIONS, SUBSAMPLING, WINDOW_SECTION, architecture_from_espnet

# fp16 weights hold the mean to 4e-3; statistics of another corpus are off by far more
_STATS_TOLERANCE = 2e-2

# what a model that was not born in ESPnet gets; the sizes are put over it
_TEMPLATE: dict[str, Any] = {
    "init": None,
    "input_size": None,
    "use_preprocessor": True,
    "token_type": "bpe",
    "bpemodel": "data/token_list/bpe_unigram/bpe.model",
    "token_list": [],
    "non_linguistic_symbols": None,
    "cleaner": None,
    "g2p": None,
    "speech_volume_normalize": None,
    "rir_scp": None,
    "rir_apply_prob": 1.0,
    "noise_scp": None,
    "noise_apply_prob": 1.0,
    "noise_db_range": "13_15",
    "short_noise_thres": 0.5,
    "frontend": "default",
    "frontend_conf": {"n_fft": FFT_SIZE, "win_length": WIN_LENGTH, "hop_length": HOP_LENGTH, "fs": SAMPLE_RATE},
    "specaug": "specaug",
    "specaug_conf": {
        "apply_time_warp": False, "time_warp_window": 5, "time_warp_mode": "bicubic",
        "apply_freq_mask": True, "freq_mask_width_range": [0, 27], "num_freq_mask": 2,
        "apply_time_mask": True, "time_mask_width_ratio_range": [0.0, 0.05], "num_time_mask": 10,
    },
    "normalize": "global_mvn",
    "normalize_conf": {"stats_file": "exp/s2t_stats_raw_bpe/train/feats_stats.npz"},
    "preencoder": None,
    "preencoder_conf": {},
    "encoder": "e_branchformer",
    "encoder_conf": {
        "attention_layer_type": "selfattn", "pos_enc_layer_type": "abs_pos", "rel_pos_type": "latest",
        "use_linear_after_conv": False, "gate_activation": "identity", "positionwise_layer_type": "linear",
        "use_ffn": True, "macaron_ffn": True, "layer_drop_rate": 0.0,
    },
    "postencoder": None,
    "postencoder_conf": {},
    "decoder": "transformer",
    "decoder_conf": {},
    "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "zero_infinity": True},
    "model": "espnet",
    "model_conf": {"sym_na": "<na>"},
    "preprocessor": "s2t",
    "preprocessor_conf": {
        "text_prev_name": "text_prev", "text_ctc_name": "text_ctc", "fs": SAMPLE_RATE, "na_symbol": "<na>",
        "speech_resolution": 0.02, "speech_init_silence": 30,
    },
    "allow_variable_data_keys": False,
}  # fmt: skip


def espnet_config(
    architecture: OwsmArchitecture, tokens: Sequence[str], origin: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return ESPnet's config of a model: `origin`, the one that it was born with, with what has changed since.

    Raises:
        SkipwiseError: if a token's id is not the one that it has in `tokens`.
    """
    config = copy.deepcopy(dict(_template(architecture, tokens) if origin is None else origin))
    config["token_list"] = list(tokens)
    config["bpemodel"] = _relative(config.get("bpemodel"), _TEMPLATE["bpemodel"])
    stats = config["normalize_conf"] = dict(config.get("normalize_conf") or {})
    stats["stats_file"] = _relative(stats.get("stats_file"), _TEMPLATE["normalize_conf"]["stats_file"])
    described = architecture_from_espnet(config)
    for field, places in OPTIONS.items():
        value = getattr(architecture, field)
        if value != getattr(described, field):
            _put(config, places, _spelled(field, value))
    if (architecture.window_s, architecture.max_window_s) != (described.window_s, described.max_window_s):
        _put_window(config, architecture)
    _check_same(architecture, architecture_from_espnet(config))
    return config


def write_yaml(file: IO[str], record: Mapping[str, Any]) -> None:
    """Write a mapping as ESPnet does: in its order, without aliases."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    plain = type("PlainDumper", (dumper,), {"ignore_aliases": lambda self, data: True})
    yaml.dump(dict(record), file, Dumper=plain, sort_keys=False, allow_unicode=True, indent=4)


def write_stats(file: IO[bytes], mean: Float[Tensor, " mels"], std: Float[Tensor, " mels"]) -> None:
    """Write a `feats_stats.npz` from which ESPnet computes this mean and standard deviation."""
    mean_M, std_M = mean.double().numpy(), std.double().numpy()
    np.savez(file, count=np.float64(1.0), sum=mean_M, sum_square=std_M**2 + mean_M**2)


def stats_agree(path: Path, mean: Float[Tensor, " mels"], std: Float[Tensor, " mels"]) -> bool:
    """Return whether a `feats_stats.npz`, or Kaldi's form of it, tells of this mean and standard deviation."""
    try:
        stored = np.load(path)
    except (OSError, ValueError, EOFError):  # damaged: ESPnet could not read it either
        return False
    if isinstance(stored, np.ndarray):
        count, total, squares = stored[0, -1], stored[0, :-1], stored[1, :-1]
    else:
        count, total, squares = stored["count"], stored["sum"], stored["sum_square"]
    theirs = total / count
    deviation = np.sqrt(np.maximum(squares / count - theirs**2, 1e-20))
    pairs = ((theirs, mean), (deviation, std))
    return all(
        found.shape == tuple(wanted.shape)
        and np.allclose(found, wanted.double().numpy(), rtol=_STATS_TOLERANCE, atol=_STATS_TOLERANCE)
        for found, wanted in pairs
    )


def _template(architecture: OwsmArchitecture, tokens: Sequence[str]) -> dict[str, Any]:
    """The template with every size in it, and the symbols that ESPnet's preprocessor asks for."""
    config = copy.deepcopy(_TEMPLATE)
    for field, places in OPTIONS.items():
        _put(config, places, _spelled(field, getattr(architecture, field)))
    config["preprocessor_conf"] |= {
        "notime_symbol": tokens[architecture.no_timestamps_token_id],
        "first_time_symbol": tokens[architecture.first_timestamp_token_id],
        "last_time_symbol": tokens[architecture.last_timestamp_token_id],
    }
    _put_window(config, architecture)
    return config


def _put(config: dict[str, Any], places: Sequence[tuple[str, str]], value: Any) -> None:
    for section, option in places:
        config[section] = {**(config.get(section) or {}), option: value}


def _put_window(config: dict[str, Any], architecture: OwsmArchitecture) -> None:
    """ESPnet pads everything to one length; what else a window can be stands in a section that it does not read."""
    length_s = architecture.max_window_s if architecture.window_s is None else architecture.window_s
    _put(config, (("preprocessor_conf", "speech_length"),), int(length_s) if length_s == int(length_s) else length_s)
    config.pop(WINDOW_SECTION, None)
    windows = {"window_s": architecture.window_s, "max_window_s": architecture.max_window_s}
    if set(windows.values()) != {length_s}:
        config[WINDOW_SECTION] = windows


def _spelled(field: str, value: Any) -> Any:
    return (
        next(name for name, factor in SUBSAMPLING.items() if factor == value)
        if field == "subsampling_factor"
        else value
    )


def _relative(path: str | None, otherwise: str) -> str:
    """A path that stays inside the model's folder; one on the machine where it was trained leads nowhere."""
    if not path:
        return otherwise
    there = PurePosixPath(path)
    return str(PurePosixPath(otherwise).with_name(there.name)) if there.is_absolute() or ".." in there.parts else path


def _check_same(ours: OwsmArchitecture, theirs: OwsmArchitecture) -> None:
    for field in dataclasses.fields(OwsmArchitecture):
        wanted, got = getattr(ours, field.name), getattr(theirs, field.name)
        if wanted != got and not isinstance(wanted, dict):  # fewer languages or tasks are a choice of ours
            raise SkipwiseError(
                f"{field.name} must be {got!r}, as the token list says; the model's config has {wanted!r}. Correct it "
                "there."
            )
