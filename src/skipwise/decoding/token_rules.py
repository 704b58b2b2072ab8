"""Which tokens may come next: none but text without timestamps, or sentences between pairs of them.

Shapes: B utterances, K beams, L tokens so far (prompt included), V vocabulary.
Source: ESPnet 202511, `espnet2.bin.s2t_inference.ScoreFilter`.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.models.owsm.architecture import OwsmArchitecture


@final
class TokenRules:
    """A prompt with `<notimestamps>` forbids timestamps. Without, the text is `<start> words <end> <start> ...`: starts
    and ends never go back, words stand between a start and its end, and `<eos>` follows an end."""

    def __init__(self, config: OwsmArchitecture, *, always_without_times: bool) -> None:
        self._config = config
        self._times = slice(config.first_timestamp_token_id, config.last_timestamp_token_id + 1)
        self._always_without_times = always_without_times

    def forbid(
        self, scores_BKV: Float[Tensor, "batch beams vocab"], prefix_BKL: Int[Tensor, "batch beams length"]
    ) -> None:
        """Set the scores of tokens that may not follow to minus infinity, in place."""
        if self._always_without_times:
            scores_BKV[..., self._times] = -torch.inf
        else:
            scores_BKV.masked_fill_(~self._allowed(prefix_BKL), -torch.inf)

    def _allowed(self, prefix_BKL: Int[Tensor, "batch beams length"]) -> Bool[Tensor, "batch beams vocab"]:
        config = self._config
        first, last = config.first_timestamp_token_id, config.last_timestamp_token_id
        ids_V = torch.arange(config.vocab_size, device=prefix_BKL.device)
        times_V, eos_V = (ids_V >= first) & (ids_V <= last), ids_V == config.eos_token_id
        timed_BKL = (prefix_BKL >= first) & (prefix_BKL <= last)
        # the last timestamp so far; timestamps are not 0, so 0 stands for none
        positions_L = torch.arange(prefix_BKL.shape[2], device=prefix_BKL.device)
        latest_BK1 = (timed_BKL * positions_L).argmax(dim=-1, keepdim=True)
        latest_BK1 = prefix_BKL.gather(2, latest_BK1)

        inside = ~eos_V & ~(times_V & (ids_V <= latest_BK1))  # words, or a later end
        after = (times_V & (ids_V >= prefix_BKL[..., -1:])) | eos_V  # the next start, or the end of it all
        nothing = torch.zeros_like(inside)
        is_inside = (timed_BKL.sum(dim=-1, keepdim=True) % 2) == 1
        allowed = torch.where(is_inside, inside, torch.where(timed_BKL[..., -1:], after, nothing))
        begins = prefix_BKL[..., -3:-2] == config.bos_token_id  # right after `<sos> <language> <task>`
        allowed = torch.where(begins, times_V, allowed)
        without = (prefix_BKL == config.no_timestamps_token_id).any(dim=-1, keepdim=True)
        return torch.where(without, ~times_V, allowed)
