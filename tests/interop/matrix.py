"""What the oracle is asked: which checkpoints decode which clips, with which options. Imported by both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tests.interop.checkpoints import BASE, TINY, Checkpoint, random_checkpoints
from tests.interop.clips import clip

DURATIONS_S = (0.5, 3.0, 10.0, 30.0, 40.0)
PREVIOUS = (None, "", "Herr Präsident, wir danken", "Le budget <na> de la Commission")
"""Nothing known, an empty text, a text, and one that ESPnet takes for nothing known."""
LANGUAGES = ("deu", "eng", "fra")
TASKS = ("asr", "st_eng")
LONG_S = 70.0
LONG_BEFORE = "Le budget"
NUM_RANDOM = 12
RANDOM_SEED = 100


@dataclass(frozen=True, kw_only=True)
class Options:
    """`Speech2Text`'s own names and meanings."""

    beam_size: int = 1
    nbest: int = 1
    maxlenratio: float = 0.0
    minlenratio: float = 0.0
    ctc_weight: float = 0.0
    penalty: float = 0.0
    normalize_length: bool = False


LONG_OPTIONS = Options(maxlenratio=-60.0)
"""Of `decode_long`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One call."""

    clip: int
    language: str
    task: str
    previous: str | None
    timestamps: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """Calls with the same options, which skipwise decodes as one batch."""

    checkpoint: Checkpoint
    options: Options
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All that is asked in one run of ESPnet."""

    groups: tuple[Group, ...]
    states: tuple[Checkpoint, ...] = ()
    """Those whose hidden states are compared too."""
    long_form: tuple[Checkpoint, ...] = ()
    """Those that go through `decode_long`."""
    heads: tuple[Checkpoint, ...] = ()
    """Those that predict languages, and whose CTC head speaks alone."""

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All of them, once each."""
        return tuple(dict.fromkeys(group.checkpoint for group in self.groups))


def clips_of(checkpoint: Checkpoint) -> list[np.ndarray]:
    """Return the clips that a checkpoint is asked about; they scale with its window."""
    scale = checkpoint.window_s / 30
    return [clip(duration_s * scale, seed=seed) for seed, duration_s in enumerate(DURATIONS_S)]


def long_clip() -> np.ndarray:
    """Return the clip that `decode_long` gets."""
    return clip(LONG_S, seed=70)


def matrix(name: str) -> Matrix:
    """Return the matrix of that name: `full`, `tiny` (a part of it, for CI), `random` or `base`."""
    match name:
        case "full":
            groups = tuple(group for checkpoint in TINY for group in _all_options(checkpoint))
            return Matrix(groups=groups, long_form=TINY[1:], heads=TINY)
        case "tiny":
            return Matrix(groups=tuple(_few(matrix("full").groups)), long_form=TINY[1:], heads=TINY)
        case "random":
            checkpoints = random_checkpoints(NUM_RANDOM, seed=RANDOM_SEED)
            groups = tuple(group for checkpoint in checkpoints for group in _greedy_and_beam(checkpoint, 3))
            return Matrix(groups=groups, states=tuple(checkpoints))
        case "base":
            return Matrix(groups=tuple(_greedy_and_beam(BASE, len(DURATIONS_S))))
    raise ValueError(f"no matrix {name!r}")


def _all_options(checkpoint: Checkpoint) -> Iterator[Group]:
    index = 0
    for beam_size in (1, 5):
        for ctc_weight in (0.0, 0.3):
            for maxlenratio in (0.0, 0.4, -40.0):
                options = Options(beam_size=beam_size, nbest=beam_size, maxlenratio=maxlenratio, ctc_weight=ctc_weight)
                for timestamps in (False, True)[: 1 if ctc_weight else 2]:
                    # ESPnet takes some seconds for a row of these
                    is_slow = ctc_weight > 0 and maxlenratio >= 0
                    yield Group(
                        checkpoint=checkpoint, options=options, rows=_rows(index, 4 if is_slow else 8, timestamps)
                    )
                    index += 1
    beam = Options(beam_size=5, nbest=5, maxlenratio=-40.0)
    for options in (
        replace(beam, minlenratio=0.02),
        replace(beam, beam_size=1, nbest=1, maxlenratio=0.4, minlenratio=0.11),  # repeated with less
        replace(beam, minlenratio=-12.0),
        replace(beam, penalty=1.5),
        replace(beam, penalty=-0.7, ctc_weight=0.3),
        replace(beam, normalize_length=True),
        replace(beam, beam_size=12, nbest=12),
    ):
        yield Group(checkpoint=checkpoint, options=options, rows=_rows(index, 4, False))
        index += 1


def _rows(start: int, count: int, timestamps: bool) -> tuple[Row, ...]:
    """Clips, previous texts, languages and tasks in turn: `start` shifts them against each other."""
    places = range(start, start + count)
    return tuple(
        Row(
            clip=place % len(DURATIONS_S),
            language=LANGUAGES[place % len(LANGUAGES)],
            task=TASKS[place % len(TASKS)],
            previous=PREVIOUS[(place + place // 4) % len(PREVIOUS)],
            timestamps=timestamps,
        )
        for place in places
    )


def _few(groups: tuple[Group, ...]) -> Iterator[Group]:
    """The first rows: where searches may be long, of the checkpoint with fewer frames; else of the other."""
    for group in groups:
        is_short = group.options.maxlenratio < 0
        if is_short == (group.checkpoint == TINY[0]):
            yield replace(group, rows=group.rows[: 2 if group.options.ctc_weight else 3])


def _greedy_and_beam(checkpoint: Checkpoint, num_rows: int) -> Iterator[Group]:
    for beam_size in (1, 5):
        options = Options(beam_size=beam_size, nbest=beam_size, maxlenratio=0.4)
        yield Group(checkpoint=checkpoint, options=options, rows=_rows(0, num_rows, False))
