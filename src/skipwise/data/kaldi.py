"""Reader of Kaldi and ESPnet data folders: `wav.scp`, and what else there is of `segments`, `text` and the like.

In ESPnet's OWSM folders `text` begins with language and task (`<deu><st_eng>`) and may hold timestamps, `text.ctc` is
what is said in the language of the speech, and `<na>` stands for a text that is not known.
Source: Kaldi, "Data preparation"; ESPnet 202511, egs2/owsm_v1/s2t1/local/utils.py.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from skipwise.data.fields import audio_file, end_of_file_s
from skipwise.data.gathering import Gathering
from skipwise.data.lines import decoded, named_or_left_out, numbered_lines
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

WAV_SCP = "wav.scp"
_OF_UTTERANCES = ("text", "text.ctc", "text.prev", "utt2spk", "utt2lang")
_UNKNOWN_TEXT = "<na>"
_PROMPT = re.compile(r"<([^<>\s]+)><(asr|st_[^<>\s]+)>")
_TIMES = re.compile(r"<(?:notimestamps|\d+\.\d\d)>")
_ARCHIVE_PLACE = re.compile(r"\.ark:\d+$")
_TO_THE_END = -1.0


@dataclass(frozen=True)
class _Value:
    """What a file says of a key, and where."""

    path: Path
    line: int
    text: str

    def named(self) -> AbstractContextManager[None]:
        """Within it, an error is that of this line, whatever else is being read."""
        return named_or_left_out(f"{self.path}, line {self.line}", None)


_Table = Mapping[str, _Value]


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """One utterance's audio."""

    utterance_id: str
    value: _Value
    """Its line in `segments`, or without them in `wav.scp`."""
    audio: str
    start_s: float
    end_s: float | None


def read_kaldi(folder: Path, found: Gathering) -> None:
    """Add the utterances of a data folder to `found`.

    A recording with a bad line takes its segments along. Lines of `text` for two tasks on one stretch of audio are one
    utterance. `text.prev` is checked but not kept: training takes previous text from the same recording itself.

    Raises:
        SkipwiseError: for a bad line, such as a piped command or an archive in `wav.scp`; names file, line and field.
    """
    recordings = _table(folder / WAV_SCP, found)
    segments = _table(folder / "segments", found) if (folder / "segments").is_file() else None
    tables = {name: _table(folder / name, found) for name in _OF_UTTERANCES if (folder / name).is_file()}
    for table in tables.values():
        _check_known(table, recordings if segments is None else segments, found)
    for stretch in _stretches(folder, recordings, segments, found):
        with found.line(stretch.value.path, stretch.value.line):
            found.merge(_utterance(stretch, _told(stretch.utterance_id, tables, folder), found))


def _table(path: Path, found: Gathering) -> dict[str, _Value]:
    table: dict[str, _Value] = {}
    for number, raw in numbered_lines(path):
        with found.line(path, number):
            key, *rest = decoded(raw).split(maxsplit=1)
            if not rest:
                raise SkipwiseError(f"must be `<id> <{path.name}>`, got {key!r} and nothing behind it.")
            if key in table:
                raise SkipwiseError(f"the id {key!r} is there twice. Ids must be unique.")
            table[key] = _Value(path, number, rest[0])
    return table


def _check_known(table: _Table, utterances: Collection[str], found: Gathering) -> None:
    for key, value in table.items():
        if key not in utterances:
            with found.line(value.path, value.line):
                raise SkipwiseError(f"the utterance {key!r} has no audio: it is in neither segments nor {WAV_SCP}.")


