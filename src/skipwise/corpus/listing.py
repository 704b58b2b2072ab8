"""The lists of a finished corpus: Europarl-ST's own, and what it has no place for as JSON lines."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.corpus.grammar import Meaning, render
from skipwise.corpus.lexicon import surnames
from skipwise.corpus.noise import HELD_OUT_KINDS
from skipwise.corpus.rooms import HELD_OUT_ROOMS
from skipwise.corpus.script import Speech
from skipwise.corpus.templates import unseen_templates
from skipwise.data.languages import to_iso639_1
from skipwise.data.sidecar import SegmentFacts, sidecar_path, write_sidecar

TARGET = "eng"

Span = Sequence[float]
"""Start and end in seconds."""


def write_lists(folder: Path, speeches: Sequence[Speech], parts: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Write all lists from the script and the `parts` of the finished speeches; returns split -> language -> counts."""
    times = {speech.id: json.loads((parts / f"{speech.id}.json").read_text(encoding="utf-8")) for speech in speeches}
    groups: dict[tuple[str, str], list[Speech]] = defaultdict(list)
    for speech in speeches:
        groups[speech.split, speech.language].append(speech)
    counts: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (split, language), group in sorted(groups.items()):
        _write_split(folder, split, language, group, times)
        counts[split][to_iso639_1(language)] = {
            "speeches": len(group),
            "segments": sum(len(speech.segments) for speech in group),
            "sentences": sum(len(segment) for speech in group for segment in speech.segments),
            "words": sum(_words(speech) for speech in group),
            "speakers": len({speech.speaker.name for speech in group}),
            "hours": round(sum(times[speech.id]["duration_s"] for speech in group) / 3600, 4),
        }
    _write_sidecars(folder, speeches, times)
    return dict(counts)


def _words(speech: Speech) -> int:
    """Words of the transcripts and of the translations: what all tasks together are scored on."""
    texts = [*speech.texts(speech.language), *speech.texts(TARGET)]
    return sum(len(sentence.split()) for segment in texts for sentence in segment)


def _write_split(folder: Path, split: str, language: str, group: Sequence[Speech], times: dict[str, Any]) -> None:
    source, target = to_iso639_1(language), to_iso639_1(TARGET)
    lists: dict[str, list[str]] = defaultdict(list)
    for speech in group:
        lists["speeches.lst"].append(speech.id)
        lists["speakers.lst"].append(speech.speaker.name)
        lists["url.lst"].append(f"synthetic:skipwise/parliament/{speech.id}")
        lists["segments.lst"] += [f"{speech.id} {start:.2f} {end:.2f}" for start, end in times[speech.id]["segments_s"]]
        for code, name in ((language, source), (TARGET, target)):
            segments = [" ".join(sentences) for sentences in speech.texts(code)]
            lists[f"segments.{name}"] += segments
            lists[f"speeches.{name}"].append(" ".join(segments))
    place = folder / "v1.1" / source / target / split
    for name, lines in lists.items():
        _write_lines(place / name, lines)


def _write_sidecars(folder: Path, speeches: Sequence[Speech], times: dict[str, Any]) -> None:
    speakers = {
        speech.speaker.name: {**asdict(speech.speaker), "language": speech.language, "split": speech.split}
        for speech in speeches
    }
    _write_lines(folder / "speakers.jsonl", [_json(speakers[name]) for name in sorted(speakers)])
    rows: dict[str, list[SegmentFacts]] = defaultdict(list)
    for speech in speeches:
        rows[speech.language] += facts_of(speech, times[speech.id]["segments_s"], times[speech.id]["sentences_s"])
    for language, facts in rows.items():
        write_sidecar(sidecar_path(folder, language), facts)


def facts_of(speech: Speech, segments_s: Sequence[Span], sentences_s: Sequence[Span]) -> list[SegmentFacts]:
    """What is known of each segment of a speech that was said at these times."""
    facts, said = [], iter(sentences_s)
    for index, ((start, end), meanings) in enumerate(zip(segments_s, speech.segments, strict=True)):
        facts.append(
            SegmentFacts(
                speech=speech.id,
                index=index,
                split=speech.split,
                start_s=start,
                end_s=end,
                speaker=speech.speaker.name,
                voice=speech.speaker.voice,
                noise=speech.noise,
                snr_db=speech.snr_db,
                room=speech.room.kind,
                rt60_s=speech.room.rt60_s,
                distance_m=speech.room.distance_m,
                held_out=_held_out(speech, meanings),
                sentences_s=tuple((first, last) for first, last in (next(said) for _ in meanings)),
                transcripts=tuple(render(meaning, speech.language) for meaning in meanings),
                translations=tuple(render(meaning, TARGET) for meaning in meanings),
                templates=tuple(meaning.template for meaning in meanings),
                meanings=tuple({"slots": dict(meaning.slots), "opening": meaning.opening} for meaning in meanings),
            )
        )
    return facts


def _held_out(speech: Speech, meanings: Sequence[Meaning]) -> tuple[str, ...]:
    """What of a segment training never has."""
    names = set(surnames(True))
    found = {
        "names": any(name in names for meaning in meanings for name in meaning.names),
        "template": any(meaning.template in unseen_templates() for meaning in meanings),
        "voice": speech.split != "train",
        "noise": speech.noise in HELD_OUT_KINDS,
        "room": speech.room.kind in HELD_OUT_ROOMS,
    }
    return tuple(what for what, is_new in found.items() if is_new)


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)
