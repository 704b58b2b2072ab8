"""A tiny random Whisper for tests: transformers' own model, a hand-made tokenizer, windows of one second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from skipwise.gating import GateAdapter, GateConfig, MlpPredictorConfig
from skipwise.gating.context import ContextPart
from skipwise.models.attach import attach

WINDOW_S = 1.0
NUM_FRAMES = 50
"""Encoder frames of a window."""
LANGUAGES = ("de", "en", "fr", "no")
WORDS = (" the", " and", " Die", " und")

_SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in LANGUAGES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)
_TIMES = tuple(f"<|{step * 0.02:.2f}|>" for step in range(1501))


@lru_cache(maxsize=1)
def tiny_tokenizer() -> WhisperTokenizer:
    """Return a byte-level tokenizer with Whisper's special tokens, in their order."""
    pieces = sorted(ByteLevel.alphabet())
    vocab = {piece: index for index, piece in enumerate([*pieces, *_SPECIAL, *_TIMES])}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=[], pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL[1:])})
    tokenizer.add_tokens(list(_TIMES))
    assert len(tokenizer) == len(vocab)
    return tokenizer


def token(name: str) -> int:
    """Return the id of `<|name|>`."""
    found = tiny_tokenizer().convert_tokens_to_ids(f"<|{name}|>")
    assert isinstance(found, int)
    return found


def tiny_config(**changes: Any) -> WhisperConfig:
    """Return the sizes: 2 + 3 layers of width 32, with `changes`."""
    end = token("endoftext")
    sizes: dict[str, Any] = {
        "vocab_size": len(tiny_tokenizer()),
        "num_mel_bins": 80,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_source_positions": NUM_FRAMES,
        "max_target_positions": 64,
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "decoder_start_token_id": token("startoftranscript"),
        "begin_suppress_tokens": None,
    }
    return WhisperConfig(**sizes | changes)


def tiny_generation_config(**changes: Any) -> GenerationConfig:
    """Return what `generate()` knows of the tokens, as the published models have it."""
    end = token("endoftext")
    known: dict[str, Any] = {
        "is_multilingual": True,
        "lang_to_id": {f"<|{code}|>": token(code) for code in LANGUAGES},
        "task_to_id": {"transcribe": token("transcribe"), "translate": token("translate")},
        "no_timestamps_token_id": token("notimestamps"),
        "prev_sot_token_id": token("startofprev"),
        "decoder_start_token_id": token("startoftranscript"),
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "suppress_tokens": [token("startoflm"), token("startofprev"), token("nospeech")],
        "begin_suppress_tokens": [end, 32],
        "max_length": 40,
        "max_initial_timestamp_index": 25,
        "alignment_heads": [[1, 0], [1, 2]],
        "return_timestamps": False,
    }
    return GenerationConfig(**known | changes)


def tiny_whisper(*, seed: int = 0, **changes: Any) -> WhisperForConditionalGeneration:
    """Return a random Whisper in eval mode whose output depends on its input: large weights, live biases."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(tiny_config(**changes))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
            elif name.endswith(("conv1.weight", "conv2.weight")):
                parameter.normal_(std=0.2)
            elif "embed" not in name and "layer_norm" not in name:
                parameter.normal_(std=0.35)
            elif name.endswith("decoder.embed_tokens.weight"):  # the output too: else a token begets itself
                parameter.normal_(std=0.15)
            elif name.endswith("decoder.embed_positions.weight"):
                parameter.normal_(std=0.3)
    model.generation_config = tiny_generation_config()
    return model.eval()


@lru_cache(maxsize=1)
def tiny_extractor() -> WhisperFeatureExtractor:
    """Return the log-mel front end for windows of a second."""
    return WhisperFeatureExtractor(feature_size=80, chunk_length=round(WINDOW_S))


def features_of(clips: Sequence[Float32[np.ndarray, " _samples"]]) -> Float[Tensor, "batch mels frames"]:
    """Return what transformers' extractor makes of clips: padded, or cut, to a window."""
    made: Any = tiny_extractor()(list(clips), sampling_rate=16_000, return_tensors="pt")
    return made.input_features


def save_tiny_whisper(
    folder: Path, model: WhisperForConditionalGeneration | None = None, *, window_s: float = WINDOW_S
) -> Path:
    """Write a whole model as `save_pretrained` of transformers does: weights, configs, tokenizer, extractor."""
    (tiny_whisper() if model is None else model).save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=round(window_s))
    WhisperProcessor(extractor, tiny_tokenizer()).save_pretrained(folder)
    return folder


def attach_gates_that_read(model: WhisperForConditionalGeneration, *parts: ContextPart, seed: int = 0) -> GateAdapter:
    """Return a random adapter, attached, that decides both stacks from these parts of the context alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = MlpPredictorConfig(open_bias=0.0, output_std=1.0)
        return attach(model, GateConfig(scope="both", context=parts, predictor=predictor))
