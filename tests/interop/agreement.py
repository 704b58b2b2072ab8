"""Whether two n-best lists are the same, ties aside.

Two hypotheses are tied where their scores are closer than what fp32 can tell: which of them comes first, and which of
them is the last to be kept, is then chance. Everything else must be identical.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skipwise.decoding.hypothesis import Hypothesis

SCORE_TOLERANCE = 1e-3
"""Absolute, as promised. Measured: see results/oracle."""

_FP32_SHARE = 1e-5
"""Of the score, where that is more: 300 tokens of a random model that repeats itself err the same way at every step. At
base's width fp32 is 3.5e-3 from what fp64 says of a score of -824, 4e-6 of it, on either side."""


def tolerance(score: float) -> float:
    """Return how far from `score` one is the same."""
    return max(SCORE_TOLERANCE, _FP32_SHARE * abs(score))


@dataclass(frozen=True)
class Theirs:
    """A hypothesis of ESPnet's, in skipwise's terms."""

    tokens: tuple[int, ...]
    score: float
    finished: bool


@dataclass
class Tally:
    """What was compared so far."""

    num_lists: int = 0
    num_hypotheses: int = 0
    num_ended: int = 0
    """Hypotheses that said `<eos>` themselves."""
    num_ties: int = 0
    """Places of a list where tied hypotheses changed places."""
    largest_score_difference: float = 0.0
    differences: list[str] = field(default_factory=list)
    """What is not the same: should be empty."""

    def add(self, name: str, ours: Sequence[Hypothesis], theirs: Sequence[Theirs]) -> None:
        """Compare two lists."""
        self.num_lists += 1
        self.num_hypotheses += len(theirs)
        self.num_ended += sum(hypothesis.finished for hypothesis in theirs)
        if len(ours) != len(theirs):
            self.differences.append(f"{name}: {len(ours)} hypotheses, ESPnet has {len(theirs)}")
            return
        for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if (mine.tokens, mine.finished) == (other.tokens, other.finished):
                difference = abs(mine.score - other.score)
                self.largest_score_difference = max(self.largest_score_difference, difference)
                if not difference <= tolerance(other.score):
                    self.differences.append(f"{name} place {place}: score {mine.score}, ESPnet {other.score}")
            elif _is_tie(mine, place, theirs):
                self.num_ties += 1
            else:
                self.differences.append(
                    f"{name} place {place}: {mine.tokens} {mine.score}, ESPnet {other.tokens} {other.score}"
                )

    def summary(self) -> dict[str, Any]:
        """Return the counts, for a results file."""
        return {
            "lists": self.num_lists,
            "hypotheses": self.num_hypotheses,
            "ended": self.num_ended,
            "ties": self.num_ties,
            "largest_score_difference": self.largest_score_difference,
            "differences": len(self.differences),
        }

    def check(self) -> None:
        """Raise an AssertionError that shows the first differences, if there are any."""
        if self.differences:
            shown = "\n".join(self.differences[:10])
            raise AssertionError(f"{len(self.differences)} differences from ESPnet in {self.num_lists} lists:\n{shown}")


def _is_tie(mine: Hypothesis, place: int, theirs: Sequence[Theirs]) -> bool:
    """Whether `mine` could stand at `place`: by ESPnet's own scores, or by ours if ESPnet's list ends before it."""
    there = theirs[place].score
    scores = [other.score for other in theirs if other.tokens == mine.tokens]
    if scores:
        return abs(scores[0] - there) <= tolerance(there)
    return max(abs(mine.score - there), abs(mine.score - theirs[-1].score)) <= tolerance(there)


def in_our_terms(row: dict[str, Any], *, max_tokens: int, eos: int) -> list[Theirs]:
    """Return a row's hypotheses without the prompt and without `<eos>`.

    In the last step ESPnet appends an `<eos>` to each hypothesis, also to one that has just said it. It keeps
    hypotheses of score minus infinity, where nothing but forbidden tokens was left; skipwise does not.
    """
    found = []
    for hypothesis in row["nbest"]:
        said = hypothesis["yseq"][len(row["prompt"]) :]
        if hypothesis["score"] == -math.inf:
            continue
        was_cut = len(said) > max_tokens
        said = said[:-1] if was_cut else said
        finished = said[-1] == eos
        found.append(Theirs(tuple(said[:-1] if finished else said), hypothesis["score"], finished))
    return found
