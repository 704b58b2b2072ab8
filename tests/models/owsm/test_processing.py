"""Feature extractor, tokenizer and processor against the front end and the vocabulary that they wrap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoTokenizer,
)

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.loading import load_owsm
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from skipwise.models.owsm.processing import OwsmFeatureExtractor, OwsmProcessor, OwsmTokenizer
from tests.models.owsm.clips import AUDIO, RATE, both_windows
from tests.tiny import tiny_vocabulary, tone

NUM_TOKENS = 16


@both_windows
def test_feature_extractor_gives_what_the_network_extracts(model: OwsmForConditionalGeneration, folder: Path) -> None:
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    audio = [*AUDIO, tone(0.03), tone(31.0, seed=4)]  # shorter than the convolutions need; longer than the window
    expected = model.model.extract([torch.tensor(samples) for samples in audio])
    found = extractor(audio, sampling_rate=RATE)
    assert torch.equal(found["input_features"], expected.states)
    assert torch.equal(found["num_frames"], expected.num_frames)
    real = [len(samples) for samples in audio]
    if model.config.window_s is None:
        real[3] = 7 * 160
    else:
        real[4] = 30 * RATE
    assert found["num_real_samples"].tolist() == real


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list])
def test_one_waveform_may_come_as_array_tensor_or_list(folder: Path, kind: Any) -> None:
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    one, batch = (extractor(audio, sampling_rate=RATE) for audio in (kind(AUDIO[1]), [AUDIO[1]]))
    assert torch.equal(one["input_features"], batch["input_features"])
    as_numpy = extractor(kind(AUDIO[1]), sampling_rate=RATE, return_tensors="np")["input_features"]
    assert isinstance(as_numpy, np.ndarray)


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (AUDIO[0], 44_100, "sampling_rate must be 16000, got 44100"),
        ([np.zeros((2, 800), dtype=np.float32)], RATE, r"must be mono, .* got shape \(2, 800\)"),
        (np.zeros((2, 800), dtype=np.float32), RATE, "must be mono"),
        (np.zeros(0, dtype=np.float32), RATE, "at least one sample"),
        ([np.full(800, np.nan, dtype=np.float32)], RATE, "finite samples"),
        ([], RATE, "at least one waveform"),
    ],
)
def test_wrong_audio_is_refused(folder: Path, audio: Any, rate: int, message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        AutoFeatureExtractor.from_pretrained(folder)(audio, sampling_rate=rate)


def test_unknown_options_of_the_feature_extractor_are_refused(folder: Path) -> None:
    with pytest.raises(SkipwiseError, match="does not know windowing"):
        AutoFeatureExtractor.from_pretrained(folder)(AUDIO[0], sampling_rate=RATE, windowing=True)
    with pytest.raises(SkipwiseError, match="defined at 16000 Hz, got sampling_rate 8000"):
        OwsmFeatureExtractor(sampling_rate=8000)


def test_tokenizer_is_the_vocabulary(folder: Path, tmp_path: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    vocabulary = tiny_vocabulary()
    text = "wir danken der Kommission"
    ids = tokenizer(text)["input_ids"]
    assert ids == vocabulary.encode(text) and len(ids) > 4
    assert tokenizer.decode(ids) == text == vocabulary.decode(ids)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (
        *(len(vocabulary.tokens) + end for end in (-3, -2)),
        0,
    )
    assert len(tokenizer) == tokenizer.vocab_size == len(vocabulary.tokens)
    tokenizer.save_pretrained(tmp_path)
    again = OwsmTokenizer.from_pretrained(tmp_path)
    assert again.vocabulary.tokens == vocabulary.tokens and again(text)["input_ids"] == ids
    with pytest.raises(SkipwiseError, match="fixed names"):
        tokenizer.save_vocabulary(str(tmp_path), filename_prefix="my")


def test_special_tokens_are_shown_or_skipped(folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    prompt = load_owsm(folder).network.config.prompt("deu", "asr")
    ids = [*prompt, *tokenizer("wir danken")["input_ids"], tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "wir danken"
    assert tokenizer.decode(ids) == "<sos><deu><asr><notimestamps>wir danken<eos><blank>"
    assert tokenizer.batch_decode([ids, ids], skip_special_tokens=True) == ["wir danken"] * 2
    assert tokenizer("<deu><asr>")["input_ids"] == prompt[1:3]
    assert tokenizer.convert_tokens_to_ids("never seen") == tokenizer.unk_token_id


@both_windows
def test_processor_turns_audio_into_inputs_and_tokens_into_text(
    model: OwsmForConditionalGeneration, folder: Path, tmp_path: Path
) -> None:
    processor = OwsmProcessor.for_model(folder)
    processor.save_pretrained(tmp_path)
    again: Any = OwsmProcessor.from_pretrained(tmp_path)
    assert again.feature_extractor.window_s == model.config.window_s
    inputs = again(audio=AUDIO[0], sampling_rate=RATE)
    sequences = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    texts = again.batch_decode(sequences, skip_special_tokens=True)
    assert texts == [tiny_vocabulary().decode(row) for row in sequences.tolist()]
    assert texts[0]


@pytest.mark.parametrize("name", ["tokens.txt", "bpe.model"])
def test_a_tokenizer_without_its_files_says_which(folder: Path, name: str, tmp_path: Path) -> None:
    OwsmProcessor.for_model(folder).save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(SkipwiseError, match=f"{name} is missing"):
        OwsmTokenizer.from_pretrained(tmp_path)
