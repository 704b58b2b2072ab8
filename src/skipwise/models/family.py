"""What a model family supplies, so that gates, planners and decoding work on its models without knowing their inside.

A family is a stateless object: it says which module of a model gates go on (the *network*), describes it, keeps what is
put on it, and runs its two stacks under plans that are given as arguments. `skipwise.models.registry` finds the family
of a model. `skipwise.testing` holds what each must fulfil, and docs/new_family.md is one in a page.

Shapes: B rows, F feature frames, M mel bins, T encoder frames, L positions, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, final, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import GateAdapter, GatePlan, GateSample, GateSite, LayerwiseGates, Planner, StepSampler
from skipwise.gating.steps import StepPlanner
from skipwise.models.precision import Dtype
from skipwise.models.speech_engine import SpeechConfig, SpeechEngine

GATES_FOLDER = "gates"
"""Where gates lie in a model's folder."""

EncoderGates = GatePlan | GateSample | LayerwiseGates | None
"""What an encoder follows: a plan, gates that multiply, gates decided on the way, or everything open."""

DecoderGates = GatePlan | GateSample | LayerwiseGates | StepPlanner | StepSampler | None
"""What a decoder follows over whole prefixes: the same, or gates decided or drawn for each position."""


@runtime_checkable
class HeldGates(Protocol):
    """What is put on a network."""

    gate_adapter: GateAdapter | None
    """The gates that `attach` put on."""
    forced_planner: Planner | None
    """What a `gated` block follows instead."""
    base_weights: dict[str, nn.Parameter]
    """The base's own weights of layers that the attached adapter changes, by the layers' names."""


class GateHolder(nn.Module):
    """A network that holds its gates itself, as `HeldGates` says: for models whose own code takes gates.

    An adapter is one of its modules while it is attached; the keys of the state dict are the base's otherwise.
    """

    gate_adapter: GateAdapter | None
    forced_planner: Planner | None
    base_weights: dict[str, nn.Parameter]

    def __init__(self) -> None:
        super().__init__()
        self.register_module("gate_adapter", None)
        self.forced_planner = None
        self.base_weights = {}

    def base_state(self) -> dict[str, Tensor]:
        """Return the weights of the base alone: neither those of an attached adapter, nor its changes (LoRA)."""
        own = {f"{name}.weight": weight.detach() for name, weight in self.base_weights.items()}
        state = self.state_dict().items()
        return {key: own.get(key, tensor) for key, tensor in state if key.partition(".")[0] != "gate_adapter"}


@final
@dataclass(frozen=True, kw_only=True)
class NetworkDescription:
    """What an adapter must know of a network, but for its weights."""

    hidden_size: int
    """Width D of what is pooled."""
    sites: tuple[GateSite, ...]
    """All its sites, encoder first, from the input up."""
    languages: tuple[str, ...]
    """Languages that it has a token for, ISO 639-3."""
    tasks: tuple[str, ...]
    """Tasks that it has a token for: `asr`, `st_eng`."""


@runtime_checkable
class Vocabulary(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text."""

    def encode_previous(self, text: str) -> list[int] | None:
        """Return the ids of a previous text; None for one that says that there is none."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` without special tokens."""


Gateable = TypeVar("Gateable")
NetworkT = TypeVar("NetworkT")
Network_co = TypeVar("Network_co", bound=nn.Module, covariant=True)
Vocabulary_co = TypeVar("Vocabulary_co", bound=Vocabulary, covariant=True)


@final
@dataclass(frozen=True, eq=False)
class SpeechModel(Generic[Network_co, Vocabulary_co]):
    """A network with the vocabulary that goes with it."""

    network: Network_co
    vocabulary: Vocabulary_co
    name: str
    """Where it came from: a folder or a Hub name."""
    folder: Path
    """Where its files lie."""


class GateFamily(ABC, Generic[Gateable, NetworkT]):
    """One kind of base model, as far as gates that its own forward follows are concerned."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What adapters call the family: its `model_type` in transformers' words."""

    @abstractmethod
    def network(self, model: Gateable) -> NetworkT:
        """Return the part of a model of this family that gates go on; it may be the model itself."""

    @abstractmethod
    def describe(self, network: NetworkT) -> NetworkDescription:
        """Return the sites and words of a network, from its config alone."""

    @abstractmethod
    def base_state(self, network: NetworkT) -> dict[str, Tensor]:
        """Return the weights of the base alone: neither those of an attached adapter, nor its changes (LoRA)."""

    @abstractmethod
    def held(self, network: NetworkT) -> HeldGates:
        """Return what is on a network now. Asking changes nothing; what was changed in it takes effect by `settle`."""

    @abstractmethod
    def settle(self, network: NetworkT, held: HeldGates) -> None:
        """Make the network's own forward follow what it holds; where it holds nothing, it is the base again."""


class ModelFamily(GateFamily[nn.Module, nn.Module]):
    """One kind of base model that our engine decodes."""

    @abstractmethod
    def config(self, network: nn.Module) -> SpeechConfig:
        """Return the words and sizes that decoding reads.

        Raises:
            SkipwiseError: if the model does not say enough of its tokens to be decoded.
        """

    @abstractmethod
    def engine(self, network: nn.Module, dtype: Dtype = "fp32") -> SpeechEngine:
        """Return what decoding runs: the network packed in one precision.

        Raises:
            SkipwiseError: if the weights do not fit into `dtype`.
        """

    @abstractmethod
    def decoder_parameters(self, network: nn.Module) -> Iterator[nn.Parameter]:
        """Return the weights of the decoder, its embeddings and output head among them, each once."""

    @abstractmethod
    def embed(self, network: nn.Module, features: SpeechStates) -> SpeechStates:
        """Return what the encoder's plan is decided from: the conv embedding, before its scaling and positions.

        `features` are what the network's front end extracts, [B, F, M].
        """

    @abstractmethod
    def encode(self, network: nn.Module, embedded: SpeechStates, gates: EncoderGates = None) -> SpeechStates:
        """Return the encoder's states for the output of `embed`; sites that `gates` does not name are open.

        Raises:
            SkipwiseError: if a plan has several rows, but not one for each of the batch.
        """

    @abstractmethod
    def decode(
        self,
        network: nn.Module,
        tokens: Int[Tensor, "batch length"],
        encoded: SpeechStates,
        gates: DecoderGates = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the logits after each position of whole prefixes: teacher forcing. Raises as `encode`."""
