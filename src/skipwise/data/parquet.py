"""Reader of parquet files with the audio inside, as `datasets` writes them to the Hub.

An utterance names its audio by a path, so the audio is written out, once, into a folder beside the parquet file.
Source: datasets, feature Audio: a struct of `bytes` and `path`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from skipwise.atomic import atomic_write
from skipwise.data.columns import Said, said
from skipwise.data.fields import audio_file, end_of_file_s
from skipwise.data.gathering import Gathering
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

SUFFIX = ".parquet"
AUDIO_FOLDER_SUFFIX = ".audio"
_AUDIO = "audio"
_BATCH_ROWS = 64
"""Rows in memory at once: a minute of audio or less each."""
_PLAIN_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}")


def read_parquet(path: Path, found: Gathering) -> None:
    """Add the utterances of a file to `found`; an id is the name of the audio, else that of the file with the row.

    Audio in bytes goes to `<name>.audio/` beside the file, where what is there already is kept.

    Raises:
        SkipwiseError: for a bad row; names file, row and column. Also if pyarrow is not installed, or the audio cannot
            be written.
    """
    for number, row in enumerate(_rows(path), start=1):
        name, audio = None, None
        with found.line(path, number, what="row"):
            facts = said(row, path, found)
            if found.wants(facts.language):
                name, audio = _audio(row[_AUDIO], path.parent)
        if isinstance(audio, bytes):  # what cannot be written is not the row's mistake
            audio = _written_out(audio, name, path, number)
        if audio is not None:
            with found.line(path, number, what="row"):
                found.add(_utterance(facts, audio, _id(name, path, number, found)))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise SkipwiseError(
            f'{path} is read by pyarrow, which is not installed. Install it: pip install "skipwise[parquet]".'
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            if _AUDIO not in file.schema_arrow.names:
                raise SkipwiseError(
                    f"{path} has no column {_AUDIO!r}; it has: {', '.join(file.schema_arrow.names)}. Call the column "
                    "with the bytes of the audio so."
                )
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SkipwiseError(f"{path} is no parquet file that can be read: {error}. Copy it again.") from error


def _audio(cell: object, folder: Path) -> tuple[str | None, bytes | str]:
    """What the audio is called, if it has a name, and its bytes, or else its path."""
    content, name = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, None)
    if isinstance(content, str):
        content, name = None, content
    if isinstance(content, bytes) and content:
        return name, content
    if name:
        return name, audio_file(name, folder, _AUDIO)
    raise SkipwiseError(
        f"the field {_AUDIO!r} must hold the bytes of an audio file, or a path, got "
        f"{'nothing' if not content else type(content).__name__}."
    )


def _id(name: str | None, path: Path, number: int, found: Gathering) -> str:
    stem = Path(name).stem if name else ""
    return stem if stem and stem not in found else f"{path.stem}.{number}"


def _utterance(facts: Said, audio: str, utterance_id: str) -> Utterance:
    return Utterance(
        id=utterance_id,
        audio=audio,
        end_s=end_of_file_s(audio, 0.0, _AUDIO),
        language=facts.language,
        speaker=facts.speaker,
        transcript=facts.transcript,
        translations=facts.translations,
    )


def _written_out(content: bytes, name: str | None, path: Path, number: int) -> str:
    ending = Path(name).suffix if name else ""
    file_name = f"{number:06d}{ending if _PLAIN_ENDING.fullmatch(ending) else ''}"
    target = path.with_suffix(AUDIO_FOLDER_SUFFIX) / file_name
    if not target.is_file() or target.read_bytes() != content:
        with atomic_write(target, "wb") as file:
            file.write(content)
    return str(target)
