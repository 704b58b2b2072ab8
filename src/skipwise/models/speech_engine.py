"""What decoding asks of a model: its words and sizes, its rules, and an engine that runs its two stacks.

Shapes: B rows, K beams, P prompt tokens, L tokens so far, T encoder frames, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, LayerwiseGates
from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.precision import Dtype

TIMESTAMP_STEP_S = 0.02
"""Seconds from one timestamp token to the next, in OWSM and in Whisper."""


@runtime_checkable
class SpeechConfig(Protocol):
    """Words and sizes of a model, as decoding reads them."""

    @property
    def vocab_size(self) -> int:
        """Tokens that the output layer knows."""

    @property
    def num_mel_bins(self) -> int:
        """Mel bins of the front end."""

    @property
    def bos_token_id(self) -> int:
        """The token that a prompt begins with, previous text aside."""

    @property
    def eos_token_id(self) -> int:
        """The token that ends a text."""

    @property
    def no_timestamps_token_id(self) -> int:
        """The token that says in a prompt that no timestamps are wanted."""

    @property
    def first_timestamp_token_id(self) -> int:
        """Second 0 of a window; all others follow."""

    @property
    def last_timestamp_token_id(self) -> int:
        """The last timestamp."""

    @property
    def window_s(self) -> float | None:
        """Every input is padded or cut to it; None for a model that takes audio as long as it is."""

    @property
    def max_window_s(self) -> float:
        """Longest input, in seconds; longer audio is cut into windows."""

    @property
    def timestamps_share(self) -> float:
        """How often it was trained to say timestamps; 0: never."""

    @property
    def previous_text_share(self) -> float:
        """How often it was trained with a previous text; 0: never."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that it knows, ISO 639-3."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that it knows."""

    @property
    def language_token_ids(self) -> Mapping[str, int]:
        """Token of each language; none where it knows but one."""

    def prompt(
        self, language: str, task: str, *, timestamps: bool = False, previous: Sequence[int] | None = None
    ) -> list[int]:
        """Return the tokens that decoding starts from; raises a SkipwiseError for an unknown language or task."""


@runtime_checkable
class CtcHead(Protocol):
    """A CTC head beside the decoder."""

    @property
    def config(self) -> Any:
        """Its model's config: the blank is its `pad_token_id`."""

    def ctc_logits(self, encoded: SpeechStates) -> Float[Tensor, "batch time vocab"]:
        """Return its logits."""

    def ctc_log_normalizer(self, encoded: SpeechStates) -> Float[Tensor, "batch time"]:
        """Return what to subtract from its logits to get log-probabilities."""

    def ctc_logits_of(
        self, encoded: SpeechStates, tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens time"]:
        """Return its logits of some tokens alone."""


class TokenRules(ABC):
    """Which tokens may come next in a search over utterances whose prompts are of one length."""

    @abstractmethod
    def forbid(
        self, scores_BKV: Float[Tensor, "batch beams vocab"], prefix_BKL: Int[Tensor, "batch beams length"]
    ) -> None:
        """Set the scores of tokens that may not follow to minus infinity, in place."""


class SpeechEngine(ABC):
    """What decoding runs. It is made from a network once and does not follow later changes of its weights.

    Plans come in as arguments, and nothing is kept of a call, so that threads may share an engine.
    """

    dtype: Dtype
    decoder: PackedDecoder

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What it was made from."""

    @property
    @abstractmethod
    def config(self) -> SpeechConfig:
        """The words and sizes of its model."""

    @property
    def ctc(self) -> CtcHead | None:
        """The CTC head; None for a model without one."""
        return None

    @property
    def max_positions(self) -> int | None:
        """Most tokens that the decoder takes, prompt included; None for no limit."""
        return None

    @abstractmethod
    def extract(self, waveforms: Sequence[Float[Tensor, " _samples"]]) -> SpeechStates:
        """Return the features of mono 16 kHz waveforms."""

    @abstractmethod
    def embed(self, features: SpeechStates) -> SpeechStates:
        """Return what the encoder's plan is decided from."""

    @abstractmethod
    def encode(self, embedded: SpeechStates, plan: GatePlan | LayerwiseGates | None = None) -> SpeechStates:
        """Return the encoder's states for the output of `embed`; sites that `plan` does not name are open."""

    @abstractmethod
    def rules(self, prompts: Int[Tensor, "batch prompt"]) -> TokenRules:
        """Return which tokens may follow these prompts."""
