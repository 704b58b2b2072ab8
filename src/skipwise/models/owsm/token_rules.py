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
from skipwise.models.speech_engine import TokenRules


@final
class OwsmTokenRules(TokenRules):
    """A prompt with `<notimestamps>` forbids timestamps. Without, the text is `<start> words <end> <start> ...`: starts
    and ends never go back, words stand between a start and its end, and `<eos>` follows an end."""

    def __init__(self, config: OwsmArchitecture, *, always_without_times: bool) -> None:
        self._config = config
        self._times = slice(config.first_timestamp_token_id, config.last_timestamp_token_id + 1)
        self._always_without_times = always_without_times

    def forbid(
        self, scores_BKV: Float[Tensor, "batch beams vocab"], prefix_BKL: Int[Tensor, "batch beams length"]
    ) -> None:
        if self._always_without_times:
            scores_BKV[..., self._times] = -torch.inf
            return
        words_BK1, eos_BK1, earliest_BK1 = self._allowed(prefix_BKL)
        eos_scores = scores_BKV[..., self._config.eos_token_id].masked_fill(~eos_BK1[..., 0], -torch.inf)
        times_T = torch.arange(self._times.start, self._times.stop, device=prefix_BKL.device)
        scores_BKV[..., : self._times.start].masked_fill_(~words_BK1, -torch.inf)
        scores_BKV[..., self._times].masked_fill_(times_T < earliest_BK1, -torch.inf)
        scores_BKV[..., self._times.stop :].masked_fill_(~words_BK1, -torch.inf)
        scores_BKV[..., self._config.eos_token_id] = eos_scores

    def _allowed(
        self, prefix_BKL: Int[Tensor, "batch beams length"]
    ) -> tuple[Bool[Tensor, "batch beams 1"], Bool[Tensor, "batch beams 1"], Int[Tensor, "batch beams 1"]]:
        """Whether words may follow, whether `<eos>` may, and the earliest timestamp that may."""
        first, none = self._times.start, self._times.stop
        timed_BKL = (prefix_BKL >= first) & (prefix_BKL < none)
        positions_L = torch.arange(prefix_BKL.shape[2], device=prefix_BKL.device)
        latest_BK1 = prefix_BKL.gather(2, (timed_BKL * positions_L).argmax(dim=-1, keepdim=True))
        is_inside = (timed_BKL.sum(dim=-1, keepdim=True) % 2) == 1
        is_after = ~is_inside & timed_BKL[..., -1:]
        begins = prefix_BKL[..., -3:-2] == self._config.bos_token_id  # right after `<sos> <language> <task>`
        without = (prefix_BKL == self._config.no_timestamps_token_id).any(dim=-1, keepdim=True)
        # inside a sentence: words, or a later end; after one: the next start, or the end of it all; else nothing
        words, eos = is_inside, is_after
        earliest = torch.where(is_inside, latest_BK1 + 1, torch.where(is_after, prefix_BKL[..., -1:], none))
        words, eos, earliest = words & ~begins, eos & ~begins, torch.where(begins, first, earliest)
        return words | without, eos | without, torch.where(without, none, earliest)
