"""Reader of the plainest folders: audio files, each with its text in a file of the same name beside it.

recordings/anna/0001.wav      recordings/anna/0001.txt      recordings/anna/0001.en.txt
"""

from __future__ import annotations

from pathlib import Path

from skipwise.data.fields import end_of_file_s
from skipwise.data.gathering import Gathering
from skipwise.data.languages import to_iso639_3
from skipwise.data.lines import decoded, named_or_left_out
from skipwise.data.manifest import Utterance
from skipwise.data.splits import ALL_SPLIT_NAMES
from skipwise.errors import SkipwiseError

AUDIO = frozenset({".wav", ".flac", ".mp3", ".m4a", ".mp4", ".ogg", ".opus", ".webm", ".aac", ".aiff"})
TEXT = ".txt"


def has_texts_beside(folder: Path) -> bool:
    """Whether some audio in a folder, or in a folder of it, has its text beside it; not if these are named as splits.

    Folders below are speakers.
    """
    if any((folder / name).is_dir() for name in ALL_SPLIT_NAMES):
        return False
    return any(_text_of(audio).is_file() for place in _places(folder) for audio in _audio_in(place))


def read_beside(folder: Path, found: Gathering) -> None:
    """Add the utterances of a folder to `found`; an id is the name of the file below it, without its ending.

    Raises:
        SkipwiseError: for audio without a text, or with one that cannot be read; names the file.
    """
    for place in _places(folder):
        translations = _translations_in(place)
        for audio in _audio_in(place):
            with named_or_left_out(str(audio), found.bad_lines):
                found.add(_utterance(audio, folder, translations.get(audio.stem, {}), found))


def _utterance(audio: Path, folder: Path, translations: dict[str, Path], found: Gathering) -> Utterance:
    if found.only_language is None:
        raise SkipwiseError(
            "nothing says the language of the speech in folders of audio and texts. Name it: --language de, or "
            "data.languages in a training recipe; a metadata.csv can name one a file (docs/data.md)."
        )
    text = _text_of(audio)
    if not text.is_file():
        raise SkipwiseError(f"there is no text {text.name} beside it. Write one, or take the audio out.")
    return Utterance(
        id=str(audio.relative_to(folder).with_suffix("")),
        audio=str(audio),
        end_s=end_of_file_s(str(audio), 0.0, "audio"),
        language=found.only_language,
        speaker=None if audio.parent == folder else audio.parent.name,
        transcript=_read(text),
        translations={language: _read(path) for language, path in translations.items()},
    )


def _places(folder: Path) -> list[Path]:
    return [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")]


def _audio_in(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.suffix.lower() in AUDIO and path.is_file())


def _translations_in(place: Path) -> dict[str, dict[str, Path]]:
    """For each audio file's name without its ending: target language -> the file of its translation."""
    audio = {path.stem for path in _audio_in(place)}
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(place.glob(f"*.*{TEXT}")):
        stem, _, code = path.name.removesuffix(TEXT).rpartition(".")
        if stem in audio and path.name.removesuffix(TEXT) not in audio:
            with named_or_left_out(str(path), None):
                found.setdefault(stem, {})[to_iso639_3(code)] = path
    return found


def _text_of(audio: Path) -> Path:
    return audio.with_suffix(TEXT)


def _read(path: Path) -> str:
    """The text of a file, on one line."""
    text = " ".join(decoded(path.read_bytes()).split())
    if not text:
        raise SkipwiseError(f"{path.name} is empty. Fill it, or take it and the audio out.")
    return text
