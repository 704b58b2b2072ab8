"""Simulated rooms: the first reflections from image sources of a box, then a tail that decays exponentially.

Source: J. Allen and D. Berkley, "Image method for efficiently simulating small-room acoustics", 1979; the tail is
noise, as in statistical room acoustics, and joins where the image sources are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

SOUND_M_PER_S = 343.0
_ORDER = 2
"""Rooms on each side of the real one, per axis, whose image sources are computed."""


@dataclass(frozen=True, kw_only=True)
class RoomType:
    """A kind of room: ranges of what is drawn."""

    length_m: tuple[float, float]
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    rt60_s: tuple[float, float]
    """Time in which the reverberation falls by 60 dB."""
    distance_m: tuple[float, float]
    """From mouth to microphone."""


ROOM_TYPES: Mapping[str, RoomType] = MappingProxyType(
    {
        "office": RoomType(
            length_m=(3.5, 6), width_m=(3, 5), height_m=(2.4, 3), rt60_s=(0.2, 0.4), distance_m=(0.4, 1.2)
        ),
        "meeting": RoomType(
            length_m=(6, 11), width_m=(4, 7), height_m=(2.5, 3.5), rt60_s=(0.25, 0.6), distance_m=(0.5, 2)
        ),
        "chamber": RoomType(
            length_m=(12, 25), width_m=(10, 18), height_m=(5, 9), rt60_s=(0.4, 0.8), distance_m=(0.4, 2)
        ),
        "corridor": RoomType(
            length_m=(12, 30), width_m=(1.8, 2.6), height_m=(2.4, 3), rt60_s=(0.3, 0.7), distance_m=(0.6, 2.5)
        ),
        "stairwell": RoomType(
            length_m=(4, 6), width_m=(2.5, 4), height_m=(9, 14), rt60_s=(0.5, 0.8), distance_m=(0.5, 2)
        ),
    }
)
NO_ROOM = "none"
"""A microphone right at the mouth."""

HELD_OUT_ROOMS = ("corridor", "stairwell")
"""Only test speech is in these."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """One room; the place of mouth and microphone follows from the seed that makes its impulse response."""

    kind: str
    """A key of ROOM_TYPES, or NO_ROOM."""
    rt60_s: float
    """0 for NO_ROOM."""
    distance_m: float
    """From mouth to microphone; 0 for NO_ROOM."""


def impulse_response(room: Room, rng: np.random.Generator, *, sample_rate: int) -> NDArray[np.float32]:
    """The response of `room`, from the direct sound (1 at sample 0) to where it is 60 dB down."""
    length = max(1, round(room.rt60_s * sample_rate))
    response = np.zeros(length)
    if room.kind == NO_ROOM:
        response[0] = 1.0
        return response.astype(np.float32)
    kind = ROOM_TYPES[room.kind]
    size_m = np.array([rng.uniform(*kind.length_m), rng.uniform(*kind.width_m), rng.uniform(*kind.height_m)])
    delays_s, gains = _image_sources(room, size_m, rng)
    places = np.round((delays_s - delays_s.min()) * sample_rate).astype(int)
    # beyond the nearest image source that is left out, the tail takes over
    complete_s = 2 * (_ORDER + 0.5) * size_m.min() / SOUND_M_PER_S - room.distance_m / SOUND_M_PER_S
    border = min(max(round(complete_s * sample_rate), 1), length)
    early = places < border
    np.add.at(response, places[early], gains[early] / gains.max())
    response[border:] = _tail(response[:border], border, length, room.rt60_s * sample_rate, rng)
    return response.astype(np.float32)


def _image_sources(
    room: Room, size_m: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delay and gain of every image of the mouth, as heard at the microphone."""
    microphone_m = rng.uniform(0.3, 0.7, size=3) * size_m
    direction = rng.normal(size=3) * np.array([1.0, 1.0, 0.2])
    mouth_m = microphone_m + room.distance_m * direction / np.linalg.norm(direction)
    mouth_m = np.clip(mouth_m, 0.05 * size_m, 0.95 * size_m)
    volume, surface = size_m.prod(), 2 * (size_m[0] * size_m[1] + size_m[1] * size_m[2] + size_m[2] * size_m[0])
    # Eyring: the share of the energy that a wall swallows
    swallowed = 1 - np.exp(-0.161 * volume / (surface * room.rt60_s))
    reflected = np.sqrt(1 - swallowed)
    steps = np.arange(-_ORDER, _ORDER + 1)
    cells = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    # in cell n the image is mirrored where n is odd; |n| walls lie between
    mirrored = np.where(cells % 2 == 0, mouth_m, size_m - mouth_m)
    distances_m = np.linalg.norm(cells * size_m + mirrored - microphone_m, axis=1)
    gains = reflected ** np.abs(cells).sum(axis=1) / np.maximum(distances_m, 0.1)
    return distances_m / SOUND_M_PER_S, gains


def _tail(
    early: NDArray[np.float64], border: int, length: int, decay: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Noise that goes on from the energy at the end of the early part and is 60 dB down after `decay` samples."""
    times = np.arange(length - border)
    window = early[max(1, border // 2) :]
    level = float(np.sqrt(np.mean(window**2))) if len(window) else 0.0
    # the mean of the window is that of its middle, a quarter of `border` earlier
    level *= 10 ** (-3 * (border / 4) / decay)
    return level * rng.standard_normal(len(times)) * 10 ** (-3 * times / decay)


def reverberated(samples: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """`samples` as heard through `response`, as long as before."""
    if len(response) == 1:
        return samples
    size = 1 << (2 * len(response)).bit_length()
    block = size - len(response) + 1
    count = -(-len(samples) // block)
    blocks = np.zeros((count, block), dtype=np.float32)
    blocks.reshape(-1)[: len(samples)] = samples
    parts = np.fft.irfft(np.fft.rfft(blocks, size) * np.fft.rfft(response, size), size)
    # overlap and add: the end of each block sounds on into the next one
    heard = np.zeros((count + 1) * block, dtype=np.float32)
    for index, part in enumerate(parts):
        heard[index * block : index * block + size] += part[: len(heard) - index * block]
    return heard[: len(samples)]
