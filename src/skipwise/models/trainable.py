"""What training asks of a model family beyond running its stacks: features, losses, fresh models, files.

`skipwise train` knows models by this alone. OWSM and Whisper supply it.

Shapes: B rows, F feature frames, M mel bins, L positions, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.models.family import ModelFamily, SpeechModel, Vocabulary
from skipwise.models.registry import family_of
from skipwise.models.speech_engine import CtcHead

Statistics = Callable[[], tuple[Float[Tensor, " mels"], Float[Tensor, " mels"]]]
"""Computes mean and standard deviation of every mel bin over the training data."""


class FrontEnd(ABC):
    """How a model hears in training: features of whole recordings, and of the windows that are cut out of them.

    Processes that compute features get a copy by pickle.
    """

    @property
    @abstractmethod
    def num_mel_bins(self) -> int:
        """Mel bins of a frame."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What tells features on disk apart from those of other front ends."""

    @property
    @abstractmethod
    def is_natural_log(self) -> bool:
        """Whether features are those that embeddings of speakers and events are computed from."""

    @abstractmethod
    def of_recording(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames mels"]:
        """Return features of mono 16 kHz samples, a frame every 10 ms: what is computed once and kept on disk."""

    @abstractmethod
    def of_window(self, cut: Float[Tensor, "frames mels"]) -> Float[Tensor, "frames mels"]:
        """Return what the model hears of frames that were cut out of a recording's."""

    @property
    @abstractmethod
    def window_frames(self) -> int | None:
        """Frames that every window is filled up to, or cut to; None where windows have lengths of their own."""

    @abstractmethod
    def silence(self, window: Float[Tensor, "frames mels"]) -> float:
        """Return the value of the frames that fill a window up: what the model hears of zeros behind its audio."""


@final
@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How a model's task loss is put together."""

    label_smoothing: float
    """Of the decoder's labels."""
    length_normalized: bool
    """Per token; else per row, as ESPnet."""
    ctc_weight: float
    """Weight of the model's own CTC head after the warm-up; 0 without one."""


@final
@dataclass(frozen=True, kw_only=True)
class FreshModel:
    """What a model from scratch is to be."""

    languages: tuple[str, ...]
    """ISO 639-3; English is one of them."""
    tasks: tuple[str, ...]
    vocabulary_size: int
    """Pieces of text to learn."""
    architecture: Mapping[str, Any]
    """Fields of the family's config."""
    folder: Path
    """Where it is going to lie."""


class TrainableFamily(ModelFamily):
    """One kind of base model that `skipwise train` trains."""

    @abstractmethod
    def front_end(self, network: nn.Module) -> FrontEnd:
        """Return how the network hears."""

    @abstractmethod
    def loss_config(self, network: nn.Module) -> LossConfig:
        """Return how its task loss is put together."""

    @abstractmethod
    def ctc_head(self, network: nn.Module) -> CtcHead | None:
        """Return its CTC head, if it has one."""

    @abstractmethod
    def max_positions(self, network: nn.Module) -> int | None:
        """Return how many tokens its decoder takes; None for no limit."""

    @abstractmethod
    def said(
        self, network: nn.Module, tokens: Int[Tensor, "batch length"]
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch length dim"]]:
        """Return the embeddings of tokens, without positions, and their means from the start token to each."""

    @abstractmethod
    def masking_value(self, network: nn.Module) -> Float[Tensor, " mels"]:
        """Return what augmentation hides features with."""

    @abstractmethod
    def configure(self, network: nn.Module, changes: Mapping[str, Any]) -> None:
        """Change fields of a trained network's config.

        Raises:
            SkipwiseError: for one that the weights depend on; names those that do not.
        """

    @abstractmethod
    def keep_decoder_layers(self, network: nn.Module, kept: Sequence[int]) -> None:
        """Make a trained network's decoder shallower: `kept` are the layers that stay, from 0, in order.

        Raises:
            SkipwiseError: for one that it does not have.
        """

    @abstractmethod
    def remember_shares(self, network: nn.Module, *, timestamps: float, previous_text: float) -> None:
        """Note in the network's config how often it learns to say timestamps and to read a previous text."""

    @abstractmethod
    def fresh(self, wanted: FreshModel, texts: Iterable[str]) -> SpeechModel[nn.Module, Vocabulary]:
        """Return a random model whose vocabulary is learned from `texts`.

        Raises:
            SkipwiseError: for an architecture that cannot be, naming the allowed fields, or too little text.
        """

    @abstractmethod
    def take_statistics(self, network: nn.Module, statistics: Statistics) -> None:
        """Normalise features by statistics of the training data, if that is what the network does."""

    @abstractmethod
    def take_encoder(self, network: nn.Module, donor: SpeechModel[nn.Module, Vocabulary]) -> None:
        """Give a fresh network the encoder of a trained model.

        Raises:
            SkipwiseError: if the two do not fit, or the family's models do not lend theirs.
        """

    @abstractmethod
    def save(self, folder: Path, model: SpeechModel[nn.Module, Vocabulary]) -> None:
        """Write the base into `folder`, which appears whole or not at all; gates that are on it are not written."""


def trainable_family_of(network: nn.Module) -> TrainableFamily:
    """Return the family of a network that is to be trained.

    Raises:
        SkipwiseError: if there is none, or training does not know its models.
    """
    family = family_of(network)
    if not isinstance(family, TrainableFamily):
        raise SkipwiseError(
            f"skipwise train knows OWSM and Whisper; a {type(network).__name__} of the family {family.name} is trained "
            "in a loop of its own. Start from an OWSM or a Whisper, or make its family a TrainableFamily."
        )
    return family


def kept_layers(layers: nn.ModuleList, kept: Sequence[int]) -> nn.ModuleList:
    """Return the layers that stay, the same modules in their order.

    Raises:
        SkipwiseError: for one that is not there.
    """
    if absent := [index for index in kept if not 0 <= index < len(layers)]:
        raise SkipwiseError(
            f"the decoder has the layers 0 to {len(layers) - 1}, got {absent[0]}. Name the ones to keep among these."
        )
    return nn.ModuleList([layers[index] for index in kept])
