"""A voice of one's own: two variants of espeak-ng mixed, and moved a little from both."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from skipwise.errors import SkipwiseError

_PLAIN = (100.0, 100.0, 100.0, 0.0)
"""Frequency, height and width of a formant in percent of the language's own, and Hz more."""

_FORMANTS = range(9)

_INHERITED = (
    *("echo", "tone", "flutter", "roughness", "voicing", "consonants"),
    *("intonation", "stressAdd", "stressAmp", "breath", "breathw"),
)
"""What comes from one parent or the other as it is."""

_TRACT, _APART, _SHAPE, _PITCH = 0.07, 0.04, 0.12, 0.1
"""Standard deviations, as logarithms: of all formants together, of each, of their height and width, of the pitch."""

_WIDEST = 2.0
"""Standard deviations beyond which nothing is drawn."""


def draw_own_voice(parents: tuple[str, str], rng: random.Random) -> str:
    """Return the lines of a voice file, between espeak-ng's variants `parents` in every property and near that place.

    All formants move together, as with the length of a vocal tract, and each by itself.

    Raises:
        SkipwiseError: espeak-ng is missing, or a variant is.
    """
    first, second = (_properties(name) for name in parents)
    places = [rng.random() for _ in range(3)]
    weights = (*places, places[0])
    tract = _factor(_TRACT, rng)
    lines = []
    for number in _FORMANTS:
        one, other = (_formant(voice, number) for voice in (first, second))
        frequency, height, width, more_hz = (
            a + weight * (b - a) for a, b, weight in zip(one, other, weights, strict=True)
        )
        frequency *= tract * _factor(_APART, rng)
        height *= _factor(_SHAPE, rng)
        width *= _factor(_SHAPE, rng)
        lines.append(f"formant {number} {frequency:.0f} {height:.0f} {width:.0f} {more_hz:.0f}")
    lines += [rng.choice((first, second)).get(name, "") for name in _INHERITED]
    lines.append(_pitch(first, second, rng))
    return "".join(f"{line}\n" for line in lines if line)


@cache
def language_files() -> Mapping[str, Path]:
    """Return espeak-ng's voice files by their dialect, e.g. "fr-be"."""
    found = (path for path in (_data_folder() / "lang").rglob("*") if path.is_file())
    return MappingProxyType({path.name.lower(): path for path in found})


def variant_path(name: str) -> Path:
    """Return where espeak-ng keeps the variant `name`.

    Raises:
        SkipwiseError: it has none of this name.
    """
    path = _data_folder() / "voices" / "!v" / name
    if not path.is_file():
        raise SkipwiseError(
            f"espeak-ng has no voice variant {name!r} in {path.parent}. Reinstall it: pip install espeakng-loader."
        )
    return path


def espeak_loader() -> ModuleType:
    """Return the package that brings espeak-ng.

    Raises:
        SkipwiseError: it is not installed.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise SkipwiseError(
            "the synthetic corpus is spoken by espeak-ng, which is not installed. "
            'Install it: pip install "skipwise[corpus]".'
        ) from None
    return espeakng_loader


def _data_folder() -> Path:
    return Path(espeak_loader().get_data_path())


@cache
def _properties(name: str) -> dict[str, str]:
    """The lines of a variant by what they set; a formant's by its number too."""
    properties = {}
    for line in variant_path(name).read_text(encoding="utf-8").splitlines():
        fields = line.split("//")[0].split()
        if fields:
            properties[" ".join(fields[:2]) if fields[0] == "formant" else fields[0]] = " ".join(fields)
    return properties


def _numbers(properties: dict[str, str], name: str) -> list[float]:
    """What follows `name`, as numbers."""
    return [float(field) for field in properties.get(name, name).removeprefix(name).split()]


def _formant(properties: dict[str, str], number: int) -> Sequence[float]:
    given = _numbers(properties, f"formant {number}")
    return (*given, *_PLAIN[len(given) :])


def _pitch(first: dict[str, str], second: dict[str, str], rng: random.Random) -> str:
    """Between the parents' lowest and highest Hz, where both say them; else whose does."""
    weight, factor = rng.random(), _factor(_PITCH, rng)
    given = [pair for voice in (first, second) if len(pair := _numbers(voice, "pitch")) == 2]
    if not given:
        return ""
    low, high = (factor * (a + weight * (b - a)) for a, b in zip(given[0], given[-1], strict=True))
    return f"pitch {low:.0f} {high:.0f}"


def _factor(deviation: float, rng: random.Random) -> float:
    return math.exp(deviation * max(-_WIDEST, min(_WIDEST, rng.gauss(0.0, 1.0))))
