"""The ESPnet checkpoints that the oracle is asked about: their sizes, their tokens and their `config.yaml`.

Imported by both sides, so neither ESPnet nor skipwise is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece

from tests.interop.weights import Speech

GOLDEN = Path(__file__).parents[1] / "golden" / "oracle"
PIECES = GOLDEN / "bpe.model"
LANGUAGES = ("deu", "eng", "fra")
TASKS = ("asr", "st_eng")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An OWSM with random weights."""

    name: str
    seed: int
    hidden_size: int = 32
    encoder_heads: int = 4
    decoder_heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    ffn_dim: int = 64
    cgmlp_dim: int = 64
    cgmlp_kernel: int = 31
    merge_kernel: int = 31
    input_layer: str = "conv2d"
    num_mel_bins: int = 80
    window_s: int = 30
    num_tokens: int | None = None
    """The vocabulary is filled up to as many; None leaves it as it is."""
    speech: Speech = field(default_factory=Speech)


TINY = (
    Checkpoint(name="tiny-4x", seed=16, speech=Speech(blank_bias=9.5)),
    Checkpoint(
        name="tiny-8x",
        seed=2,
        hidden_size=24,
        encoder_heads=3,
        decoder_heads=3,
        encoder_layers=3,
        ffn_dim=48,
        cgmlp_dim=80,
        cgmlp_kernel=15,
        input_layer="conv2d8",
        num_mel_bins=128,
        speech=Speech(end_bias=3.0, time_bias=-3.0, symbol_bias=-20.0, blank_bias=7.5),
    ),
)
"""OWSM v3.1's anatomy, and v4's; the second says words alone, which a text that is handed on must be."""

BASE = Checkpoint(
    name="base",
    seed=3,
    hidden_size=384,
    encoder_heads=6,
    decoder_heads=6,
    encoder_layers=6,
    decoder_layers=6,
    ffn_dim=1536,
    cgmlp_dim=1536,
    num_tokens=50_002,
)


def random_checkpoints(count: int, *, seed: int) -> list[Checkpoint]:
    """Return as many, of sizes that are drawn; windows are short, to keep them cheap."""
    rng = random.Random(seed)
    return [
        Checkpoint(
            name=f"random-{index}",
            seed=seed + index,
            hidden_size=12 * rng.randint(1, 4),
            encoder_heads=rng.choice([1, 2, 3, 4, 6]),
            decoder_heads=rng.choice([1, 2, 3, 4, 6]),
            encoder_layers=rng.randint(1, 4),
            decoder_layers=rng.randint(1, 4),
            ffn_dim=rng.randint(8, 96),
            cgmlp_dim=2 * rng.randint(4, 64),
            cgmlp_kernel=2 * rng.randint(0, 20) + 1,
            merge_kernel=2 * rng.randint(0, 20) + 1,
            input_layer=("conv2d", "conv2d8")[index % 2],
            num_mel_bins=rng.choice([40, 80, 128]),
            window_s=rng.randint(3, 9),
        )
        for index in range(count)
    ]


def token_list(num_tokens: int | None = None) -> list[str]:
    """Return the tokens that go with the golden SentencePiece model, in OWSM's order, filled up to `num_tokens`."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(PIECES))
    learned = [pieces.id_to_piece(index) for index in range(3, pieces.get_piece_size())]
    num_missing = max(0, (num_tokens or 0) - len(learned) - 5)
    return ["<blank>", "<unk>", *learned, *(f"▁filler{i}" for i in range(num_missing)), "<sos>", "<eos>", "<sop>"]


def espnet_config(checkpoint: Checkpoint, tokens: Sequence[str], *, stats_file: str, bpe_file: str) -> dict[str, Any]:
    """Return OWSM's `config.yaml` at the given sizes, as far as inference reads it."""
    ffn = {"linear_units": checkpoint.ffn_dim, "dropout_rate": 0.1, "positional_dropout_rate": 0.1}
    return {
        "token_list": list(tokens),
        "token_type": "bpe",
        "bpemodel": bpe_file,
        "input_size": None,
        "init": None,
        "preprocessor": "s2t",
        "preprocessor_conf": {
            "text_prev_name": "text_prev", "text_ctc_name": "text_ctc", "fs": 16000, "na_symbol": "<na>",
            "speech_length": checkpoint.window_s, "speech_resolution": 0.02, "speech_init_silence": 30,
            "text_prev_apply_prob": 0.5, "time_apply_prob": 0.5, "notime_symbol": "<notimestamps>",
            "first_time_symbol": "<0.00>", "last_time_symbol": "<30.00>",
        },
        "frontend": "default",
        "frontend_conf": {
            "n_fft": 512, "win_length": 400, "hop_length": 160, "fs": "16k", "n_mels": checkpoint.num_mel_bins
        },
        "specaug": None,
        "specaug_conf": {},
        "normalize": "global_mvn",
        "normalize_conf": {"stats_file": stats_file},
        "preencoder": None,
        "postencoder": None,
        "encoder": "e_branchformer",
        "encoder_conf": {
            **ffn, "output_size": checkpoint.hidden_size, "attention_heads": checkpoint.encoder_heads,
            "attention_layer_type": "selfattn", "pos_enc_layer_type": "abs_pos", "rel_pos_type": "latest",
            "cgmlp_linear_units": checkpoint.cgmlp_dim, "cgmlp_conv_kernel": checkpoint.cgmlp_kernel,
            "use_linear_after_conv": False, "gate_activation": "identity", "num_blocks": checkpoint.encoder_layers,
            "attention_dropout_rate": 0.1, "input_layer": checkpoint.input_layer, "layer_drop_rate": 0.0,
            "positionwise_layer_type": "linear", "use_ffn": True, "macaron_ffn": True,
            "merge_conv_kernel": checkpoint.merge_kernel,
        },
        "decoder": "transformer",
        "decoder_conf": {
            **ffn, "attention_heads": checkpoint.decoder_heads, "num_blocks": checkpoint.decoder_layers,
            "self_attention_dropout_rate": 0.1, "src_attention_dropout_rate": 0.1,
        },
        "ctc_conf": {},
        "model": "espnet",
        "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False, "sym_na": "<na>"},
    }  # fmt: skip
