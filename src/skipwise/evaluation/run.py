"""`evaluate`: a model's quality, sparsity, cost and time on utterances with references."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, final

import torch

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.rows import Row, decode_rows, make_batches
from skipwise.evaluation.scores import signatures
from skipwise.evaluation.summary import CountedRows
from skipwise.gating import OPEN_PLANNER, AdapterPlanner, GatePlan, GateSite, RecordingPlanner, ShuffledPlanner
from skipwise.models.attach import device_of
from skipwise.pipeline import Transcriber

DEFAULT_BATCH_S = 120.0
_VERSIONS_OF = ("skipwise", "torch", "transformers", "jiwer", "sacrebleu", "numpy")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The rows of one system, and how they came about."""

    rows: tuple[Row, ...]
    """One an utterance and task."""
    sites: tuple[GateSite, ...]
    """All sites of the model, gated or not."""
    settings: Mapping[str, Any]
    """Everything needed to run it again."""
    seed: int = 0
    """Seed of the bootstrap."""

    @classmethod
    def of(
        cls, rows: Iterable[Row], transcriber: Transcriber, *, seed: int = 0, notes: Mapping[str, Any] | None = None
    ) -> Evaluation:
        """Return the evaluation of rows that a transcriber made; `notes` join its settings (data, split, ...).

        Raises:
            SkipwiseError: if there is no row.
        """
        rows = tuple(rows)
        if not rows:
            raise SkipwiseError(
                "nothing was evaluated: no utterance has a reference for these tasks. Check tasks, languages and split."
            )
        return cls(
            rows=rows,
            sites=transcriber.sites,
            settings=describe_settings(transcriber) | {"seed": seed} | dict(notes or {}),
            seed=seed,
        )

    @cached_property
    def counted(self) -> CountedRows:
        """The rows with their counts."""
        return CountedRows(self.rows, self.sites, seed=self.seed)

    def plans(self) -> dict[tuple[str, str], list[GatePlan]]:
        """Return the gates of every decoded window by (language, task): what a gate map shows."""
        keys = sorted({(row.language, row.task) for row in self.rows})
        return {key: [p for row in self.rows if (row.language, row.task) == key for p in row.all_plans] for key in keys}

    def to_dict(self) -> dict[str, Any]:
        """Return settings and the numbers of all rows, per language, per task, and per language and task.

        WER in percent; BLEU and chrF on 0-100; sparsity, loops and length limits as shares; None where a number does
        not apply. `sparsity` is that of each stack, `seconds` sums over rows, `rtf` is seconds per second of audio, an
        interval is [low, high] at 95 %.
        """
        return {"settings": dict(self.settings), **self.counted.groups()}


def evaluate(
    transcriber: Transcriber,
    utterances: Sequence[Utterance],
    tasks: Sequence[str],
    *,
    batch_s: float = DEFAULT_BATCH_S,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Return how a transcriber does on utterances: each of `tasks` for which they have a reference.

    `batch_s` is the audio of a batch in seconds, padding included. `seed` orders the batches and draws the resamples of
    the intervals. `notes` join the settings.

    Raises:
        SkipwiseError: if there is nothing to score, or a reference has no word.
    """
    batches = make_batches(transcriber, utterances, tasks, batch_s=batch_s, seed=seed)
    return Evaluation.of(
        decode_rows(transcriber, batches), transcriber, seed=seed, notes={"batch_s": batch_s} | dict(notes or {})
    )


def describe_settings(transcriber: Transcriber) -> dict[str, Any]:
    """Return what decides a transcriber's output and speed, as values that JSON knows."""
    return {
        "model": transcriber.model.name,
        "gates": _gates(transcriber),
        **_budget(transcriber),
        **asdict(transcriber.options),
        "device": str(device_of(transcriber.model.network)),
        "dtype": transcriber.engine.dtype,
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONS_OF},
        "signatures": {"wer": "jiwer, transformers BasicTextNormalizer (diacritics kept)"} | signatures(),
    }


def _gates(transcriber: Transcriber) -> str:
    match transcriber.planner:
        case AdapterPlanner() | RecordingPlanner():
            return "adapter"
        case ShuffledPlanner():
            return f"adapter, its input shuffled by {transcriber.planner.level}"
        case planner:
            return "none" if planner is OPEN_PLANNER else "fixed plan"


def _budget(transcriber: Transcriber) -> dict[str, Any]:
    """The budget that was asked for, where one was."""
    planner = transcriber.planner
    if not isinstance(planner, AdapterPlanner):
        return {}
    asked = planner.budget
    found = {} if asked.sparsity is None and not asked.exact else {"sparsity": asked.sparsity, "exact": asked.exact}
    found |= {} if asked.scope is None else {"scope": asked.scope}
    return found if asked.unit == "sites" else found | {"unit": asked.unit}


def _version(name: str) -> str:
    # read from the modules' metadata: importing them would take seconds
    try:
        return version(name)
    except ModuleNotFoundError:  # run from a source tree that is not installed
        import skipwise

        return skipwise.__version__
