"""Context: what is known of an utterance before its gates are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

ContextPart = Literal["language", "task", "speech"]
CONTEXT_PARTS: tuple[ContextPart, ...] = get_args(ContextPart)

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

    def drop(self, probability: float, generator: torch.Generator) -> ContextIds:
        """Return the ids with each part of each row made unknown with `probability`: context dropout."""
        # drawn on the generator's device, so that a CPU generator gives the same run on every device
        draws = torch.rand(len(CONTEXT_PARTS), self.language.numel(), generator=generator, device=generator.device)
        keep = (draws >= probability).to(self.language.device)
        return ContextIds(self.language * keep[0], self.task * keep[1], self.speech_known & keep[2])

    def only(self, parts: Sequence[ContextPart]) -> ContextIds:
        """Return the ids with every part that is not among `parts` made unknown."""
        return ContextIds(
            self.language * ("language" in parts),
            self.task * ("task" in parts),
            self.speech_known & ("speech" in parts),
        )


def encode_contexts(
    contexts: Sequence[Context],
    *,
    languages: Sequence[str],
    tasks: Sequence[str],
    device: torch.device | str = "cpu",
) -> ContextIds:
    """Return the ids of `contexts`; a value outside `languages` or `tasks` counts as unknown."""
    language_ids = {name: index for index, name in enumerate(languages, start=1)}
    task_ids = {name: index for index, name in enumerate(tasks, start=1)}
    return ContextIds(
        torch.tensor([language_ids.get(c.language or "", UNKNOWN_ID) for c in contexts], device=device),
        torch.tensor([task_ids.get(c.task or "", UNKNOWN_ID) for c in contexts], device=device),
        torch.ones(len(contexts), dtype=torch.bool, device=device),
    )
