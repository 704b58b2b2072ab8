"""ESPnet's names for what an OWSM holds: its parameters, and the sizes in its `config.yaml`. Torch only.

Source: ESPnet 202511, `espnet2.tasks.s2t`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.features.log_mel import FFT_SIZE, HOP_LENGTH, SAMPLE_RATE, WIN_LENGTH, mel_filters
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.vocabulary import token_fields

MEL_FILTERS_KEY = "frontend.logmel.melmat"
READABLE = "Only E-Branchformer OWSMs (v3.1, v4) can be read."
_MEL_TOLERANCE = 1e-6  # float32 rounding of librosa's filters; another mel scale is off by 1e-2

# one rule for each kind of module, in the order of ESPnet's state dict; `#` stands for a layer's number
_EMBEDDING = {
    # ReLUs lie between the convolutions: ESPnet counts them too
    **{f"encoder.embed.conv.{2 * i}": f"encoder.conv_embedding.convs.{i}" for i in range(3)},
    "encoder.embed.out": "encoder.conv_embedding.out_proj",  # conv2d8
    "encoder.embed.out.0": "encoder.conv_embedding.out_proj",  # conv2d
}
_ENCODER_LAYER = {
    "encoder.encoders.#.attn.linear_q": "encoder.layers.#.self_attn.attention.q_proj",
    "encoder.encoders.#.attn.linear_k": "encoder.layers.#.self_attn.attention.k_proj",
    "encoder.encoders.#.attn.linear_v": "encoder.layers.#.self_attn.attention.v_proj",
    "encoder.encoders.#.attn.linear_out": "encoder.layers.#.self_attn.attention.out_proj",
    "encoder.encoders.#.cgmlp.channel_proj1.0": "encoder.layers.#.cgmlp.in_proj",
    "encoder.encoders.#.cgmlp.csgu.norm": "encoder.layers.#.cgmlp.gate_norm",
    "encoder.encoders.#.cgmlp.csgu.conv": "encoder.layers.#.cgmlp.gate_conv",
    "encoder.encoders.#.cgmlp.channel_proj2": "encoder.layers.#.cgmlp.out_proj",
    "encoder.encoders.#.feed_forward.w_1": "encoder.layers.#.ffn2.fc1",
    "encoder.encoders.#.feed_forward.w_2": "encoder.layers.#.ffn2.fc2",
    "encoder.encoders.#.feed_forward_macaron.w_1": "encoder.layers.#.ffn1.fc1",
    "encoder.encoders.#.feed_forward_macaron.w_2": "encoder.layers.#.ffn1.fc2",
    "encoder.encoders.#.norm_ff": "encoder.layers.#.ffn2.layer_norm",
    "encoder.encoders.#.norm_ff_macaron": "encoder.layers.#.ffn1.layer_norm",
    "encoder.encoders.#.norm_mha": "encoder.layers.#.self_attn.layer_norm",
    "encoder.encoders.#.norm_mlp": "encoder.layers.#.cgmlp.layer_norm",
    "encoder.encoders.#.norm_final": "encoder.layers.#.final_norm",
    "encoder.encoders.#.depthwise_conv_fusion": "encoder.layers.#.merge.conv",
    "encoder.encoders.#.merge_proj": "encoder.layers.#.merge.out_proj",
}
_BETWEEN = {
    "encoder.after_norm": "encoder.final_norm",
    "decoder.embed.0": "decoder.embed_tokens",
    "decoder.after_norm": "decoder.final_norm",
    "decoder.output_layer": "decoder.lm_head",
}
_DECODER_LAYER = {
    "decoder.decoders.#.self_attn.linear_q": "decoder.layers.#.self_attn.attention.q_proj",
    "decoder.decoders.#.self_attn.linear_k": "decoder.layers.#.self_attn.attention.k_proj",
    "decoder.decoders.#.self_attn.linear_v": "decoder.layers.#.self_attn.attention.v_proj",
    "decoder.decoders.#.self_attn.linear_out": "decoder.layers.#.self_attn.attention.out_proj",
    "decoder.decoders.#.src_attn.linear_q": "decoder.layers.#.src_attn.attention.q_proj",
    "decoder.decoders.#.src_attn.linear_k": "decoder.layers.#.src_attn.attention.k_proj",
    "decoder.decoders.#.src_attn.linear_v": "decoder.layers.#.src_attn.attention.v_proj",
    "decoder.decoders.#.src_attn.linear_out": "decoder.layers.#.src_attn.attention.out_proj",
    "decoder.decoders.#.feed_forward.w_1": "decoder.layers.#.ffn.fc1",
    "decoder.decoders.#.feed_forward.w_2": "decoder.layers.#.ffn.fc2",
    "decoder.decoders.#.norm1": "decoder.layers.#.self_attn.layer_norm",
    "decoder.decoders.#.norm2": "decoder.layers.#.src_attn.layer_norm",
    "decoder.decoders.#.norm3": "decoder.layers.#.ffn.layer_norm",
}
_HEAD = {"ctc.ctc_lo": "ctc_head"}
_MODULES = _EMBEDDING | _ENCODER_LAYER | _BETWEEN | _DECODER_LAYER | _HEAD
_BUFFERS = {"normalize.mean": "feature_mean", "normalize.std": "feature_std"}

_SECTIONS = ("frontend_conf", "normalize_conf", "encoder_conf", "decoder_conf", "model_conf", "preprocessor_conf")
# what ESPnet takes where a config is silent, of the options that are read here
_DEFAULTS: dict[str, dict[str, Any]] = {
    "frontend_conf": {"fs": SAMPLE_RATE, "n_fft": 512, "win_length": None, "hop_length": 128, "n_mels": 80},
    "normalize_conf": {},
    "encoder_conf": {
        "output_size": 256, "attention_heads": 4, "linear_units": 2048, "num_blocks": 12, "input_layer": "conv2d",
        "attention_layer_type": "rel_selfattn", "pos_enc_layer_type": "rel_pos", "use_ffn": False, "macaron_ffn": False,
        "cgmlp_linear_units": 2048, "cgmlp_conv_kernel": 31, "merge_conv_kernel": 3, "dropout_rate": 0.1,
        "attention_dropout_rate": 0.0,
    },
    "decoder_conf": {"attention_heads": 4, "linear_units": 2048, "num_blocks": 6},
    "model_conf": {"ctc_weight": 0.5, "lsm_weight": 0.0, "length_normalized_loss": False},
    "preprocessor_conf": {"speech_length": 30, "time_apply_prob": 0.5, "text_prev_apply_prob": 0.5},
}  # fmt: skip
# what the port computes: a checkpoint that asks for anything else would load, and be wrong
_ONLY: dict[str, dict[str, Any]] = {
    "frontend_conf": {
        "n_fft": FFT_SIZE, "win_length": WIN_LENGTH, "hop_length": HOP_LENGTH, "window": "hann", "center": True,
        "normalized": False, "onesided": True, "fmin": None, "fmax": None, "htk": False, "apply_stft": True,
    },
    "normalize_conf": {"norm_means": True, "norm_vars": True},
    "encoder_conf": {
        "attention_layer_type": "selfattn", "pos_enc_layer_type": "abs_pos", "use_linear_after_conv": False,
        "gate_activation": "identity", "positionwise_layer_type": "linear", "use_ffn": True, "macaron_ffn": True,
        "ffn_activation_type": "swish", "zero_triu": False, "qk_norm": False, "interctc_use_conditioning": False,
    },
    "decoder_conf": {
        "input_layer": "embed", "use_output_layer": True, "normalize_before": True, "concat_after": False,
        "qk_norm": False,
    },
    "model_conf": {"interctc_weight": 0.0},
    "preprocessor_conf": {},
}  # fmt: skip
_PARTS = {
    "frontend": "default", "normalize": "global_mvn", "preencoder": None, "encoder": "e_branchformer",
    "postencoder": None, "decoder": "transformer", "use_adapter": False,
}  # fmt: skip
SUBSAMPLING = {"conv2d": 4, "conv2d8": 8}
WINDOW_SECTION = "skipwise"
"""What ESPnet has no word for: `window_s` and `max_window_s` of a model that does not pad to one length."""

OPTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "hidden_size": (("encoder_conf", "output_size"),),
    "num_mel_bins": (("frontend_conf", "n_mels"),),
    "subsampling_factor": (("encoder_conf", "input_layer"),),
    "encoder_layers": (("encoder_conf", "num_blocks"),),
    "encoder_attention_heads": (("encoder_conf", "attention_heads"),),
    "encoder_ffn_dim": (("encoder_conf", "linear_units"),),
    "cgmlp_dim": (("encoder_conf", "cgmlp_linear_units"),),
    "cgmlp_kernel_size": (("encoder_conf", "cgmlp_conv_kernel"),),
    "merge_kernel_size": (("encoder_conf", "merge_conv_kernel"),),
    "decoder_layers": (("decoder_conf", "num_blocks"),),
    "decoder_attention_heads": (("decoder_conf", "attention_heads"),),
    "decoder_ffn_dim": (("decoder_conf", "linear_units"),),
    "dropout": (
        ("encoder_conf", "dropout_rate"),
        ("encoder_conf", "positional_dropout_rate"),
        ("decoder_conf", "dropout_rate"),
        ("decoder_conf", "positional_dropout_rate"),
    ),
    "attention_dropout": (
        ("encoder_conf", "attention_dropout_rate"),
        ("decoder_conf", "self_attention_dropout_rate"),
        ("decoder_conf", "src_attention_dropout_rate"),
    ),
    "ctc_loss_weight": (("model_conf", "ctc_weight"),),
    "label_smoothing": (("model_conf", "lsm_weight"),),
    "length_normalized_loss": (("model_conf", "length_normalized_loss"),),
    "timestamps_share": (("preprocessor_conf", "time_apply_prob"),),
    "previous_text_share": (("preprocessor_conf", "text_prev_apply_prob"),),
}
"""Where ESPnet's config has what a field of `OwsmArchitecture` says; the first place is read, all are written."""


