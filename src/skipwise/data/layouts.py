"""Which layout data are in, and where a split of them is."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from skipwise.data.audiofolder import METADATA, read_audiofolder
from skipwise.data.beside import has_texts_beside, read_beside
from skipwise.data.europarl_st import is_europarl_st, read_europarl_st
from skipwise.data.gathering import Gathering
from skipwise.data.kaldi import WAV_SCP, read_kaldi
from skipwise.data.languages import to_iso639_3
from skipwise.data.lhotse import read_lhotse
from skipwise.data.lines import json_object, named_or_left_out, numbered_lines
from skipwise.data.manifest import Utterance, read_manifest
from skipwise.data.nemo import read_nemo
from skipwise.data.parquet import SUFFIX, read_parquet
from skipwise.data.splits import ALL_SPLIT_NAMES, SPLIT_NAMES
from skipwise.errors import SkipwiseError

_JSON_LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_LINES_TO_TELL = 20
"""So many lines at the start of a file may be bad before its layout can no longer be told."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to lay out one split of a data set, in a file or a folder."""

    name: str
    looks: str
    """How messages describe it."""
    read: Callable[[Path, Gathering], None]
    """Adds the utterances of a file or folder; names file, line and field of a bad line."""
    key: str | None = None
    """Field by which lines of JSON are known to be of it."""
    marks: tuple[str, ...] = ()
    """Files by which a folder is known to be of it."""
    is_in: Callable[[Path], bool] | None = None
    """Whether a folder is of it, where no file of a fixed name tells."""
    suffix: str | None = None
    """Ending by which a file is known to be of it."""

    def knows(self, folder: Path) -> bool:
        """Whether a folder is of this layout."""
        return any((folder / mark).is_file() for mark in self.marks) or (self.is_in is not None and self.is_in(folder))


def _has_texts_beside(folder: Path) -> bool:
    """Whether a folder is audio and texts, and no lists of splits were made of it."""
    return not _named_for(_data_files(folder), ALL_SPLIT_NAMES) and has_texts_beside(folder)


def _read_own(path: Path, found: Gathering) -> None:
    for utterance in read_manifest(path, bad_lines=found.bad_lines):
        with named_or_left_out(str(path), found.bad_lines):
            found.add(utterance)


LAYOUTS = (
    Layout(
        name="manifest",
        looks="a manifest of skipwise (JSON lines with `id`, `audio`, `language`)",
        read=_read_own,
        key="audio",
    ),
    Layout(
        name="NeMo", looks="a NeMo manifest (JSON lines with `audio_filepath`)", read=read_nemo, key="audio_filepath"
    ),
    Layout(
        name="Lhotse",
        looks="cuts of Lhotse (JSON lines with `recording` and `supervisions`)",
        read=read_lhotse,
        key="supervisions",
    ),
    Layout(name="Kaldi", looks=f"a Kaldi or ESPnet data folder (`{WAV_SCP}`)", read=read_kaldi, marks=(WAV_SCP,)),
    Layout(
        name="audio folder",
        looks=f"an audio folder of Hugging Face datasets (`{'`, `'.join(METADATA)}`)",
        read=read_audiofolder,
        marks=METADATA,
    ),
    Layout(
        name="audio and texts",
        looks="a folder of audio files with their texts beside them (`a.wav`, `a.txt`)",
        read=read_beside,
        is_in=_has_texts_beside,
    ),
    Layout(
        name="parquet", looks="parquet files with a column `audio` (FLEURS, CoVoST 2)", read=read_parquet, suffix=SUFFIX
    ),
)


def read_data(
    path: str | Path,
    split: str,
    *,
    languages: Collection[str] | None = None,
    bad_lines: list[str] | None = None,
) -> list[Utterance]:
    """Return the utterances of a split, in the order of the files; docs/data.md shows every layout.

    A file, or a folder that is one split, is read whatever `split` is: see `has_splits`. `languages` keeps only these
    source languages (two or three letters), and a single one is that of data which do not name theirs. Given
    `bad_lines`, what is wrong with a line goes there, and the line is left out.

    Raises:
        SkipwiseError: for an unknown layout (names the known ones), a split that is not there, a bad line (names file,
            line and field), or if nothing is left.
    """
    path = Path(path)
    wanted = None if languages is None else sorted({to_iso639_3(code) for code in languages})
    if is_europarl_st(path):
        return read_europarl_st(path, split, sources=wanted, bad_lines=bad_lines)
    found = Gathering(languages=wanted, bad_lines=bad_lines)
    places = _places(path, split)
    layouts = [detect_layout(place) for place in places]
    names = dict.fromkeys(layout.name for layout in layouts)
    if len(names) > 1:
        raise SkipwiseError(f"{path} has {split} data in several layouts: {', '.join(names)}. Name one of the files.")
    for place, layout in zip(places, layouts, strict=True):
        layout.read(place, found)
    if not found.utterances:
        left_out = f"; {len(bad_lines)} bad lines were left out, the first: {bad_lines[0]}" if bad_lines else ""
        raise SkipwiseError(f"{path} has no utterance{' in ' + ', '.join(wanted) if wanted else ''}{left_out}.")
    return found.utterances


