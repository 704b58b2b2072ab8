"""The model that is measured, and its two halves as works: encoding a window, and decoding so many tokens.

Shapes: B utterances, K beams, T encoder frames.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.decoding import DecodeOptions, search
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.timing import Parts, by_length
from skipwise.features import SpeechStates
from skipwise.features.log_mel import SAMPLE_RATE
from skipwise.gating import GatePlan
from skipwise.gating.steps import StepPlanner
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import OwsmModel, load_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.models.precision import check_dtype
from skipwise.models.speech_engine import SpeechEngine
from skipwise.pipeline import reference_model

_SIZES: dict[str, tuple[int, int, int]] = {
    "base": (384, 6, 6),
    "small": (768, 9, 12),
    "medium": (1024, 18, 16),
    "whisper-base": (512, 6, 8),
    "whisper-small": (768, 12, 12),
}
"""Width, layers of each stack, heads."""

_NUM_TOKENS = 50_002
_NEVER = -1e4
_FILLER = "▁filler{}"


@final
@dataclass(frozen=True, eq=False)
class Ending:
    """The row of an output layer that says `<eos>`."""

    weight: Float[Tensor, " dim"]
    bias: float

    @torch.no_grad()
    def write(self, layer: nn.Linear, token_id: int) -> None:
        """Put it into an output layer, in place."""
        layer.weight[token_id] = self.weight
        layer.bias[token_id] = self.bias


@final
class Subject:
    """A model with an engine a precision."""

    def __init__(self, model: OwsmModel, settings: BenchSettings, ending: Ending | None = None) -> None:
        self.model, self.settings = model, settings
        self.ending = ending
        """How it was trained to say `<eos>`; None for random weights."""
        self._engines: dict[str, OwsmEngine] = {}
        self._generator = torch.Generator().manual_seed(settings.seed)

    @classmethod
    def of(cls, settings: BenchSettings) -> Subject:
        """Return the subject that the settings name; random weights are the same for the same seed.

        It never says `<eos>`: all decode as many tokens as they are asked for.
        """
        if settings.model is not None:
            model = load_owsm(settings.model)
        elif settings.shape == "reference":
            model = load_owsm(reference_model())
        else:
            model = random_model(settings.shape, seed=settings.seed)
        output, token = model.network.decoder.lm_head, model.network.config.eos_token_id
        is_trained = settings.model is not None or settings.shape == "reference"
        with torch.no_grad():
            ending = Ending(output.weight[token].clone(), output.bias[token].item()) if is_trained else None
            output.bias[token] = _NEVER
        return cls(model, settings, ending)

    @property
    def network(self) -> OwsmNetwork:
        return self.model.network

    def engine(self, dtype: str | None = None) -> OwsmEngine:
        """Return the engine of a precision, packed when it is first asked for."""
        dtype = dtype or self.settings.dtype
        if dtype not in self._engines:
            packed = check_dtype(dtype, self.network.feature_mean.device, num_weights=0)
            self._engines[dtype] = OwsmEngine(self.network, packed, beside=self._engines.values())
        return self._engines[dtype]

    @cached_property
    def prompt(self) -> list[int]:
        """What decoding starts from."""
        config = self.network.config
        return config.prompt(config.languages[0], config.tasks[0])

    def audio(self, duration_s: float) -> Float[Tensor, " samples"]:
        """Return noise of that length: what is said does not change the time."""
        return 0.05 * torch.randn(round(duration_s * SAMPLE_RATE), generator=self._generator)

    def encoded(self, duration_s: float, *, batch_size: int = 1, dtype: str | None = None) -> SpeechStates:
        """Return the encoder's states of noise."""
        return self.encoded_of(*(self.audio(duration_s) for _ in range(batch_size)), dtype=dtype)

    @torch.inference_mode()
    def encoded_of(self, *waveforms: Float[Tensor, " _samples"], dtype: str | None = None) -> SpeechStates:
        """Return the encoder's states of given audio."""
        engine = self.engine(dtype)
        return engine.encode(engine.embed(self.network.extract(waveforms)))


@torch.inference_mode()
def encode_once(engine: SpeechEngine, waveforms: list[Tensor], plan: GatePlan | None = None) -> Parts:
    """Encode waveforms under a plan and say how long it took, features included."""
    start = time.perf_counter()
    engine.encode(engine.embed(engine.extract(waveforms)), plan)
    return {"encoder": time.perf_counter() - start}


@torch.inference_mode()
def decode_once(
    engine: SpeechEngine,
    encoded: SpeechStates,
    prompt: list[int],
    *,
    num_tokens: int,
    beam_size: int = 1,
    plan: GatePlan | StepPlanner | None = None,
) -> Parts:
    """Decode as many tokens, without choosing them: `prefill` is the prompt, `token` the mean step after it."""
    batch_size, decoder = encoded.states.shape[0], engine.decoder
    start = time.perf_counter()
    state = decoder.start(encoded, plan)
    decoder.step(torch.tensor(prompt).expand(batch_size, 1, -1), state)
    state.reorder(torch.zeros(batch_size, beam_size, dtype=torch.long))
    prefilled = time.perf_counter()
    for number in range(num_tokens):
        decoder.step(torch.full((batch_size, beam_size, 1), number % engine.config.vocab_size), state)
    done = time.perf_counter()
    return {"prefill": prefilled - start, "token": (done - prefilled) / num_tokens, "decoder": done - start}


def search_once(
    engine: SpeechEngine,
    encoded: SpeechStates,
    prompt: list[int],
    *,
    num_tokens: int,
    beam_size: int = 1,
    plan: GatePlan | None = None,
) -> Parts:
    """Search for as many tokens, twice, and say what the first ones, a later one and the whole took."""

    def decode(num_tokens: int) -> int:
        options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-num_tokens)
        search(engine, encoded, [prompt], options=options, gates=plan)
        return num_tokens

    return by_length(decode, num_tokens)


def random_model(shape: str, *, seed: int = 0) -> OwsmModel:
    """Return an OWSM of that shape with random weights, and tokens that fill up the reference model's."""
    reference = load_owsm(reference_model())
    width, layers, heads = _SIZES[shape]
    tokens = _filled(reference.vocabulary.tokens)
    vocabulary = OwsmVocabulary(tokens, reference.vocabulary.sentencepiece_model)
    architecture = OwsmArchitecture(
        **vocabulary.token_ids(),
        hidden_size=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        cgmlp_dim=4 * width,
        window_s=30.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OwsmNetwork(architecture).eval()
        _wake(network)
    return dataclasses.replace(reference, network=network, vocabulary=vocabulary, name=shape)


@torch.no_grad()
def _wake(network: OwsmNetwork) -> None:
    """Let random layers matter and random tokens differ: with torch's initial values one token is said for ever."""
    network.feature_mean.fill_(-9.0)
    network.feature_std.fill_(3.0)
    network.decoder.embed_tokens.weight.mul_(0.5)
    network.decoder.lm_head.weight.mul_(6.0)
    for name, parameter in network.decoder.named_parameters():
        if name.endswith(("attention.out_proj.weight", "ffn.fc2.weight")):
            parameter.mul_(4.0)
        elif name.endswith("q_proj.weight"):
            parameter.mul_(3.0)


def _filled(tokens: tuple[str, ...]) -> list[str]:
    """The tokens with fillers before `<sos>`, `<eos>` and `<sop>`, as many as OWSM has."""
    fillers = [_FILLER.format(number) for number in range(_NUM_TOKENS - len(tokens))]
    return [*tokens[:-3], *fillers, *tokens[-3:]]
