"""The shuffle test: what it costs when gates are decided from another utterance's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.compare import differences
from skipwise.evaluation.rows import decode_rows, make_batches
from skipwise.evaluation.run import DEFAULT_BATCH_S, Evaluation
from skipwise.gating import Planner, RecordingPlanner, ShuffledPlanner, ShuffleLevel
from skipwise.gating.shuffle import Donors, followed_adapter
from skipwise.pipeline import Transcriber


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ShuffleTest:
    """The same system on the same utterances, with its own input for the gates and with another utterance's."""

    own: Evaluation
    shuffled: Evaluation

    def to_dict(self) -> dict[str, Any]:
        """Return both evaluations and what shuffling changes in each group, as values for JSON."""
        return {
            "own": self.own.to_dict(),
            "shuffled": self.shuffled.to_dict(),
            "differences": differences(self.own, self.shuffled),
        }


def shuffle_test(
    transcriber: Transcriber,
    utterances: Sequence[Utterance],
    tasks: Sequence[str],
    level: ShuffleLevel,
    *,
    batch_s: float = DEFAULT_BATCH_S,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> ShuffleTest:
    """Return how a gated system does with its own input and with one that is shuffled at `level`.

    Only what the predictor sees is shuffled: never the speech that is decoded, nor the prompt. `seed` orders the
    batches, draws the resamples of the intervals and chooses whose input it is.

    Raises:
        SkipwiseError: if the system has no gates that could see anything, or no other utterance could give its input.
    """
    batches = make_batches(transcriber, utterances, tasks, batch_s=batch_s, seed=seed)
    notes = {"batch_s": batch_s} | dict(notes or {})
    recording, planner = recorded(transcriber)
    own = Evaluation.of(decode_rows(recording, batches), transcriber, seed=seed, notes=notes)
    other = shuffled(transcriber, planner.donors, level, seed=seed)
    return ShuffleTest(own=own, shuffled=Evaluation.of(decode_rows(other, batches), other, seed=seed, notes=notes))


def recorded(transcriber: Transcriber) -> tuple[Transcriber, RecordingPlanner]:
    """Return a transcriber that does the same, and what keeps the input of its gates.

    Raises:
        SkipwiseError: if it does not follow an adapter.
    """
    if followed_adapter(transcriber.planner) is None:
        raise SkipwiseError(
            "the shuffle test asks whose input the gates are decided from, and this model runs without an adapter. "
            "Name one with gates."
        )
    planner = RecordingPlanner(transcriber.planner)
    return _with(transcriber, planner), planner


def shuffled(transcriber: Transcriber, donors: Donors, level: ShuffleLevel, *, seed: int = 0) -> Transcriber:
    """Return a transcriber whose gates see the input of other utterances."""
    return _with(transcriber, ShuffledPlanner(transcriber.planner, donors, level, seed=seed))


def _with(transcriber: Transcriber, planner: Planner) -> Transcriber:
    """The same system, its precision too, under another planner."""
    return Transcriber(transcriber.model, gates=planner, dtype=transcriber.engine.dtype, options=transcriber.options)
