"""Clips to decode: synthetic, and different enough that a random encoder hears it. NumPy only: both sides make them."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def clip(duration_s: float, *, seed: int) -> np.ndarray:
    """Return float32 samples: harmonics of a pitch that wanders, syllables of changing timbre, pauses, noise."""
    rng = np.random.default_rng(seed)
    num_samples = round(duration_s * RATE)
    seconds = np.arange(num_samples) / RATE
    knots_s = np.arange(0, duration_s + 0.2, 0.2)
    pitch_hz = np.interp(seconds, knots_s, rng.uniform(80, 260, len(knots_s)))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE
    voice = np.zeros(num_samples)
    for harmonic in range(1, 17):
        loudness = np.interp(seconds, knots_s, rng.uniform(0, 1, len(knots_s)) ** 3)
        voice += loudness * np.sin(harmonic * phase) / np.sqrt(harmonic)
    loud = np.interp(seconds, knots_s, (rng.uniform(0, 1, len(knots_s)) > 0.25).astype(float))
    hiss = np.interp(seconds, knots_s, rng.uniform(0, 1, len(knots_s)) ** 4)
    samples = 0.1 * voice * loud + 0.05 * hiss * rng.standard_normal(num_samples)
    return (samples + 0.001 * rng.standard_normal(num_samples)).astype(np.float32)
