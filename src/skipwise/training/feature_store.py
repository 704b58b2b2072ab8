"""Log-mel features of whole recordings on disk, computed once: training cuts its windows out of them by memory map.

A window cut out of its recording's features differs from the window's own in the two frames at either end, where the
spectrum of the one sees the audio beyond and that of the other its mirror image.

Shapes: F feature frames, M mel bins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from skipwise.atomic import atomic_write
from skipwise.audio import load_audio
from skipwise.errors import SkipwiseError
from skipwise.features.log_mel import HOP_LENGTH, SAMPLE_RATE, num_feature_frames
from skipwise.models.trainable import FrontEnd
from skipwise.training.windows import Recording, Window

SHARD_RECORDINGS = 32


@final
class FeatureStore:
    """Features of a list of recordings, as fp16 on disk and fp32 when read."""

    def __init__(self, recordings: Sequence[Recording], shards: Sequence[Path], num_frames: Sequence[int]) -> None:
        self._recordings = recordings
        self._shards = [_opened(path) for path in shards]
        self.num_frames = tuple(num_frames)
        starts = [0]
        for index, frames in enumerate(num_frames, start=1):
            starts.append(0 if index % SHARD_RECORDINGS == 0 else starts[-1] + frames)
        self._starts = starts

    def window(self, window: Window) -> Float[Tensor, "frames mels"]:
        """Return the features of a window; a recording that ends within it ends it."""
        index, recording = window.recording, self._recordings[window.recording]
        first = round((window.start_s - recording.start_s) * SAMPLE_RATE / HOP_LENGTH)
        wanted = num_feature_frames(round(window.duration_s * SAMPLE_RATE))
        end = min(first + wanted, self.num_frames[index])
        start = self._starts[index]
        rows = self._shards[index // SHARD_RECORDINGS][start + first : start + end]
        return torch.from_numpy(rows.astype(np.float32))

    def statistics(self) -> tuple[Float[Tensor, " mels"], Float[Tensor, " mels"]]:
        """Return mean and standard deviation of every mel bin over all frames: global mean-variance normalisation."""
        count = sum(self.num_frames)
        total = sum(np.asarray(shard, dtype=np.float64).sum(axis=0) for shard in self._shards)
        squares = sum(np.square(np.asarray(shard, dtype=np.float64)).sum(axis=0) for shard in self._shards)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 1e-20))
        return torch.from_numpy(np.asarray(mean)).float(), torch.from_numpy(np.asarray(std)).float()


def build_feature_store(
    recordings: Sequence[Recording], folder: Path, *, front_end: FrontEnd, jobs: int = 1
) -> FeatureStore:
    """Return the store of `recordings` under `folder`, computing what is missing: interrupted, it goes on later.

    Raises:
        SkipwiseError: if a file of the store is damaged.
    """
    store = folder / _key(recordings, front_end)
    store.mkdir(parents=True, exist_ok=True)
    parts = [recordings[i : i + SHARD_RECORDINGS] for i in range(0, len(recordings), SHARD_RECORDINGS)]
    shards = [store / f"{index:05d}.npy" for index in range(len(parts))]
    todo = [(part, path, front_end) for part, path in zip(parts, shards, strict=True) if not path.exists()]
    if todo:
        with (
            ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
            tqdm(total=len(parts), initial=len(parts) - len(todo), desc="features", unit="shard") as bar,
        ):
            for _ in pool.map(_write_shard, todo):
                bar.update()
    return FeatureStore(recordings, shards, [frames for path in shards for frames in _lengths(path)])


def _key(recordings: Sequence[Recording], front_end: FrontEnd) -> str:
    digest = hashlib.sha256(front_end.key.encode())
    for recording in recordings:
        digest.update(f"{recording.audio} {recording.start_s} {recording.end_s}\n".encode())
    return digest.hexdigest()[:16]


def _write_shard(job: tuple[Sequence[Recording], Path, FrontEnd]) -> None:
    recordings, path, front_end = job
    torch.set_num_threads(1)
    rows = []
    for recording in recordings:
        samples = torch.from_numpy(load_audio(recording.audio, start_s=recording.start_s, end_s=recording.end_s))
        rows.append(front_end.of_recording(samples).numpy().astype(np.float16))
    with atomic_write(path.with_suffix(".json")) as file:
        json.dump([len(row) for row in rows], file)
    with atomic_write(path, "wb") as file:
        np.save(file, np.concatenate(rows))


def _opened(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error) from error


def _lengths(path: Path) -> list[int]:
    try:
        return list(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path.with_suffix(".json"), error) from error


def _damaged(path: Path, error: Exception) -> SkipwiseError:
    return SkipwiseError(
        f"{path} is damaged: {error}. Remove {path.parent}; the features are computed again when training goes on."
    )
