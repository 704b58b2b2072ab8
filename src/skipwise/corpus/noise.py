"""Background noise: made for a whole speech at once, at a given signal-to-noise ratio."""

import numpy as np
from numpy.typing import NDArray

KINDS = ("white", "pink", "hum", "babble")

_HUM_CORNER_HZ = 250.0
_BABBLE_VOICES = 6


def add_noise(
    speech: NDArray[np.float32],
    kind: str,
    snr_db: float,
    rng: np.random.Generator,
    *,
    sample_rate: int,
    speech_level: float,
) -> NDArray[np.float32]:
    """`speech` plus noise of `kind` that is `snr_db` below `speech_level` (the root mean square of what is said)."""
    noise = _babble(speech, rng) if kind == "babble" else _coloured(len(speech), kind, rng, sample_rate)
    level = float(np.sqrt(np.mean(noise**2)))
    gain = np.float32(speech_level / max(level, 1e-9) * 10 ** (-snr_db / 20))
    return (speech + noise * gain).astype(np.float32, copy=False)


def _coloured(length: int, kind: str, rng: np.random.Generator, sample_rate: int) -> NDArray[np.float32]:
    # A multiple of 4096: lengths with large prime factors make the transform slow.
    padded = -(-length // 4096) * 4096
    white = rng.standard_normal(padded, dtype=np.float32)
    if kind == "white":
        return white[:length]
    frequencies = np.fft.rfftfreq(padded, 1 / sample_rate)
    if kind == "pink":
        gain = 1 / np.sqrt(np.maximum(frequencies, 20.0))
    else:
        gain = (frequencies > 30) / (1 + (frequencies / _HUM_CORNER_HZ) ** 2)
    return np.fft.irfft(np.fft.rfft(white) * gain, padded)[:length].astype(np.float32)


def _babble(speech: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A murmur that nobody understands: the speech itself, backwards, at several shifts."""
    backwards = speech[::-1]
    shifts = rng.integers(len(speech) // 10, len(speech), size=_BABBLE_VOICES)
    gains = rng.uniform(0.5, 1.0, size=_BABBLE_VOICES).astype(np.float32)
    murmurs = [gain * np.roll(backwards, shift) for gain, shift in zip(gains, shifts, strict=True)]
    return np.asarray(np.sum(murmurs, axis=0, dtype=np.float32))
