"""Reader of Hugging Face audio folders: audio files beside a `metadata.csv` or `metadata.jsonl` that names them.

Source: datasets, "Create an audio dataset", AudioFolder.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skipwise.data.columns import said
from skipwise.data.fields import Fields, audio_file, end_of_file_s
from skipwise.data.gathering import Gathering
from skipwise.data.lines import json_object, numbered_lines
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

METADATA = ("metadata.csv", "metadata.jsonl")
_FILE_NAME = "file_name"


def read_audiofolder(folder: Path, found: Gathering) -> None:
    """Add the utterances of an audio folder to `found`; an id is the name of the file, without its ending.

    Raises:
        SkipwiseError: for a bad line; names file, line and column.
    """
    path = next(folder / name for name in METADATA if (folder / name).is_file())
    if path.suffix == ".csv":
        for number, row in _csv_rows(path):
            with found.line(path, number):
                found.add(_utterance(_unbroken(row), folder, found))
        return
    for number, line in numbered_lines(path):
        with found.line(path, number):
            found.add(_utterance(json_object(line), folder, found))


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[Any, Any]]]:
    """Each row, and the number of the line that it ends in: a quoted text may go over several."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.DictReader(file)
            for row in rows:
                yield rows.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise SkipwiseError(f"{path} is not a CSV file in UTF-8 ({error}). Export it again.") from error


def _unbroken(row: dict[Any, Any]) -> dict[str, str]:
    if None in row or None in row.values():  # DictReader's keys and values for cells too many and too few
        raise SkipwiseError(
            f"must have a cell for each of the {len([name for name in row if name is not None])} columns, got "
            f"{'more' if None in row else 'fewer'}. Quote texts with commas in them."
        )
    return row


def _utterance(row: dict[str, Any], folder: Path, found: Gathering) -> Utterance:
    name = Fields(row).needed_text(_FILE_NAME)
    audio = audio_file(name, folder, _FILE_NAME)
    facts = said(row, folder / name, found)
    return Utterance(
        id=str(Path(name).with_suffix("")),
        audio=audio,
        end_s=end_of_file_s(audio, 0.0, _FILE_NAME),
        language=facts.language,
        speaker=facts.speaker,
        transcript=facts.transcript,
        translations=facts.translations,
    )
