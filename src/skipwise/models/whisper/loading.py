"""A Whisper from a folder as transformers' `save_pretrained` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.utils import logging

from skipwise.atomic import atomic_dir
from skipwise.errors import SkipwiseError
from skipwise.models.family import SpeechModel
from skipwise.models.whisper.vocabulary import WhisperVocabulary

ENCODER_FRAMES_A_SECOND = 50

WhisperSpeechModel = SpeechModel[WhisperForConditionalGeneration, WhisperVocabulary]
"""A Whisper in memory."""


def load_whisper(folder: Path, *, name: str, device: torch.device | str = "cpu") -> WhisperSpeechModel:
    """Return the model in `folder`, in fp32 and eval mode.

    Raises:
        SkipwiseError: if a file is missing or damaged, or the weights are not exactly those of the config.
    """
    try:
        with _quietly():
            model, info = _read(folder)
        tokenizer = WhisperTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SkipwiseError(
            f"cannot read the Whisper in {folder}: {reason}. Give a folder that save_pretrained of transformers' model "
            "and processor has written."
        ) from error
    for problem, keys in (("lack", info["missing_keys"]), ("have unknown", info["unexpected_keys"])):
        if keys:
            raise SkipwiseError(f"the weights in {folder} {problem} keys: {', '.join(sorted(keys)[:5])} ({len(keys)}).")
    if model.generation_config is None:
        model.generation_config = GenerationConfig.from_model_config(model.config)
    model.model.encoder.embed_positions.requires_grad_(False)  # sinusoids; loading forgets that they are not learned
    moved: Any = model  # torch says less of `to` than it takes
    return SpeechModel(moved.to(device).eval(), WhisperVocabulary(tokenizer), name, folder)


def save_whisper(folder: Path, model: WhisperForConditionalGeneration, vocabulary: WhisperVocabulary) -> None:
    """Write the base, its tokenizer and its feature extractor as transformers does, whole or not at all.

    What was in `folder` is gone then, gates included: they belong to the weights that they were trained with.
    """
    extractor = WhisperFeatureExtractor(
        feature_size=model.config.num_mel_bins,
        chunk_length=model.config.max_source_positions // ENCODER_FRAMES_A_SECOND,
    )
    with atomic_dir(folder) as aside, _quietly():
        model.save_pretrained(aside)
        WhisperProcessor(extractor, vocabulary.tokenizer).save_pretrained(aside)
        for weights in aside.glob("*.safetensors"):  # which safetensors lets nobody else read
            weights.chmod((aside / "config.json").stat().st_mode)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from drawing a bar until the block ends."""
    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shows_bars:
            logging.enable_progress_bar()


def _read(folder: Path) -> tuple[WhisperForConditionalGeneration, dict[str, Any]]:
    found: Any = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    return found