def _stretches(folder: Path, recordings: _Table, segments: _Table | None, found: Gathering) -> Iterator[_Stretch]:
    files = _audio_files(folder, recordings, found)
    if segments is None:
        for key, audio in files.items():
            value = recordings[key]
            with found.line(value.path, value.line):
                end_s = end_of_file_s(audio, 0.0, WAV_SCP)
                yield _Stretch(utterance_id=key, value=value, audio=audio, start_s=0.0, end_s=end_s)
        return
    for key, value in segments.items():
        with found.line(value.path, value.line):
            recording, start_s, end_s = _segment(value.text)
            if recording not in recordings:
                raise SkipwiseError(f"the recording {recording!r} is not in {WAV_SCP}.")
            if recording not in files:
                continue
            audio = files[recording]
            if end_s == _TO_THE_END:
                end_s = end_of_file_s(audio, start_s, "segments")
            yield _Stretch(utterance_id=key, value=value, audio=audio, start_s=start_s, end_s=end_s)


def _audio_files(folder: Path, recordings: _Table, found: Gathering) -> dict[str, str]:
    """The file of every recording whose line is right."""
    files = {}
    for key, value in recordings.items():
        with found.line(value.path, value.line):
            if value.text.endswith("|"):
                raise SkipwiseError(
                    f"the field {WAV_SCP!r} must be the path of an audio file, got a command, {value.text!r}: no shell "
                    "is run. Write its output to a file and name that (ESPnet: scripts/audio/format_wav_scp.sh)."
                )
            if _ARCHIVE_PLACE.search(value.text):
                raise SkipwiseError(
                    f"the field {WAV_SCP!r} must be the path of an audio file, got a place in an archive, "
                    f"{value.text!r}. Write its audio to files and name these."
                )
            files[key] = audio_file(value.text, folder, WAV_SCP)
    return files


def _segment(text: str) -> tuple[str, float, float]:
    parts = text.split()
    try:
        recording, start_s, end_s = parts[0], float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        raise SkipwiseError(f"must be `<id> <recording> <start> <end>`, got {text!r} behind the id.") from None
    if len(parts) != 3 or start_s < 0 or not (end_s > start_s or end_s == _TO_THE_END):
        raise SkipwiseError(
            f"must be `<id> <recording> <start> <end>` with 0 <= start < end, or -1 for the end of the recording; "
            f"got {text!r} behind the id."
        )
    return recording, start_s, end_s


def _told(utterance_id: str, tables: Mapping[str, _Table], folder: Path) -> dict[str, _Value]:
    """What each file says of an utterance, where it is known."""
    told = {name: table[utterance_id] for name, table in tables.items() if utterance_id in table}
    missing = [name for name in tables if name not in told and name != "text.prev"]
    if missing:
        raise SkipwiseError(f"the utterance {utterance_id!r} has no line in {folder / missing[0]}.")
    return {name: value for name, value in told.items() if value.text != _UNKNOWN_TEXT}


def _utterance(stretch: _Stretch, told: Mapping[str, _Value], found: Gathering) -> Utterance:
    language, target, text = _text(told, found)
    spoken = " ".join(told["text.ctc"].text.split()) if "text.ctc" in told else None
    return Utterance(
        id=stretch.utterance_id,
        audio=stretch.audio,
        start_s=stretch.start_s,
        end_s=stretch.end_s,
        language=language,
        speaker=told["utt2spk"].text if "utt2spk" in told else None,
        transcript=(text or spoken) if target is None else spoken,
        translations={} if target is None or text is None else {target: text},
    )


def _text(told: Mapping[str, _Value], found: Gathering) -> tuple[str, str | None, str | None]:
    """The language of the speech, that of a translation, and what `text` says."""
    text = told.get("text")
    prompt = _PROMPT.match(text.text) if text is not None else None
    if text is None or prompt is None:
        return _named_language(told.get("utt2lang"), found), None, None if text is None else text.text
    with text.named():
        language = found.language(prompt[1], "text")
        target = None if prompt[2] == "asr" else found.language(prompt[2].removeprefix("st_"), "text")
        plain = " ".join(_TIMES.sub(" ", text.text[prompt.end() :]).split())
        if not plain:
            raise SkipwiseError(f"the field 'text' says nothing but {text.text!r}. Fill it, or take the utterance out.")
    return language, target, plain


def _named_language(value: _Value | None, found: Gathering) -> str:
    if value is None:
        return found.language(None, "utt2lang")
    with value.named():
        return found.language(value.text, "utt2lang")
