"""Background noise: made for a whole speech at once, at a given signal-to-noise ratio."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


def add_noise(
    speech: Samples,
    kind: str,
    snr_db: float,
    rng: np.random.Generator,
    *,
    sample_rate: int,
    speech_level: float,
    voices: Sequence[Samples] = (),
) -> Samples:
    """`speech` plus noise of `kind` that is `snr_db` below `speech_level` (the root mean square of what is said).

    "babble" is made of `voices`, what others say; the other kinds need none.
    """
    noise = _babble(len(speech), voices, rng) if kind == BABBLE else _MAKERS[kind](len(speech), rng, sample_rate)
    level = float(np.sqrt(np.mean(noise**2)))
    gain = np.float32(speech_level / max(level, 1e-9) * 10 ** (-snr_db / 20))
    return (speech + noise * gain).astype(np.float32, copy=False)


def _padded(length: int) -> int:
    """The next length of the form 2^n * (8 to 16): lengths with large prime factors make the transform slow."""
    unit = 1 << max(0, length.bit_length() - 4)
    return -(-length // unit) * unit


def _shaped(length: int, rng: np.random.Generator, sample_rate: int, gain: Callable[[Any], Any]) -> Samples:
    """White noise with the spectrum `gain(frequency in Hz)`."""
    padded = _padded(length)
    white = rng.standard_normal(padded, dtype=np.float32)
    frequencies = np.fft.rfftfreq(padded, 1 / sample_rate)
    return np.fft.irfft(np.fft.rfft(white) * gain(frequencies), padded)[:length].astype(np.float32)


def _white(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    return rng.standard_normal(length, dtype=np.float32)


def _pink(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    return _shaped(length, rng, sample_rate, lambda hz: 1 / np.sqrt(np.maximum(hz, 20.0)))


def _ventilation(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    return _shaped(length, rng, sample_rate, lambda hz: (hz > 30) / (1 + (hz / 250.0) ** 2))


def _hum(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    """The mains: 50 Hz and its harmonics, and a little hiss."""
    times = np.arange(length, dtype=np.float32) / sample_rate
    noise = 0.05 * rng.standard_normal(length, dtype=np.float32)
    for harmonic in range(1, 13):
        phase = rng.uniform(0, 2 * np.pi)
        strength = rng.uniform(0.3, 1.0) / harmonic**0.7
        noise += np.float32(strength) * np.sin(2 * np.pi * 50 * harmonic * times + phase).astype(np.float32)
    return noise


def _struck(
    length: int, rng: np.random.Generator, sample_rate: int, rate_hz: float, click: NDArray[np.float64]
) -> Samples:
    """Clicks at random times, `rate_hz` a second, each of another strength."""
    padded = _padded(length + len(click))
    train = np.zeros(padded)
    count = max(1, rng.poisson(rate_hz * length / sample_rate))
    np.add.at(train, rng.integers(0, length, size=count), rng.exponential(1.0, size=count))
    spectrum = np.fft.rfft(train) * np.fft.rfft(click, padded)
    return np.fft.irfft(spectrum, padded)[:length].astype(np.float32)


def _burst(rng: np.random.Generator, sample_rate: int, decay_s: float, centre_hz: float) -> NDArray[np.float64]:
    """A click: noise around `centre_hz` that dies away."""
    times = np.arange(round(6 * decay_s * sample_rate)) / sample_rate
    carrier = np.cos(2 * np.pi * centre_hz * times + rng.uniform(0, 2 * np.pi)) + 0.7 * rng.standard_normal(len(times))
    return carrier * np.exp(-times / decay_s)


def _typing(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    strokes = _struck(length, rng, sample_rate, rng.uniform(4, 9), _burst(rng, sample_rate, 0.006, 2500.0))
    return (strokes + 0.01 * rng.standard_normal(length, dtype=np.float32)).astype(np.float32)


def _rustling(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    """Paper: hiss that comes and goes."""
    hiss = _shaped(length, rng, sample_rate, lambda hz: hz / (hz + 3000.0))
    knots = rng.exponential(1.0, size=max(2, round(length / sample_rate * 3))) ** 2
    envelope = np.interp(np.linspace(0, len(knots) - 1, length), np.arange(len(knots)), knots)
    return hiss * (0.05 + envelope).astype(np.float32)


def _applause(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    return _struck(length, rng, sample_rate, rng.uniform(150, 600), _burst(rng, sample_rate, 0.004, 1200.0))


def _traffic(length: int, rng: np.random.Generator, sample_rate: int) -> Samples:
    """Cars that pass: a deep roar whose loudness swells."""
    roar = _shaped(length, rng, sample_rate, lambda hz: (hz > 25) / (1 + (hz / 120.0) ** 1.5))
    times = np.arange(length) / sample_rate
    swell = 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(0.05, 0.2) * times + rng.uniform(0, 2 * np.pi))
    return roar * swell.astype(np.float32)


def _babble(length: int, voices: Sequence[Samples], rng: np.random.Generator) -> Samples:
    """What others say, all at once, over and over."""
    assert voices
    mixed = np.zeros(length, dtype=np.float32)
    for voice in voices:
        start = int(rng.integers(0, len(voice)))
        turned = np.roll(voice, -start)
        mixed += np.resize(turned, length) * np.float32(rng.uniform(0.5, 1.0))
    return mixed


BABBLE = "babble"
_MAKERS: Mapping[str, Callable[[int, np.random.Generator, int], Samples]] = MappingProxyType(
    {
        "white": _white,
        "pink": _pink,
        "hum": _hum,
        "ventilation": _ventilation,
        "typing": _typing,
        "rustling": _rustling,
        "applause": _applause,
        "traffic": _traffic,
    }
)
KINDS = (*_MAKERS, BABBLE)
HELD_OUT_KINDS = ("applause", "traffic")
"""Only test speech has these."""