def from_espnet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an ESPnet state dict under the names of `OwsmNetwork`; the tensors are the same ones.

    Raises:
        SkipwiseError: for a key that no OWSM has, or mel filters that are not OWSM's.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    for key, tensor in state.items():
        if key == MEL_FILTERS_KEY:
            _check_mel_filters(tensor)
            continue
        name = _renamed(key)
        if name is None:
            unknown.append(key)
            continue
        renamed[name] = tensor
    if unknown:
        raise SkipwiseError(
            f"the ESPnet checkpoint has {len(unknown)} keys that no OWSM has: {', '.join(sorted(unknown)[:5])}. "
            f"{READABLE}"
        )
    return renamed


def espnet_names(architecture: OwsmArchitecture) -> dict[str, str]:
    """Return ESPnet's key for each name that a network of these sizes may have, in the order of ESPnet's state dict."""
    other_projection = f"encoder.embed.out{'.0' if architecture.subsampling_factor == 8 else ''}"
    embedding = {theirs: ours for theirs, ours in _EMBEDDING.items() if theirs != other_projection}
    modules = (
        *embedding.items(),
        *_numbered(_ENCODER_LAYER, architecture.encoder_layers),
        *_BETWEEN.items(),
        *_numbered(_DECODER_LAYER, architecture.decoder_layers),
        *_HEAD.items(),
    )
    parameters = {
        f"{ours}.{parameter}": f"{theirs}.{parameter}" for theirs, ours in modules for parameter in ("weight", "bias")
    }
    return {ours: theirs for theirs, ours in _BUFFERS.items()} | parameters


