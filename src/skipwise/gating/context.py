"""Context: what is known of an utterance before its gates are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating.draws import RowDraws

ContextPart = Literal["language", "task", "speech", "budget"]
CONTEXT_PARTS: tuple[ContextPart, ...] = get_args(ContextPart)

HIDEABLE_PARTS: tuple[ContextPart, ...] = ("language", "task", "speech")
"""The parts that may be unknown. A budget is never: where none is asked for, an adapter takes its own."""

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
    """Share of sites to skip in each gated stack, in [0, 1); None leaves it to the adapter."""


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
    """Share of sites to skip."""

    def drop(self, probability: float, draws: RowDraws) -> ContextIds:
        """Return the ids with each part that may be unknown made so with `probability`, row by row: context dropout."""
        keep = draws.uniform(len(HIDEABLE_PARTS), device=self.language.device) >= probability
        return replace(
            self,
            language=self.language * keep[:, 0],
            task=self.task * keep[:, 1],
            speech_known=self.speech_known & keep[:, 2],
        )

    def only(self, parts: Sequence[ContextPart]) -> ContextIds:
        """Return the ids with every part that is not among `parts` made unknown."""
        return replace(
            self,
            language=self.language * ("language" in parts),
            task=self.task * ("task" in parts),
            speech_known=self.speech_known & ("speech" in parts),
        )


def encode_contexts(
    contexts: Sequence[Context],
    *,
    languages: Sequence[str],
    tasks: Sequence[str],
    default_budget: float,
    device: torch.device | str = "cpu",
) -> ContextIds:
    """Return the ids of `contexts`; a value outside `languages` or `tasks` counts as unknown."""
    language_ids = {name: index for index, name in enumerate(languages, start=1)}
    task_ids = {name: index for index, name in enumerate(tasks, start=1)}
    return ContextIds(
        torch.tensor([language_ids.get(c.language or "", UNKNOWN_ID) for c in contexts], device=device),
        torch.tensor([task_ids.get(c.task or "", UNKNOWN_ID) for c in contexts], device=device),
        torch.ones(len(contexts), dtype=torch.bool, device=device),
        torch.tensor([default_budget if c.budget is None else c.budget for c in contexts], device=device),
    )
