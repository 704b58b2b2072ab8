"""Batches of a run: which utterances each step sees, and the tensors it gets.

Shapes: U utterances of a step, B rows (every utterance once a task), F feature frames, M mel bins, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from skipwise.data.batching import batches_by_duration
from skipwise.data.manifest import Utterance
from skipwise.features import pad_features
from skipwise.gating import Context
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.training.feature_store import FeatureStore


class TrainBatch(TypedDict):
    """The tensors of one step; a dict, because Trainer and its data loader pass dicts on."""

    features: Float[Tensor, "utterances frames mels"]
    num_frames: Int[Tensor, " utterances"]
    row_utterance: Int[Tensor, " rows"]
    contexts: list[Context]
    tokens: Int[Tensor, "rows length"]
    labels: Int[Tensor, "rows length"]
    ctc_targets: Int[Tensor, "utterances targets"]
    num_ctc_targets: Int[Tensor, " utterances"]
    step: int


def plan_steps(
    durations_s: Sequence[float], *, batch_s: float, max_steps: int, sorted_epochs: int, seed: int
) -> list[list[int]]:
    """Return the utterances of every step of a run: the same for the same seed, so that a resumed run goes on alike."""
    steps: list[list[int]] = []
    epoch = 0
    while len(steps) < max_steps:
        steps += batches_by_duration(
            durations_s, max_batch_s=batch_s, seed=seed * 1000 + epoch, sort=epoch < sorted_epochs
        )
        epoch += 1
    return steps[:max_steps]


@final
class StepDataset(Dataset[TrainBatch]):
    """Item n is the whole batch of step n."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: FeatureStore,
        steps: Sequence[Sequence[int]],
        *,
        tasks: Sequence[str],
        config: OwsmArchitecture,
        vocabulary: OwsmVocabulary,
    ) -> None:
        self._utterances = utterances
        self._store = store
        self._steps = steps
        self._tasks = tasks
        self._config = config
        self._targets = [
            {task: vocabulary.encode(utterance.reference(task)) for task in tasks} for utterance in utterances
        ]
        self._ctc_targets = [vocabulary.encode(utterance.reference("asr")) for utterance in utterances]

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> TrainBatch:
        indices = self._steps[index]
        rows = [(position, i, task) for task in self._tasks for position, i in enumerate(indices)]
        features = pad_features([self._store[i] for i in indices])
        prompts = [self._config.prompt(self._utterances[i].language, task) for _, i, task in rows]
        targets = [self._targets[i][task] for _, i, task in rows]
        ctc = [self._ctc_targets[i] for i in indices]
        return TrainBatch(
            features=features.states,
            num_frames=features.num_frames,
            row_utterance=torch.tensor([position for position, _, _ in rows]),
            contexts=[Context(language=self._utterances[i].language, task=task) for _, i, task in rows],
            tokens=_padded([p + t for p, t in zip(prompts, targets, strict=True)], self._config.eos_token_id),
            # as in ESPnet everything after <sos> is scored, so that the language can be predicted
            labels=_padded(
                [[*p[1:], *t, self._config.eos_token_id] for p, t in zip(prompts, targets, strict=True)], IGNORED_LABEL
            ),
            ctc_targets=_padded(ctc, 0),
            num_ctc_targets=torch.tensor([len(target) for target in ctc]),
            step=index,
        )


def only_item(items: list[Any]) -> Any:
    """Return the single item of a data loader's batch: an item is a whole step already."""
    assert len(items) == 1
    return items[0]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Int[Tensor, "rows length"]:
    return pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True, padding_value=value)
