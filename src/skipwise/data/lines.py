"""Lines of data files, read one by one, so that a bad one can be named by file and line, or left out."""

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skipwise.errors import SkipwiseError


class BadLineError(SkipwiseError):
    """A mistake in one line of a file, which the message names."""


@contextmanager
def named_or_left_out(where: str, bad_lines: list[str] | None) -> Iterator[None]:
    """Put `where` before an error of the block, unless it names its place; given a list, put that there and go on."""
    try:
        yield
    except SkipwiseError as error:
        message = str(error) if isinstance(error, BadLineError) else f"{where}: {error}"
        if bad_lines is None:
            raise BadLineError(message) from None
        bad_lines.append(message)


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and bytes of every line that is not blank; a file named .gz is unpacked on the way.

    Raises:
        SkipwiseError: if the file is not there, or its packing is damaged.
    """
    if not path.is_file():
        raise SkipwiseError(f"there is no file {path}. Check the path.")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SkipwiseError(f"{path} is not a whole gzip file ({error}). Copy it again.") from error


def decoded(line: bytes) -> str:
    """Return the text of a line, without the blanks around it; SkipwiseError if it is not UTF-8."""
    try:
        return line.decode("utf-8").removeprefix("\ufeff").strip()
    except UnicodeDecodeError as error:
        raise SkipwiseError(f"must be UTF-8, got {line[error.start : error.end]!r}. Convert the file.") from None


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds; SkipwiseError if it holds something else."""
    try:
        row = json.loads(decoded(line))
    except json.JSONDecodeError as error:
        raise SkipwiseError(f"not JSON ({error}). Each line must be one JSON object.") from None
    if not isinstance(row, dict):
        raise SkipwiseError(f"must be a JSON object, got {type(row).__name__}.")
    return row
