"""OWSM's feature extractor, tokenizer and processor: transformers' interfaces over our front end and vocabulary."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizer, ProcessorMixin, SequenceFeatureExtractor

from skipwise.errors import SkipwiseError
from skipwise.features import extract_features
from skipwise.features.log_mel import HOP_LENGTH, SAMPLE_RATE, num_feature_frames
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.configuration import OwsmConfig
from skipwise.models.owsm.vocabulary import (
    BLANK,
    END,
    SENTENCEPIECE_FILE,
    START,
    TOKENS_FILE,
    UNKNOWN,
    OwsmVocabulary,
    is_special,
)

logger = logging.getLogger(__name__)

Audio = Any
"""One mono waveform as an array, a tensor or a list of numbers; or a list of such."""

_SYMBOL = re.compile(r"(<[^<>\s]+>)")


@final
class OwsmFeatureExtractor(SequenceFeatureExtractor):
    """Log-mel features of mono 16 kHz audio; the model normalises them."""

    model_input_names = ["input_features", "num_frames", "num_real_samples"]  # noqa: RUF012

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = SAMPLE_RATE,
        padding_value: float = 0.0,
        *,
        window_s: float | None = 30.0,
        subsampling_factor: int = 4,
        **kwargs: Any,
    ) -> None:
        if sampling_rate != SAMPLE_RATE:
            raise SkipwiseError(f"OWSM's features are defined at {SAMPLE_RATE} Hz, got sampling_rate {sampling_rate}.")
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)
        self.window_s = window_s
        self.subsampling_factor = subsampling_factor

    @classmethod
    def for_architecture(cls, config: OwsmArchitecture) -> OwsmFeatureExtractor:
        """Return the front end that belongs to a model's sizes."""
        return cls(config.num_mel_bins, window_s=config.window_s, subsampling_factor=config.subsampling_factor)

    def __call__(
        self,
        raw_speech: Audio,
        sampling_rate: int | None = None,
        *,
        return_tensors: str = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """Return `input_features`, `num_frames` and `num_real_samples`: all that the model asks for.

        Raises:
            SkipwiseError: for another sampling rate, more than one channel, no samples or values that are no sound.
        """
        if kwargs.keys() - {"padding", "truncation", "return_attention_mask"}:  # what pipelines pass to every extractor
            raise SkipwiseError(f"OwsmFeatureExtractor does not know {', '.join(sorted(kwargs))}.")
        if sampling_rate is None:
            logger.warning("no sampling_rate was given: the audio is taken to be %d Hz.", SAMPLE_RATE)
        elif sampling_rate != SAMPLE_RATE:
            raise SkipwiseError(f"sampling_rate must be {SAMPLE_RATE}, got {sampling_rate}. Resample the audio first.")
        waveforms = [_checked(waveform) for waveform in _rows(raw_speech)]
        if not waveforms:
            raise SkipwiseError("audio must hold at least one waveform, got an empty list.")
        min_frames = 2 * self.subsampling_factor
        features = extract_features(
            waveforms, num_mel_bins=self.feature_size, window_s=self.window_s, min_frames=min_frames
        )
        num_real = [self._num_real_samples(waveform.numel(), min_frames) for waveform in waveforms]
        assert [num_feature_frames(samples) for samples in num_real] == features.num_real_frames.tolist()
        record = {
            "input_features": features.states,
            "num_frames": features.num_frames,
            "num_real_samples": torch.tensor(num_real),
        }
        return BatchFeature(record, tensor_type=return_tensors)

    def _num_real_samples(self, num_samples: int, min_frames: int) -> int:
        """As `extract_features` counts: zeros that fill a window are not real, zeros that lengthen a row are."""
        if self.window_s is not None:
            return min(num_samples, round(self.window_s * SAMPLE_RATE))
        return max(num_samples, (min_frames - 1) * HOP_LENGTH)


@final
class OwsmTokenizer(PreTrainedTokenizer):
    """`OwsmVocabulary` behind transformers' interface; text gets no prompt and no `<eos>` here."""

    vocab_files_names = {"vocab_file": TOKENS_FILE, "spm_file": SENTENCEPIECE_FILE}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str | None = None, spm_file: str | None = None, **kwargs: Any) -> None:
        if vocab_file is None or spm_file is None:
            missing = TOKENS_FILE if vocab_file is None else SENTENCEPIECE_FILE
            raise SkipwiseError(
                f"an OWSM's tokenizer is made of {TOKENS_FILE} and {SENTENCEPIECE_FILE}: {missing} is missing."
            )
        assert Path(vocab_file).parent == Path(spm_file).parent
        self.vocabulary = OwsmVocabulary.load(Path(vocab_file).parent)
        self._ids = {token: index for index, token in enumerate(self.vocabulary.tokens)}
        special = {"bos_token": START, "eos_token": END, "unk_token": UNKNOWN, "pad_token": BLANK}
        super().__init__(**(special | {"special_tokens_pattern": "none"} | kwargs))

    @property
    def vocab_size(self) -> int:
        return len(self._ids)

    def get_vocab(self) -> dict[str, int]:
        return {**self._ids, **self.added_tokens_encoder}

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        if filename_prefix is not None:
            raise SkipwiseError(f"an OWSM's token files have fixed names; got filename_prefix {filename_prefix!r}.")
        self.vocabulary.save(Path(save_directory))
        return tuple(str(Path(save_directory) / name) for name in self.vocab_files_names.values())

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        # a symbol is a token of its own; SentencePiece would put a space before one that begins the text
        parts = [part for part in _SYMBOL.split(text) if part]
        pieces = ([part] if part in self._ids else self._pieces(part) for part in parts)
        return [token for tokens in pieces for token in tokens]

    def _pieces(self, text: str) -> list[str]:
        return [self.vocabulary.tokens[index] for index in self.vocabulary.encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, self._ids[UNKNOWN])

    def _convert_id_to_token(self, index: int) -> str:
        return self.vocabulary.tokens[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the text of `tokens`; special tokens stand in it as they are."""
        runs = (list(run) for _, run in groupby(tokens, key=is_special))
        return "".join("".join(run) if is_special(run[0]) else self._text(run) for run in runs)

    def _text(self, tokens: Sequence[str]) -> str:
        return self.vocabulary.decode([self._convert_token_to_id(token) for token in tokens])

    def _decode(
        self,
        token_ids: int | list[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        # transformers skips only the tokens that it was told of one by one; here every <...> is special
        if skip_special_tokens:
            return self.vocabulary.decode([token_ids] if isinstance(token_ids, int) else token_ids)
        return super()._decode(token_ids, False, clean_up_tokenization_spaces, **kwargs)


@final
class OwsmProcessor(ProcessorMixin):
    """Feature extractor and tokenizer of one model."""

    def __init__(self, feature_extractor: OwsmFeatureExtractor, tokenizer: OwsmTokenizer) -> None:
        super().__init__(feature_extractor, tokenizer)

    @classmethod
    def for_model(cls, folder: str | Path) -> OwsmProcessor:
        """Return the processor of a folder that `save_owsm` wrote; `save_pretrained` adds its files to the model."""
        tokenizer = OwsmTokenizer(str(Path(folder) / TOKENS_FILE), str(Path(folder) / SENTENCEPIECE_FILE))
        return cls(OwsmFeatureExtractor.for_architecture(OwsmConfig.from_pretrained(folder)), tokenizer)


def _rows(raw_speech: Audio) -> list[Any]:
    if isinstance(raw_speech, np.ndarray | Tensor):
        return [raw_speech]
    return [raw_speech] if raw_speech and np.ndim(raw_speech[0]) == 0 else list(raw_speech)


def _checked(waveform: Any) -> Tensor:
    samples = torch.as_tensor(waveform, dtype=torch.float32)
    if samples.ndim != 1:
        raise SkipwiseError(
            f"audio must be mono, one axis of samples; got shape {tuple(samples.shape)}. Mix it down first."
        )
    if samples.numel() == 0:
        raise SkipwiseError("audio must hold at least one sample, got none.")
    if not bool(samples.isfinite().all()):
        raise SkipwiseError("audio must hold finite samples, got NaN or infinite ones.")
    return samples
