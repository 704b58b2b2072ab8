"""A Whisper from scratch: the anatomy and the token layout of the published ones, at any size, with pieces of its own.

Source: `openai/whisper-tiny` on the Hub: order of the special tokens, `generation_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

from skipwise.data.languages import to_iso639_1
from skipwise.errors import SkipwiseError
from skipwise.models.speech_engine import TIMESTAMP_STEP_S
from skipwise.models.trainable import FreshModel
from skipwise.models.whisper.loading import ENCODER_FRAMES_A_SECOND, WhisperSpeechModel
from skipwise.models.whisper.vocabulary import WhisperVocabulary

FIELDS = (
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_layers",
    "decoder_attention_heads",
    "decoder_ffn_dim",
    "num_mel_bins",
    "max_source_positions",
    "max_target_positions",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "activation_function",
    "init_std",
)
"""Fields of `WhisperConfig` that a fresh model may set; the rest names tokens."""

_END, _START = "<|endoftext|>", "<|startoftranscript|>"
_AFTER_LANGUAGES = tuple(
    f"<|{name}|>" for name in ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
)
_TIMES = tuple(f"<|{step * TIMESTAMP_STEP_S:.2f}|>" for step in range(1501))
_NUM_BYTES = 256


def fresh_whisper(wanted: FreshModel, texts: Iterable[str]) -> WhisperSpeechModel:
    """Return a random Whisper with byte-level pieces learned from `texts`.

    Raises:
        SkipwiseError: for sizes that cannot be, a task that Whisper has no token for, or fewer pieces than bytes.
    """
    unknown = set(wanted.tasks) - {"asr", "st_eng"}
    if unknown:
        raise SkipwiseError(
            f"a Whisper transcribes (asr) and translates into English (st_eng), got data.tasks {min(unknown)}. Leave "
            "it out, or train an OWSM (model.family: owsm)."
        )
    if wanted.vocabulary_size < _NUM_BYTES:
        raise SkipwiseError(
            f"model.vocabulary_size of a Whisper counts its {_NUM_BYTES} bytes, so it must be at least that; got "
            f"{wanted.vocabulary_size}."
        )
    codes = [to_iso639_1(language) for language in wanted.languages]
    tokenizer = learned_tokenizer(texts, languages=codes, size=wanted.vocabulary_size)
    ids = {token: int(index) for token, index in tokenizer.get_vocab().items()}
    model = WhisperForConditionalGeneration(_config(wanted.architecture, ids))
    model.generation_config = _generation_config(ids, codes, max_length=model.config.max_target_positions)
    return WhisperSpeechModel(model, WhisperVocabulary(tokenizer), str(wanted.folder), wanted.folder)


def learned_tokenizer(texts: Iterable[str], *, languages: Sequence[str], size: int) -> WhisperTokenizer:
    """Return a byte-level BPE of `size` pieces, bytes included, and Whisper's special tokens behind them."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = ByteLevel(add_prefix_space=True)
    learner.train_from_iterator(
        sorted(set(texts)),
        BpeTrainer(vocab_size=size, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False),
    )
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    special = [_END, _START, *(f"<|{code}|>" for code in languages), *_AFTER_LANGUAGES]
    vocab = {piece: index for index, piece in enumerate([*pieces, *special, *_TIMES])}
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = WhisperTokenizer(vocab=vocab, merges=merges, pad_token=_END)
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.add_tokens(list(_TIMES))
    assert len(tokenizer) == len(vocab)
    return tokenizer


def _config(architecture: Mapping[str, Any], ids: Mapping[str, int]) -> WhisperConfig:
    unknown = architecture.keys() - set(FIELDS)
    if unknown:
        raise SkipwiseError(
            f"unknown key model.architecture.{min(unknown)}; allowed there for a Whisper: {', '.join(sorted(FIELDS))}."
        )
    end = ids[_END]
    tokens: dict[str, Any] = {
        "vocab_size": len(ids),
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "decoder_start_token_id": ids[_START],
        "begin_suppress_tokens": None,
    }
    config = WhisperConfig(**tokens | dict(architecture))
    _check(config)
    return config


def _check(config: WhisperConfig) -> None:
    """Raise a SkipwiseError for the first size that cannot be."""
    if config.max_source_positions % ENCODER_FRAMES_A_SECOND:
        raise SkipwiseError(
            f"max_source_positions must be whole seconds of {ENCODER_FRAMES_A_SECOND} frames, as 500 for windows of "
            f"10 s; got {config.max_source_positions}."
        )
    for stack, heads in (("encoder", config.encoder_attention_heads), ("decoder", config.decoder_attention_heads)):
        if config.d_model % heads:
            raise SkipwiseError(f"d_model must be a multiple of the {stack}'s heads, got {config.d_model} and {heads}.")


def _generation_config(ids: Mapping[str, int], languages: Sequence[str], *, max_length: int) -> GenerationConfig:
    end = ids[_END]
    never = [ids[f"<|{name}|>"] for name in ("startoflm", "startofprev", "nospeech")]
    return GenerationConfig(
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in languages},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        decoder_start_token_id=ids[_START],
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        suppress_tokens=never,
        begin_suppress_tokens=[end],
        max_length=max_length,
        max_initial_timestamp_index=50,
        return_timestamps=False,
    )
