"""What the synthetic corpus knows of each segment beyond Europarl-ST's lists: `segments.<src>.jsonl` beside v1.1.

A row is joined to the reader's utterances by `utterance_id`, which both make from speech, start and end.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.data.languages import to_iso639_1
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

TARGET = "eng"
"""The language that sidecars translate into."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence that is said."""

    start_s: float
    end_s: float
    transcript: str
    translation: str


@dataclass(frozen=True, kw_only=True)
class SegmentFacts:
    """One segment of a synthetic corpus."""

    speech: str
    """The speech that it is cut from."""
    index: int
    """Its place in the speech, from 0: what is said before is `index` - 1."""
    split: str
    start_s: float
    end_s: float
    speaker: str
    voice: str
    """espeak-ng's name of the voice."""
    noise: str
    """Kind of background noise."""
    snr_db: float
    """Signal-to-noise ratio."""
    room: str
    """Kind of room; "none" for a microphone at the mouth."""
    rt60_s: float
    """Reverberation time; 0 without a room."""
    distance_m: float
    """From mouth to microphone; 0 without a room."""
    held_out: tuple[str, ...]
    """What training never has: of "names", "template", "voice", "noise", "room"."""
    sentences_s: tuple[tuple[float, float], ...]
    """Start and end of each sentence in the audio file."""
    transcripts: tuple[str, ...]
    """What each sentence is."""
    translations: tuple[str, ...]
    """What each sentence is in English."""
    templates: tuple[str, ...]
    """Sentence pattern of each sentence."""
    meanings: tuple[Mapping[str, Any], ...]
    """What each sentence says: its slots and its opening."""

    @property
    def id(self) -> str:
        """The id of the reader's utterance."""
        return utterance_id(self.speech.split(".")[0], self.speech, self.start_s, self.end_s)

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """What is said in it, in its order."""
        return tuple(
            Sentence(start_s=start, end_s=end, transcript=transcript, translation=translation)
            for (start, end), transcript, translation in zip(
                self.sentences_s, self.transcripts, self.translations, strict=True
            )
        )


def utterance_id(source: str, speech: str, start_s: float, end_s: float) -> str:
    """The id of a segment of a corpus in Europarl-ST's layout; `source` is the two-letter language."""
    # Europarl-ST's own speeches carry their language; where they do not, two languages may share a name.
    name = speech if speech.startswith(f"{source}.") else f"{source}.{speech}"
    return f"{name}_{round(start_s * 100):07d}_{round(end_s * 100):07d}"


def sidecar_path(root: str | Path, language: str) -> Path:
    """Where the facts of a source language are."""
    return Path(root) / f"segments.{to_iso639_1(language)}.jsonl"


def write_sidecar(path: Path, segments: Iterable[SegmentFacts]) -> None:
    """Write a file that `read_sidecar` reads."""
    with atomic_write(path) as file:
        file.writelines(json.dumps(asdict(segment), ensure_ascii=False) + "\n" for segment in segments)


def read_sidecar(path: str | Path) -> list[SegmentFacts]:
    """The facts in the order of the file.

    Raises:
        SkipwiseError: no such file, or a row without the right fields; names file, line and field.
    """
    path = Path(path)
    if not path.is_file():
        raise SkipwiseError(f"there is no sidecar {path}. Only corpora made by `skipwise corpus build` have one.")
    with path.open(encoding="utf-8") as lines:
        return [_from_line(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


_TUPLES = ("held_out", "sentences_s", "transcripts", "translations", "templates", "meanings")


def _from_line(line: str, where: str) -> SegmentFacts:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise SkipwiseError(f"{where}: is not JSON ({error.msg}). Make the corpus again.") from None
    wanted = {field.name for field in fields(SegmentFacts)}
    for name in sorted(wanted ^ set(row)):
        what = "is missing" if name in wanted else "is unknown"
        raise SkipwiseError(f"{where}: the field {name!r} {what}. Make the corpus with this version.")
    for name in _TUPLES:
        row[name] = tuple(tuple(value) if isinstance(value, list) else value for value in row[name])
    return SegmentFacts(**row)


def join_facts(utterances: Sequence[Utterance], facts: Iterable[SegmentFacts]) -> list[SegmentFacts]:
    """The facts of each utterance, in their order.

    Raises:
        SkipwiseError: an utterance that no fact is about.
    """
    by_id = {fact.id: fact for fact in facts}
    missing = [utterance.id for utterance in utterances if utterance.id not in by_id]
    if missing:
        raise SkipwiseError(
            f"{len(missing)} of {len(utterances)} utterances have no row in the sidecar, the first is {missing[0]!r}. "
            "Give lists and sidecar of the same build."
        )
    return [by_id[utterance.id] for utterance in utterances]


def by_sentence(root: str | Path, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return an utterance for each sentence of `utterances`, where a sidecar below `root` tells them apart.

    Those of a language without a sidecar, as in Europarl-ST itself, come back as they are.
    """
    found: list[Utterance] = []
    for language in dict.fromkeys(utterance.language for utterance in utterances):
        segments = [utterance for utterance in utterances if utterance.language == language]
        path = sidecar_path(root, language)
        if not path.is_file():
            found += segments
            continue
        for segment, facts in zip(segments, join_facts(segments, read_sidecar(path)), strict=True):
            found += [
                replace(
                    segment,
                    id=f"{segment.id}.{index}",
                    start_s=sentence.start_s,
                    end_s=sentence.end_s,
                    transcript=sentence.transcript,
                    translations={TARGET: sentence.translation},
                )
                for index, sentence in enumerate(facts.sentences)
            ]
    return found
