"""The hypotheses of one utterance that have ended, and when to stop looking for more.

Source: ESPnet 202511, `espnet.nets.batch_beam_search.BatchBeamSearch.post_process` and
`espnet.nets.e2e_asr_common.end_detect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.options import DecodeOptions

_LENGTHS_LOOKED_AT = 3
_HOPELESS = -10.0
_ROUNDING = 1e-3


@final
@dataclass(frozen=True)
class _Ended:
    hypothesis: Hypothesis
    length: int
    """Tokens in ESPnet's count: prompt, text and every `<eos>`."""


@final
class EndedHypotheses:
    """Collects what ends, one step after the other."""

    def __init__(
        self, options: DecodeOptions, *, num_frames: int, prompt_length: int, most_tokens: int | None = None
    ) -> None:
        """Follow `options`; `most_tokens` is what the decoder takes at most after the prompt."""
        self._options, self._prompt_length = options, prompt_length
        asked = options.max_tokens(num_frames)
        self._most = asked if most_tokens is None else min(asked, most_tokens)
        self._fewest = options.min_tokens(num_frames)
        self._ended: list[_Ended] = []

    def is_last(self, step: int) -> bool:
        """Return whether every hypothesis ends at this step, whatever its last token is."""
        return step >= self._most - 1

    def add(self, step: int, hypothesis: Hypothesis) -> None:
        """Take a hypothesis that ended at `step`, unless it is too short."""
        if step >= self._fewest:
            # ESPnet appends an `<eos>` to all at the last step, even to what just ended
            length = self._prompt_length + step + 1 + self.is_last(step)
            self._ended.append(_Ended(hypothesis, length))

    def is_enough(self, step: int) -> bool:
        """Return whether longer hypotheses only get worse: ESPnet's end detection, where there is no length limit.

        It looks for hypotheses of `step` tokens, prompt included, and so some steps back.
        """
        if self._options.max_length_ratio != 0 or not self._ended:
            return False
        best = max(ended.hypothesis.score for ended in self._ended)
        for length in range(step, step - _LENGTHS_LOOKED_AT, -1):
            scores = [ended.hypothesis.score for ended in self._ended if ended.length == length]
            if not scores or max(scores) - best >= _HOPELESS:
                return False
        return True

    def is_decided(self, best_live: float) -> bool:
        """Return whether no hypothesis that still grows can enter the n best; the best of those scores `best_live`.

        Scores only fall as long as nothing is added for a token, so that the n best do not depend on what is left out.
        ESPnet goes on.
        """
        if self._options.length_bonus > 0 or self._options.normalize_length:
            return False
        scores = sorted((ended.hypothesis.score for ended in self._ended), reverse=True)
        nbest = self._options.nbest
        return len(scores) >= nbest and scores[nbest - 1] >= best_live + _ROUNDING

    def ranked(self) -> list[Hypothesis]:
        """Return them, best first; of equals the one that ended first. Behind the n best some may be missing."""
        return [ended.hypothesis for ended in sorted(self._ended, key=self._rank, reverse=True)]

    def _rank(self, ended: _Ended) -> float:
        score = ended.hypothesis.score
        return score / (ended.length - 1) if self._options.normalize_length else score
