"""Log-mel features on disk, computed once: training reads them by memory map, epoch after epoch.

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
from skipwise.data.manifest import Utterance
from skipwise.features import extract_features

SHARD_UTTERANCES = 256


@final
class FeatureStore:
    """Features of a list of utterances, by their position in it, as fp16 on disk and fp32 when read."""

    def __init__(self, shards: Sequence[Path], num_frames: Sequence[int]) -> None:
        self._shards = [np.load(path, mmap_mode="r") for path in shards]
        self.num_frames = tuple(num_frames)
        starts = [0]
        for index, frames in enumerate(num_frames, start=1):
            starts.append(0 if index % SHARD_UTTERANCES == 0 else starts[-1] + frames)
        self._starts = starts

    def __getitem__(self, index: int) -> Float[Tensor, "frames mels"]:
        start = self._starts[index]
        rows = self._shards[index // SHARD_UTTERANCES][start : start + self.num_frames[index]]
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
    utterances: Sequence[Utterance], folder: Path, *, num_mel_bins: int, min_frames: int, jobs: int = 1
) -> FeatureStore:
    """Return the store of `utterances` under `folder`, computing what is missing: interrupted, it goes on later."""
    store = folder / _key(utterances, num_mel_bins, min_frames)
    store.mkdir(parents=True, exist_ok=True)
    parts = [utterances[i : i + SHARD_UTTERANCES] for i in range(0, len(utterances), SHARD_UTTERANCES)]
    shards = [store / f"{index:05d}.npy" for index in range(len(parts))]
    todo = [
        (part, path, num_mel_bins, min_frames) for part, path in zip(parts, shards, strict=True) if not path.exists()
    ]
    if todo:
        with (
            ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
            tqdm(total=len(parts), initial=len(parts) - len(todo), desc="features", unit="shard") as bar,
        ):
            for _ in pool.map(_write_shard, todo):
                bar.update()
    lengths = [json.loads(path.with_suffix(".json").read_text()) for path in shards]
    return FeatureStore(shards, [frames for part in lengths for frames in part])


def _key(utterances: Sequence[Utterance], num_mel_bins: int, min_frames: int) -> str:
    digest = hashlib.sha256(f"{num_mel_bins} {min_frames}".encode())
    for utterance in utterances:
        digest.update(f"{utterance.id} {utterance.audio} {utterance.start_s} {utterance.end_s}\n".encode())
    return digest.hexdigest()[:16]


def _write_shard(job: tuple[Sequence[Utterance], Path, int, int]) -> None:
    utterances, path, num_mel_bins, min_frames = job
    torch.set_num_threads(1)
    rows = []
    for utterance in utterances:
        samples = torch.from_numpy(load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s))
        features = extract_features([samples], num_mel_bins=num_mel_bins, window_s=None, min_frames=min_frames)
        rows.append(features.states[0].numpy().astype(np.float16))
    with atomic_write(path.with_suffix(".json")) as file:
        json.dump([len(row) for row in rows], file)
    with atomic_write(path, "wb") as file:
        np.save(file, np.concatenate(rows))
