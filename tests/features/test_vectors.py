"""Embeddings from statistics of the features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from skipwise.features.vectors import LogMelStatistics, NoiseStatistics
from tests.tiny import tone


def _heard(seed: int, *, level: float = 1.0, noise: float = 0.0) -> Tensor:
    samples = level * tone(2.0, seed=seed)
    hiss = noise * np.random.default_rng(seed).standard_normal(len(samples))
    return torch.from_numpy((samples + hiss).astype(np.float32))


@pytest.mark.parametrize("extractor", [LogMelStatistics(80), NoiseStatistics(80), NoiseStatistics(128)])
def test_an_embedding_has_its_size_whatever_the_length(extractor):
    for samples in (torch.zeros(1), torch.randn(160), _heard(0)):
        vector = extractor(samples)
        assert vector.shape == (extractor.size,) and bool(vector.isfinite().all())


def test_a_voice_is_the_same_at_another_level_and_another_voice_is_not():
    extractor = LogMelStatistics(80)
    quiet, loud, other = extractor(_heard(0, level=0.5)), extractor(_heard(0)), extractor(_heard(1))
    assert float((quiet - loud).norm()) < 0.05 * float((other - loud).norm())


def test_noise_raises_the_floor_and_lowers_what_rises_above_it():
    extractor = NoiseStatistics(80)
    clean, noisy = extractor(_heard(0)), extractor(_heard(0, noise=0.05))
    floors, rises = slice(0, 16), slice(16, 32)
    assert bool((noisy[floors] > clean[floors]).all())
    assert float(noisy[rises].mean()) < float(clean[rises].mean())


def test_features_that_are_there_already_give_the_same():
    from skipwise.features.log_mel import log_mel

    for extractor in (LogMelStatistics(80), NoiseStatistics(80)):
        assert torch.equal(extractor(_heard(0)), extractor.of_features(log_mel(_heard(0), num_mel_bins=80)))
