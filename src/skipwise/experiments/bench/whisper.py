"""Whispers of like size with random weights as peers from outside: transformers' `generate()`, and CTranslate2.

A Whisper of the same width and depth has the same decoder layers; its encoder has twice the frames and no cgMLP. Its
numbers say where others stand, not how two engines run one model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.subject import Subject, encode_once, search_once
from skipwise.experiments.bench.timing import Parts, Work, by_length, take_turns

_NUM_MELS, _NUM_FEATURES = 80, 3000
_PROMPT = [50258, 50259, 50359, 50363]
_END = 50257
_COMPUTE_TYPES = ("float32", "int8")


@final
class TransformersWhisper:
    """A random Whisper of a subject's width and depth."""

    def __init__(self, subject: Subject) -> None:
        from transformers import WhisperConfig, WhisperForConditionalGeneration

        sizes = subject.network.config
        config = WhisperConfig(
            d_model=sizes.hidden_size,
            encoder_layers=sizes.encoder_layers,
            decoder_layers=sizes.decoder_layers,
            encoder_attention_heads=sizes.decoder_attention_heads,
            decoder_attention_heads=sizes.decoder_attention_heads,
            encoder_ffn_dim=sizes.encoder_ffn_dim,
            decoder_ffn_dim=sizes.decoder_ffn_dim,
        )
        torch.manual_seed(subject.settings.seed)
        self.model = WhisperForConditionalGeneration(config).eval()
        self._features = torch.randn(1, _NUM_MELS, _NUM_FEATURES)

    @torch.inference_mode()
    def encode(self) -> Parts:
        """Encode a window."""
        start = time.perf_counter()
        self.model.model.encoder(self._features)
        return {"encoder": time.perf_counter() - start}

    @torch.inference_mode()
    def decode(self, *, num_tokens: int, beam_size: int) -> Parts:
        """Generate as many tokens for a window that is encoded already."""
        from transformers import GenerationConfig, GenerationMixin

        encoded = self.model.model.encoder(self._features)

        def generate(num_tokens: int) -> int:
            config = GenerationConfig(
                max_new_tokens=num_tokens,
                min_new_tokens=num_tokens,
                num_beams=beam_size,
                decoder_start_token_id=_PROMPT[0],
                eos_token_id=_END,
                pad_token_id=_END,
            )
            # without what Whisper's own generate() does around it: segments and timestamps
            model: Any = self.model
            found: Any = GenerationMixin.generate(
                model,
                generation_config=config,
                encoder_outputs=encoded,
                decoder_input_ids=torch.tensor([_PROMPT]),
            )
            return int(found.shape[1]) - len(_PROMPT)

        return by_length(generate, num_tokens)


@final
class CTranslate2Whisper:
    """The same weights in CTranslate2."""

    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        import ctranslate2

        self._model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type=compute_type, intra_threads=threads
        )
        rng = np.random.default_rng(0)
        features = rng.standard_normal((1, _NUM_MELS, _NUM_FEATURES)).astype(np.float32)
        self._features = ctranslate2.StorageView.from_array(features)

    def encode(self) -> Parts:
        """Encode a window."""
        start = time.perf_counter()
        self._model.encode(self._features, to_cpu=True)
        return {"encoder": time.perf_counter() - start}

    def decode(self, *, num_tokens: int, beam_size: int) -> Parts:
        """Generate up to as many tokens for a window that is encoded already; random weights do not end before."""
        encoded = self._model.encode(self._features, to_cpu=False)

        def generate(num_tokens: int) -> int:
            found = self._model.generate(
                encoded,
                [_PROMPT],
                beam_size=beam_size,
                max_length=2 * (num_tokens + len(_PROMPT)),
                suppress_blank=False,
                suppress_tokens=[_END],
            )
            return len(found[0].sequences_ids[0])

        return by_length(generate, num_tokens)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from telling what it does, until the block ends: it would be told every round."""
    from transformers.utils import logging

    verbosity, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_bars:
            logging.enable_progress_bar()


def measure_whisper(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Encoder and tokens of the peers beside ours, in turns."""
    peers: dict[str, TransformersWhisper | CTranslate2Whisper] = {"transformers": TransformersWhisper(subject)}
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder, _quiet():
        try:
            _convert(peers["transformers"], Path(folder))
        except ModuleNotFoundError:
            missing.append('ctranslate2: pip install "skipwise[bench]"')
        else:
            for compute_type in _COMPUTE_TYPES:
                peers[f"ctranslate2 {compute_type}"] = CTranslate2Whisper(
                    Path(folder) / "ct2", compute_type, settings.threads
                )
        rounds = take_turns(_works(subject, settings, peers), rounds=settings.rounds, on_round=on_round)
    return {
        "missing": missing,
        "token_ratios": {
            f"{peer}, beam {beam_size}": {
                dtype: asdict(rounds.ratio(f"{peer}, beam {beam_size}", f"{dtype}, beam {beam_size}", "token"))
                for dtype in settings.dtypes
            }
            for peer in peers
            for beam_size in settings.beam_sizes
        },
        "rounds": rounds.to_dict(),
    }


def _works(subject: Subject, settings: BenchSettings, peers: Mapping[str, Any]) -> dict[str, Work]:
    encoded, waveforms = subject.encoded(30, dtype=settings.dtypes[0]), [subject.audio(30)]
    works: dict[str, Work] = {f"{name}, encoder": peer.encode for name, peer in peers.items()}
    works |= {
        f"{dtype}, encoder": partial(encode_once, subject.engine(dtype), waveforms)
        for dtype in settings.dtypes
        if dtype != "fp16-packed"
    }
    for beam_size in settings.beam_sizes:
        asked = {"num_tokens": settings.num_tokens, "beam_size": beam_size}
        works |= {f"{name}, beam {beam_size}": partial(peer.decode, **asked) for name, peer in peers.items()}
        works |= {
            f"{dtype}, beam {beam_size}": partial(search_once, subject.engine(dtype), encoded, subject.prompt, **asked)
            for dtype in settings.dtypes
        }
    return works


def _convert(peer: object, folder: Path) -> None:
    """Write a peer's weights for CTranslate2; its converter wants a tokenizer, of which it reads the words alone."""
    from ctranslate2.converters import TransformersConverter

    assert isinstance(peer, TransformersWhisper)
    peer.model.save_pretrained(folder / "hf")
    _write_tokenizer(folder / "hf", peer.model.config.vocab_size)
    try:
        TransformersConverter(str(folder / "hf")).convert(str(folder / "ct2"))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SkipwiseError(
            f"CTranslate2 cannot convert a Whisper here: {error}. Leave the benchmark whisper out."
        ) from error


def _write_tokenizer(folder: Path, vocab_size: int) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"t{number}": number for number in range(vocab_size)}
    special = {50257: "<|endoftext|>", 50258: "<|startoftranscript|>", 50362: "<|nospeech|>", 50363: "<|notimestamps|>"}
    for number, name in special.items():
        del vocabulary[f"t{number}"]
        vocabulary[name] = number
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    ).save_pretrained(folder)
