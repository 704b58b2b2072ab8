"""One Whisper of a subject's size, with random weights: transformers' `generate()`, CTranslate2 and our engine run it.

All three decode the same weights; CTranslate2 and our engine also in int8, and our engine with half of the decoder
closed. Beside them stands the OWSM of the same width and depth: it has the same decoder layers, but its encoder has
half the frames, and cgMLPs.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.plans import uniform_plan
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.subject import Subject, encode_once, search_once
from skipwise.experiments.bench.timing import Parts, Rounds, Work, by_length, take_turns
from skipwise.features import SpeechStates
from skipwise.models.precision import Dtype, check_dtype

_NUM_MELS, _NUM_FEATURES = 80, 3000
_PROMPT = [50258, 50259, 50359, 50363]
_END = 50257
_COMPUTE_TYPES = ("float32", "int8")
_HALF = "half of the decoder closed"


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
        self.model.generation_config = _generation_config()
        self.features = torch.randn(1, _NUM_MELS, _NUM_FEATURES)

    @cached_property
    def _encoded(self) -> Any:
        return self.model.model.encoder(self.features)

    @torch.inference_mode()
    def encode(self) -> Parts:
        """Encode a window."""
        start = time.perf_counter()
        self.model.model.encoder(self.features)
        return {"encoder": time.perf_counter() - start}

    @torch.inference_mode()
    def decode(self, *, num_tokens: int, beam_size: int) -> Parts:
        """Generate as many tokens for a window that is encoded already."""
        from transformers import GenerationConfig, GenerationMixin

        encoded = self._encoded

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
                encoder_outputs=copy.copy(encoded),  # generate() may put the beams into it
                decoder_input_ids=torch.tensor([_PROMPT]),
            )
            return int(found.shape[1]) - len(_PROMPT)

        return by_length(generate, num_tokens)


@final
class SkipwiseWhisper:
    """The same weights in our engine, dense or with a share of the decoder closed."""

    def __init__(self, peer: TransformersWhisper, dtype: Dtype, closed: float = 0.0) -> None:
        from skipwise.models.whisper.engine import WhisperEngine
        from skipwise.models.whisper.network import gate_sites, window_features

        self._engine = WhisperEngine(peer.model, dtype)
        self._plan = uniform_plan(gate_sites(peer.model), ("decoder",), closed).of_stack("decoder")
        self._features = window_features(peer.features)

    @torch.inference_mode()
    def encode(self) -> Parts:
        """Encode a window."""
        start = time.perf_counter()
        self._engine.encode(self._engine.embed(self._features))
        return {"encoder": time.perf_counter() - start}

    @torch.inference_mode()
    def decode(self, *, num_tokens: int, beam_size: int) -> Parts:
        """Search for as many tokens in a window that is encoded already."""
        asked = {"num_tokens": num_tokens, "beam_size": beam_size}
        return search_once(self._engine, self._encoded, _PROMPT, **asked, plan=self._plan)

    @cached_property
    def _encoded(self) -> SpeechStates:
        return self._engine.encode(self._engine.embed(self._features))


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

    @cached_property
    def _encoded(self) -> Any:
        return self._model.encode(self._features, to_cpu=False)

    def decode(self, *, num_tokens: int, beam_size: int) -> Parts:
        """Generate up to as many tokens for a window that is encoded already; random weights do not end before."""
        encoded = self._encoded

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
    transformers = TransformersWhisper(subject)
    peers: dict[str, TransformersWhisper | CTranslate2Whisper] = {"transformers": transformers}
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder, _quiet():
        try:
            _convert(transformers, Path(folder))
        except ModuleNotFoundError:
            missing.append('ctranslate2: pip install "skipwise[bench]"')
        else:
            for compute_type in _COMPUTE_TYPES:
                peers[f"ctranslate2 {compute_type}"] = CTranslate2Whisper(
                    Path(folder) / "ct2", compute_type, settings.threads
                )
        ours = _ours(transformers, settings)
        works = _works(subject, settings, {**peers, **ours})
        rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    return {
        "missing": missing,
        "encoder_ratios": _ratios(rounds, settings, peers, ours, "encoder"),
        "token_ratios": _ratios(rounds, settings, peers, ours, "token"),
        "owsm_token_ratios": {
            f"{peer}, beam {beam_size}": {
                dtype: asdict(rounds.ratio(f"{peer}, beam {beam_size}", f"{dtype}, beam {beam_size}", "token"))
                for dtype in settings.dtypes
            }
            for peer in peers
            for beam_size in settings.beam_sizes
        },
        "rounds": rounds.to_dict(),
    }


def _ours(peer: TransformersWhisper, settings: BenchSettings) -> dict[str, SkipwiseWhisper]:
    """Our engine in each precision, dense and with half of the decoder closed."""
    made: dict[str, SkipwiseWhisper] = {}
    for name in settings.dtypes:
        dtype = check_dtype(name, peer.model.device, num_weights=0)
        made[f"skipwise {dtype}"] = SkipwiseWhisper(peer, dtype)
        made[f"skipwise {dtype}, {_HALF}"] = SkipwiseWhisper(peer, dtype, closed=0.5)
    return made


def _ratios(
    rounds: Rounds, settings: BenchSettings, peers: Iterable[str], ours: Iterable[str], part: str
) -> dict[str, dict[str, Any]]:
    """How many times as long each peer takes as we do, on the same weights."""
    names = [f", beam {beam_size}" for beam_size in settings.beam_sizes] if part == "token" else [", encoder"]
    mine = [name for name in ours if part == "token" or _HALF not in name]
    return {
        f"{peer}{name}": {own: asdict(rounds.ratio(f"{peer}{name}", f"{own}{name}", part)) for own in mine}
        for peer in peers
        for name in names
    }


def _works(subject: Subject, settings: BenchSettings, peers: Mapping[str, Any]) -> dict[str, Work]:
    encoded, waveforms = subject.encoded(30, dtype=settings.dtypes[0]), [subject.audio(30)]
    works: dict[str, Work] = {f"{name}, encoder": peer.encode for name, peer in peers.items() if _HALF not in name}
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


def _generation_config() -> Any:
    """What our engine must know of the tokens; `<|endoftext|>` is never said."""
    from transformers import GenerationConfig

    return GenerationConfig(
        lang_to_id={"<|en|>": _PROMPT[1]},
        task_to_id={"transcribe": _PROMPT[2]},
        no_timestamps_token_id=_PROMPT[3],
        decoder_start_token_id=_PROMPT[0],
        eos_token_id=_END,
        pad_token_id=_END,
        suppress_tokens=[_END],
    )


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
