"""Which tokens a Whisper may say next, as transformers' `generate()` has it.

Shapes: B utterances, K beams, L tokens so far (prompt included), V vocabulary.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import WhisperTimeStampLogitsProcessor

from skipwise.models.speech_engine import TokenRules
from skipwise.models.whisper.tokens import WhisperTokens


@final
class WhisperTokenRules(TokenRules):
    """Suppressed tokens never come, some not first; timestamps, if asked for, follow transformers' rules."""

    def __init__(self, tokens: WhisperTokens, prompts: Int[Tensor, "batch prompt"]) -> None:
        self._length = prompts.shape[1]
        self._never, self._not_first = (
            torch.tensor(ids, dtype=torch.long, device=prompts.device)
            for ids in (tokens.suppressed, tokens.suppressed_first)
        )
        timed = [tokens.no_timestamps_token_id not in row for row in prompts.tolist()]
        assert len(set(timed)) == 1, "prompts of one length are all with timestamps or all without"
        self._times = WhisperTimeStampLogitsProcessor(tokens.generation_config, begin_index=self._length)
        self._is_timed = timed[0]

    def forbid(
        self, scores_BKV: Float[Tensor, "batch beams vocab"], prefix_BKL: Int[Tensor, "batch beams length"]
    ) -> None:
        if prefix_BKL.shape[2] == self._length:
            scores_BKV[..., self._not_first] = -torch.inf
        scores_BKV[..., self._never] = -torch.inf
        if self._is_timed:
            flat = scores_BKV.flatten(0, 1)
            scores_BKV.copy_(self._times(prefix_BKL.flatten(0, 1), flat).view_as(scores_BKV))  # type: ignore[arg-type]
