"""Batches of a run: which windows each step sees, and the tensors it gets.

Shapes: W windows of a part of a step, B rows (every window once a task), F feature frames, M mel bins, L positions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypedDict, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from skipwise.data.batching import batches_by_duration
from skipwise.features import pad_features
from skipwise.gating import Context
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.trainable import FrontEnd
from skipwise.training.augment import Augment
from skipwise.training.sources import WindowSource
from skipwise.training.targets import Target, TargetMaker
from skipwise.training.vectors import ContextVectors
from skipwise.training.windows import Recording, Window, draw_windows


class TrainBatch(TypedDict):
    """The tensors of a step, or of a part of one; a dict, because Trainer and its data loader pass dicts on.

    What is counted is counted over the whole step, so that the losses of its parts sum up to that of the whole.
    """

    features: Float[Tensor, "windows frames mels"]
    num_frames: Int[Tensor, " windows"]
    num_real_frames: Int[Tensor, " windows"]
    row_window: Int[Tensor, " rows"]
    """Which window a row is of."""
    step_rows: list[int]
    """Which rows of the step these are."""
    contexts: list[Context]
    tokens: Int[Tensor, "rows length"]
    labels: Int[Tensor, "rows length"]
    ctc_targets: Int[Tensor, "windows targets"]
    num_ctc_targets: Int[Tensor, " windows"]
    weight: float
    """1; 0 for a stand-in, which a process computes that a step has no window for, so that it keeps in step."""
    num_step_windows: int
    num_step_rows: int
    num_step_labels: int
    """Scored labels of the step."""
    num_step_ctc_targets: int
    step: int


@final
@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """How steps are drawn."""

    batch_s: float
    """Padded seconds of a step."""
    window_s: float | None
    """Every window is padded to it; None pads to the longest of a step."""
    max_window_s: float
    """Longest window."""
    many_share: float
    """Share of windows of several sentences."""
    max_steps: int
    sorted_epochs: int
    """Epochs at the start that go from short windows to long ones."""
    seed: int


def plan_steps(recordings: Sequence[Recording], plan: StepPlan) -> list[list[Window]]:
    """Return the windows of every step of a run: the same for the same seed, so that a resumed run goes on alike."""
    steps: list[list[Window]] = []
    epoch = 0
    while len(steps) < plan.max_steps:
        seed = plan.seed * 1000 + epoch
        windows = draw_windows(
            recordings, max_window_s=plan.max_window_s, many_share=plan.many_share, rng=random.Random(seed)
        )
        durations_s = [plan.window_s or window.duration_s for window in windows]
        batches = batches_by_duration(durations_s, max_batch_s=plan.batch_s, seed=seed, sort=epoch < plan.sorted_epochs)
        steps += [[windows[index] for index in batch] for batch in batches]
        epoch += 1
    return steps[: plan.max_steps]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainData:
    """What steps are made of."""

    source: WindowSource
    targets: TargetMaker
    tasks: tuple[str, ...]
    one_task: bool = False
    """Each window serves one task a step, not all; the tasks take equal shares of the windows of a step."""
    augment: Augment | None
    front_end: FrontEnd
    """What the model hears of a window."""
    fill: Float[Tensor, " mels"]
    """What augmentation hides with."""
    seed: int
    vectors: ContextVectors = field(default_factory=ContextVectors)
    """What makes the speaker and event embeddings of a window."""


@final
class StepDataset(Dataset[TrainBatch]):
    """Item n is step n, or the share of it that falls to one of several processes."""

    def __init__(self, data: TrainData, *, process: int = 0, num_processes: int = 1) -> None:
        self._data = data
        self._process, self._num_processes = process, num_processes

    def __len__(self) -> int:
        return self._data.source.num_steps

    def __getitem__(self, index: int) -> TrainBatch:
        return self.share(index, self.places(index))

    def share(self, step: int, places: Sequence[int]) -> TrainBatch:
        """Return the batch of some windows of a step; of none a stand-in, which weighs nothing."""
        return self.part(step, places) if places else self.part(step, [0], weight=0.0)

    def part(self, step: int, places: Sequence[int], *, weight: float = 1.0) -> TrainBatch:
        """Return the batch of some windows of a step."""
        data, windows = self._data, self._data.source.windows(step)
        recordings = [data.source.recording(window) for window in windows]
        pairs = list(zip(recordings, windows, strict=True))
        served = self._served(step, len(windows))
        targets = {(place, task): self._target(step, place, *pairs[place], data.tasks[task]) for task, place in served}
        ctc = [data.targets.ctc_target(recording, window) for recording, window in pairs]
        parts = {place: part for part, place in enumerate(places)}
        rows = [(number, place, task) for number, (task, place) in enumerate(served) if place in parts]
        heard = [data.source.features(window) for window in (windows[place] for place in places)]
        vectors = [data.vectors.of(*pairs[place], own) for place, own in zip(places, heard, strict=True)]
        features = [self._model_input(step, place, windows, own) for place, own in zip(places, heard, strict=True)]
        num_real = [min(len(cut), len(row)) for cut, row in zip(heard, features, strict=True)]
        padded = pad_features(features, num_real_frames=num_real)
        chosen = [targets[place, task] for _, place, task in rows]
        languages = [recording.language for recording in recordings]
        return TrainBatch(
            features=padded.states,
            num_frames=padded.num_frames,
            num_real_frames=padded.num_real_frames,
            row_window=torch.tensor([parts[place] for _, place, _ in rows]),
            step_rows=[number for number, _, _ in rows],
            contexts=[
                replace(vectors[parts[place]], language=languages[place], task=data.tasks[task])
                for _, place, task in rows
            ],
            tokens=_padded([target.tokens for target in chosen], 0),
            labels=_padded([target.labels for target in chosen], IGNORED_LABEL),
            ctc_targets=_padded([ctc[place] for place in places], 0),
            num_ctc_targets=torch.tensor([len(ctc[place]) for place in places]),
            weight=weight,
            num_step_windows=len(windows),
            num_step_rows=len(served),
            num_step_labels=sum(target.num_scored for target in targets.values()),
            num_step_ctc_targets=sum(map(len, ctc)),
            step=step,
        )

    def places(self, step: int) -> Sequence[int]:
        """Return which windows of a step fall to this process."""
        return range(self._data.source.num_windows(step))[self._process :: self._num_processes]

    def most_places(self, step: int) -> int:
        """Return how many windows of a step fall to the process that has most of them."""
        return -(-self._data.source.num_windows(step) // self._num_processes)

    def _served(self, step: int, num_windows: int) -> list[tuple[int, int]]:
        """Task and window of each row of a step, in their order."""
        num_tasks = len(self._data.tasks)
        if not self._data.one_task:
            return [(task, place) for task in range(num_tasks) for place in range(num_windows)]
        rng = random.Random(f"{self._data.seed} {step} tasks")
        first = rng.randrange(num_tasks)
        tasks = [(first + index) % num_tasks for index in range(num_windows)]
        rng.shuffle(tasks)
        return list(zip(tasks, range(num_windows), strict=True))

    def _target(self, step: int, place: int, recording: Recording, window: Window, task: str) -> Target:
        rng = random.Random(f"{self._data.seed} {step} {place} {task}")
        return self._data.targets.target(recording, window, task, rng)

    def _model_input(
        self, step: int, place: int, windows: Sequence[Window], cut: Float[Tensor, "frames mels"]
    ) -> Float[Tensor, "window_frames mels"]:
        """What the model hears of one of a step's windows: changed by augmentation, filled up as in inference."""
        front_end, num_frames = self._data.front_end, self._data.front_end.window_frames
        augment, rng = self._data.augment, random.Random(f"{self._data.seed} {step} {place}")
        if augment is not None:
            others = [partial(self._data.source.features, other) for other in (*windows[:place], *windows[place + 1 :])]
            cut = augment.voice(cut, natural_log=front_end.is_natural_log, rng=rng, others=others)
        features = front_end.of_window(cut)
        silence = front_end.silence(features)
        if augment is not None:
            features = augment.hide(features, self._data.fill, rng)
        if num_frames is None:
            return features
        heard = features[:num_frames]
        return torch.nn.functional.pad(heard, (0, 0, 0, num_frames - len(heard)), value=silence)


def only_item(items: list[Any]) -> Any:
    """Return the single item of a data loader's batch: an item is a whole step already."""
    assert len(items) == 1
    return items[0]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Int[Tensor, "rows length"]:
    return pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True, padding_value=value)
