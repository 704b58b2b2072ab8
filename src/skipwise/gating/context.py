"""Context: what is known of an utterance before its gates are decided.

Shapes: B rows, E numbers of a speaker or event embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, final, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating.draws import RowDraws

ContextPart = Literal["language", "task", "speech", "speaker", "event", "budget"]
CONTEXT_PARTS: tuple[ContextPart, ...] = get_args(ContextPart)

HIDEABLE_PARTS: tuple[ContextPart, ...] = ("language", "task", "speech")
"""The parts that every model has and that may be unknown. A budget is never: where none is asked for, an adapter takes
its own."""

VectorPart = Literal["speaker", "event"]
VECTOR_PARTS: tuple[VectorPart, ...] = get_args(VectorPart)
"""The parts that are embeddings, made by some other model; they may be unknown too."""

Vector = tuple[float, ...]
"""An embedding as a value: immutable and hashable."""

UNKNOWN_ID = 0
"""The id that stands for an unknown value in every vocabulary."""


@final
@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known of one utterance; None means unknown, and every part may be."""

    language: str | None = None
    """ISO 639-3 code of the speech: `deu`."""
    task: str | None = None
    """`asr`, or `st_` and the ISO 639-3 code of the target: `st_eng`."""
    budget: float | None = None
    """Share to skip of each gated stack, in [0, 1), in the unit of the gates; None leaves it to the adapter."""
    speaker: Vector | None = None
    """Speaker embedding; `as_vector` makes one of a tensor."""
    event: Vector | None = None
    """Embedding of the acoustic events and of the noise around the speech."""
    gates: str | None = None
    """Which of several adapters on the model decides, by name; None: the first, or the only one."""


def as_vector(values: Sequence[float] | Float[Tensor, " size"]) -> Vector:
    """Return numbers as a context holds them.

    Raises:
        SkipwiseError: if there is none, or one is not finite.
    """
    vector = tuple(map(float, values.tolist() if isinstance(values, Tensor) else values))
    if not vector or not bool(torch.tensor(vector).isfinite().all()):
        raise SkipwiseError(
            f"an embedding must be one or more finite numbers, got {vector[:5]}. Leave it out where it is not known."
        )
    return vector


@final
@dataclass(frozen=True)
class VectorBatch:
    """One embedding a row, as a predictor reads them."""

    values: Float[Tensor, "batch size"]
    """Zeros where unknown; of size 0 where the predictor takes none."""
    known: Bool[Tensor, " batch"]

    @property
    def size(self) -> int:
        return self.values.shape[1]

    def where(self, keep: Bool[Tensor, " batch"]) -> VectorBatch:
        """Return the batch with all but the rows to keep made unknown."""
        return VectorBatch(self.values * keep[:, None], self.known & keep)


@final
@dataclass(frozen=True)
class ContextIds:
    """A batch of contexts as a predictor reads them."""

    language: Int[Tensor, " batch"]
    """1 + index among the known languages; 0 where unknown."""
    task: Int[Tensor, " batch"]
    """1 + index among the known tasks; 0 where unknown."""
    speech_known: Bool[Tensor, " batch"]
    """False where the pooled speech must not be used."""
    budget: Float[Tensor, " batch"]
    """Share to skip."""
    speaker: VectorBatch
    event: VectorBatch

    def drop(self, probability: float, draws: RowDraws) -> ContextIds:
        """Return the ids with each part that may be unknown made so with `probability`, row by row: context dropout."""
        device = self.language.device
        keep = draws.uniform(len(HIDEABLE_PARTS), device=device) >= probability
        dropped = replace(
            self,
            language=self.language * keep[:, 0],
            task=self.task * keep[:, 1],
            speech_known=self.speech_known & keep[:, 2],
        )
        if self.speaker.size == self.event.size == 0:
            return dropped
        keep = draws.uniform(len(VECTOR_PARTS), device=device) >= probability
        return replace(dropped, speaker=self.speaker.where(keep[:, 0]), event=self.event.where(keep[:, 1]))

    def only(self, parts: Sequence[ContextPart]) -> ContextIds:
        """Return the ids with every part that is not among `parts` made unknown."""
        return replace(
            self,
            language=self.language * ("language" in parts),
            task=self.task * ("task" in parts),
            speech_known=self.speech_known & ("speech" in parts),
        )


@final
@dataclass(frozen=True, kw_only=True)
class ContextCodec:
    """How contexts become numbers."""

    languages: Sequence[str]
    """Known languages."""
    tasks: Sequence[str]
    """Known tasks."""
    default_budget: float
    """The budget of a context that has none."""
    vector_sizes: dict[VectorPart, int] = field(default_factory=dict)
    """Numbers of each embedding; one that is not named is not read."""

    def encode(self, contexts: Sequence[Context], device: torch.device | str = "cpu") -> ContextIds:
        """Return the ids of `contexts`; a value outside of `languages` or `tasks` counts as unknown.

        Raises:
            SkipwiseError: if an embedding has another size.
        """
        language_ids = {name: index for index, name in enumerate(self.languages, start=1)}
        task_ids = {name: index for index, name in enumerate(self.tasks, start=1)}
        budgets = [self.default_budget if c.budget is None else c.budget for c in contexts]
        return ContextIds(
            torch.tensor([language_ids.get(c.language or "", UNKNOWN_ID) for c in contexts], device=device),
            torch.tensor([task_ids.get(c.task or "", UNKNOWN_ID) for c in contexts], device=device),
            torch.ones(len(contexts), dtype=torch.bool, device=device),
            torch.tensor(budgets, dtype=torch.float32, device=device),
            self._vectors("speaker", [c.speaker for c in contexts], device),
            self._vectors("event", [c.event for c in contexts], device),
        )

    def _vectors(self, part: VectorPart, vectors: Sequence[Vector | None], device: torch.device | str) -> VectorBatch:
        size = self.vector_sizes.get(part, 0)
        known = [size > 0 and vector is not None for vector in vectors]
        for vector in vectors:
            if size and vector is not None and len(vector) != size:
                raise SkipwiseError(
                    f"these gates were trained with {part} embeddings of {size} numbers, got {len(vector)}. Use the "
                    "extractor that they were trained with, or leave the embedding out."
                )
        rows = [v if k and v is not None else (0.0,) * size for v, k in zip(vectors, known, strict=True)]
        return VectorBatch(
            torch.tensor(rows, dtype=torch.float32, device=device).reshape(len(vectors), size),
            torch.tensor(known, dtype=torch.bool, device=device),
        )