def has_splits(path: str | Path) -> bool:
    """Whether a split of the data can be asked for; not of a file, nor of a folder that is one split itself.

    Raises:
        SkipwiseError: if the layout is not known, or nothing is there.
    """
    path = Path(path)
    if is_europarl_st(path) or _names_splits(path):
        return True
    for place in _places(path, "train"):
        detect_layout(place)
    return False


def detect_layout(path: Path) -> Layout:
    """Return the layout of a file or folder that is one split.

    Raises:
        SkipwiseError: if it is none of the known ones, which are named.
    """
    if not path.exists():
        raise SkipwiseError(f"there is no data at {path}. Check the path.")
    if path.is_dir():
        chosen = [layout for layout in LAYOUTS if layout.knows(path)]
        what = "a folder with none of these in it"
    elif path.name.endswith(_JSON_LINES):
        keys = _first_keys(path)
        chosen = [layout for layout in LAYOUTS if layout.key in keys]
        what = f"lines with the fields {', '.join(sorted(keys))}" if keys else "no line that is a JSON object"
    else:
        chosen = [layout for layout in LAYOUTS if layout.suffix is not None and path.name.endswith(layout.suffix)]
        what = f"a file that ends in {path.suffix!r}"
    if not chosen:
        raise _unknown(path, what)
    return chosen[0]


def _unknown(path: Path, what: str) -> SkipwiseError:
    allowed = "; ".join(["a folder in the layout of Europarl-ST v1.1", *(layout.looks for layout in LAYOUTS)])
    return SkipwiseError(
        f"the layout of {path} is not known: got {what}. Allowed are: {allowed}; or a folder with one of these for "
        "each split, in sub-folders or files named train, dev and test. See docs/data.md."
    )


def _first_keys(path: Path) -> set[str]:
    keys: set[str] = set()
    for _, line in islice(numbered_lines(path), _LINES_TO_TELL):
        with suppress(SkipwiseError):
            keys |= json_object(line).keys()
    return keys


def _places(path: Path, split: str) -> list[Path]:
    """The files or the folder that hold a split; all there is, where splits cannot be told apart."""
    if not path.is_dir() or _is_marked(path):
        return [path]
    names = SPLIT_NAMES.get(split, (split,))
    for name in names:
        if (path / name).is_dir():
            return _places(path / name, split)
    files = _data_files(path)
    named = _named_for(files, names)
    if named:
        return named
    if _names_splits(path):
        raise SkipwiseError(f"{path} has no split {split!r}; in it are: {_contents(path)}.")
    certain = [file for file in files if not file.name.endswith((".json", ".json.gz"))]  # not dataset_info.json
    if not certain:
        raise _unknown(path, f"a folder with {_contents(path)}")
    return certain


def _names_splits(path: Path) -> bool:
    if not path.is_dir() or _is_marked(path):
        return False
    return any((path / name).is_dir() for name in ALL_SPLIT_NAMES) or bool(
        _named_for(_data_files(path), ALL_SPLIT_NAMES)
    )


def _is_marked(folder: Path) -> bool:
    return any(layout.knows(folder) for layout in LAYOUTS)


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(_endings()))


def _named_for(files: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The files called after a split: `dev.jsonl`, else any with the word in its name (`cuts_dev.jsonl.gz`)."""
    exact = [file for file in files if _stem(file) in names]
    word = re.compile(rf"(?<![a-z0-9])({'|'.join(map(re.escape, names))})(?![a-z0-9])", re.IGNORECASE)
    return exact or [file for file in files if word.search(_stem(file))]


def _stem(file: Path) -> str:
    return next((file.name.removesuffix(ending) for ending in _endings() if file.name.endswith(ending)), file.name)


def _endings() -> tuple[str, ...]:
    return (*_JSON_LINES, *(layout.suffix for layout in LAYOUTS if layout.suffix is not None))


def _contents(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "nothing"
