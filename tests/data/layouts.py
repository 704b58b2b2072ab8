"""The same utterances written in every layout that is read."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skipwise.data.manifest import Utterance, write_manifest
from tests.data.spoken import write_lines


def _write_own(folder: Path, utterances: Sequence[Utterance]) -> None:
    folder.mkdir(parents=True)
    write_manifest(folder / "data.jsonl", utterances)


def _write_kaldi(folder: Path, utterances: Sequence[Utterance]) -> None:
    """As ESPnet's OWSM recipes: a line of `text` for each task."""
    rows = {"wav.scp": [], "segments": [], "text": [], "text.ctc": [], "text.prev": [], "utt2spk": []}
    for utterance in utterances:
        rows["wav.scp"].append(f"{utterance.id} {utterance.audio}")
        for task, text in {"asr": utterance.transcript, "st_eng": utterance.translations["eng"]}.items():
            name = f"{utterance.id}_{utterance.language}_{task}"
            rows["segments"].append(f"{name} {utterance.id} {utterance.start_s:.2f} {utterance.end_s:.2f}")
            rows["text"].append(f"{name} <{utterance.language}><{task}><0.00> {text}<{utterance.end_s:.2f}>")
            rows["text.ctc"].append(f"{name} {utterance.transcript}")
            rows["text.prev"].append(f"{name} <na>")
            rows["utt2spk"].append(f"{name} {utterance.speaker}")
    for name, lines in rows.items():
        write_lines(folder / name, *lines)


def _write_nemo(folder: Path, utterances: Sequence[Utterance]) -> None:
    """As for Canary: a line for each task."""
    rows: list[dict[str, Any]] = []
    for utterance in utterances:
        row = {"audio_filepath": utterance.audio, "duration": utterance.end_s, "source_lang": utterance.language}
        rows.append(
            row | {"target_lang": utterance.language, "text": utterance.transcript, "speaker": utterance.speaker}
        )
        rows.append(row | {"target_lang": "en", "taskname": "ast", "text": utterance.translations["eng"]})
    write_lines(folder / "data.jsonl", *rows)


def _write_audiofolder(folder: Path, utterances: Sequence[Utterance]) -> None:
    folder.mkdir(parents=True)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "transcription", "translation", "language", "speaker_id"])
        for utterance in utterances:
            texts = [utterance.transcript, utterance.translations["eng"]]
            table.writerow([utterance.audio, *texts, utterance.language, utterance.speaker])


def _write_parquet(folder: Path, utterances: Sequence[Utterance]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir(parents=True)
    rows = [
        {
            "audio": {"bytes": Path(utterance.audio).read_bytes(), "path": Path(utterance.audio).name},
            "sentence": utterance.transcript,
            "translation": utterance.translations["eng"],
            "locale": utterance.language,
            "client_id": utterance.speaker,
        }
        for utterance in utterances
    ]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "0000.parquet")


def _write_lhotse(folder: Path, utterances: Sequence[Utterance]) -> None:
    folder.mkdir(parents=True)
    with gzip.open(folder / "cuts.jsonl.gz", "wt", encoding="utf-8") as file:
        for utterance in utterances:
            supervision = {
                "id": utterance.id,
                "start": 0.0,
                "duration": utterance.duration_s,
                "text": utterance.transcript,
                "language": utterance.language,
                "speaker": utterance.speaker,
                "custom": {"translated_text": dict(utterance.translations)},
            }
            cut = {
                "id": f"cut-{utterance.id}",
                "start": utterance.start_s,
                "duration": utterance.duration_s,
                "supervisions": [supervision],
                "recording": {"sources": [{"type": "file", "channels": [0], "source": utterance.audio}]},
                "type": "MonoCut",
            }
            file.write(json.dumps(cut, ensure_ascii=False) + "\n")


WRITERS: Mapping[str, Callable[[Path, Sequence[Utterance]], None]] = {
    "manifest": _write_own,
    "Kaldi": _write_kaldi,
    "NeMo": _write_nemo,
    "audio folder": _write_audiofolder,
    "parquet": _write_parquet,
    "Lhotse": _write_lhotse,
}
"""By the names of `skipwise.data.layouts`. Write one split of utterances that begin with their file and have a
transcript and a translation into English."""