def architecture_from_espnet(config: Mapping[str, Any]) -> OwsmArchitecture:
    """Return the sizes and tokens that an ESPnet `config.yaml` describes; it must hold `token_list`.

    Raises:
        SkipwiseError: if it asks for something that the port does not compute, or lacks its token list.
    """
    conf = {section: {**_DEFAULTS[section], **(config.get(section) or {})} for section in _SECTIONS}
    _check_supported(config, conf)
    sizes = {field: conf[section][option] for field, ((section, option), *_) in OPTIONS.items()}
    sizes["subsampling_factor"] = SUBSAMPLING[sizes["subsampling_factor"]]
    window_s = float(conf["preprocessor_conf"]["speech_length"])
    ours = config.get(WINDOW_SECTION) or {}
    windows = {name: ours.get(name, window_s) for name in ("window_s", "max_window_s")}
    return OwsmArchitecture(**sizes | windows | token_fields(config["token_list"]))


def _numbered(layer: Mapping[str, str], count: int) -> Iterator[tuple[str, str]]:
    for number in map(str, range(count)):
        yield from ((theirs.replace("#", number), ours.replace("#", number)) for theirs, ours in layer.items())


def _renamed(key: str) -> str | None:
    if key in _BUFFERS:
        return _BUFFERS[key]
    module, _, parameter = key.rpartition(".")
    layer = re.search(r"(?<=coders\.)\d+", module)
    pattern = module if layer is None else f"{module[: layer.start()]}#{module[layer.end() :]}"
    if pattern not in _MODULES or parameter not in ("weight", "bias"):
        return None
    number = "" if layer is None else layer[0]
    return f"{_MODULES[pattern].replace('#', number)}.{parameter}"


def _check_mel_filters(filters: Tensor) -> None:
    ours = mel_filters(filters.shape[-1])
    if filters.shape != ours.shape or not torch.allclose(filters.float(), ours, rtol=0, atol=_MEL_TOLERANCE):
        raise SkipwiseError(
            f"the ESPnet checkpoint's mel filters {tuple(filters.shape)} are not OWSM's (Slaney, 0-8 kHz, "
            f"{FFT_SIZE} points)."
        )


def _check_supported(config: Mapping[str, Any], conf: Mapping[str, Mapping[str, Any]]) -> None:
    if not config.get("token_list"):
        raise SkipwiseError("the ESPnet config has no token_list. Give the config.yaml that ESPnet wrote in training.")
    for part, needed in _PARTS.items():
        got = config.get(part, needed)
        if got != needed and (got or needed):
            raise SkipwiseError(f"{part} must be {needed!r}, got {got!r}. {READABLE}")
    if conf["encoder_conf"]["input_layer"] not in SUBSAMPLING:
        got = conf["encoder_conf"]["input_layer"]
        raise SkipwiseError(f"encoder_conf.input_layer must be one of {', '.join(SUBSAMPLING)}; got {got!r}.")
    if str(conf["frontend_conf"]["fs"]) not in ("16k", str(SAMPLE_RATE)):
        raise SkipwiseError(f"frontend_conf.fs must be 16k, got {conf['frontend_conf']['fs']!r}.")
    for section, options in _ONLY.items():
        for name, needed in options.items():
            if conf[section].get(name, needed) != needed:
                raise SkipwiseError(f"{section}.{name} must be {needed!r}, got {conf[section][name]!r}.")
