"""A Whisper from a folder as transformers' `save_pretrained` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.utils import logging

from skipwise.errors import SkipwiseError
from skipwise.models.family import SpeechModel
from skipwise.models.whisper.vocabulary import WhisperVocabulary

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
    moved: Any = model  # torch says less of `to` than it takes
    return SpeechModel(moved.to(device).eval(), WhisperVocabulary(tokenizer), name, folder)


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
