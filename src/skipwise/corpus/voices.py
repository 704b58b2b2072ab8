"""Speakers: an espeak-ng voice with a pitch, a rate and a loudness of its own; no voice is in two splits.

Each speaker of train has a voice that nobody else has, between two of espeak-ng's: with thirty voices a model learns
those thirty, and an unheard one costs it ten points of WER.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from skipwise.corpus.own_voice import draw_own_voice

DIALECTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"deu": ("de",), "fra": ("fr", "fr-be", "fr-ch"), "ita": ("it",)}
)

# Left out: whisper, croak, robots and other extremes; very soft ones (Hugo, ian, klatt); those that clip (iven, Jacky,
# antonio, ed).
VARIANTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": tuple(
            "Alex Andrea Andy Annie Diogo Lee Mario Michael Nguyen Reed adam belinda boris david edward f1 f2 f4 linda "
            "m1 m2 m3 m4 m6 m7 max michel norbert quincy robert shelby travis".split()
        ),
        "dev": ("m5", "f5", "caleb", "aunty"),
        "test": ("m8", "f3", "Mike", "gustave", "pablo", "Alicia"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One speaker of the corpus."""

    name: str
    """Unique in the corpus, e.g. "de_train_007"."""
    voice: str
    """espeak-ng's name: dialect "+" variant; of an own voice dialect "+" the two variants it lies between, with "~"."""
    rate_wpm: int
    """Speaking rate in espeak-ng's words per minute."""
    pitch: int
    """Base pitch, 0 to 99."""
    pitch_range: int
    """Liveliness, 0 to 100."""
    loudness_db: float
    """Level against the corpus' mean."""
    tempo: float = 1.0
    """How much faster the finished sound is played: it moves pitch and formants together."""
    own_voice: str = ""
    """Lines of a voice file that make the voice, where it is no variant of espeak-ng's."""


def variants_of(voice: str) -> tuple[str, ...]:
    """Return the variants of espeak-ng that a speaker's `voice` is, or lies between; none for a dialect alone."""
    return tuple(name for name in voice.partition("+")[2].split("~") if name)


def draw_speakers(language: str, split: str, count: int, rng: random.Random) -> tuple[Speaker, ...]:
    """`count` speakers of one split; the variants of the split take turns, so that all are used."""
    variants = list(VARIANTS["test" if split == "test_unseen" else split])
    rng.shuffle(variants)
    return tuple(_draw_speaker(language, split, index, variants, rng) for index in range(count))


def _draw_speaker(language: str, split: str, index: int, variants: list[str], rng: random.Random) -> Speaker:
    speaker = Speaker(
        name=f"{DIALECTS[language][0]}_{split}_{index:03d}",
        voice=f"{rng.choice(DIALECTS[language])}+{variants[index % len(variants)]}",
        rate_wpm=rng.randint(140, 220),
        pitch=rng.randint(20, 80),
        pitch_range=rng.randint(25, 75),
        loudness_db=round(rng.uniform(-5.0, 3.0), 2),
        tempo=round(rng.uniform(0.92, 1.08), 3),
    )
    if split != "train":
        return speaker
    first, second = variants[index % len(variants)], rng.choice(variants)
    return replace(speaker, voice=f"{speaker.voice}~{second}", own_voice=draw_own_voice((first, second), rng))
