from pathlib import Path
from typing import Any

import pytest

from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_audio(tmp_path / "clips" / "a.wav", 2.0)
    write_audio(tmp_path / "clips" / "b.flac", 1.5)
    return tmp_path


def _row(**changes: Any) -> dict[str, Any]:
    row = {"audio_filepath": "clips/a.wav", "duration": 2.0, "text": "Guten Tag.", "lang": "de"} | changes
    return {name: value for name, value in row.items() if value is not None}


def test_a_line_is_an_utterance(folder):
    path = write_lines(
        folder / "manifest.json",
        _row(speaker="anna", pred_text="what a model said"),
        _row(audio_filepath=str(folder / "clips" / "b.flac"), duration=None, text="Ja.", speaker=7),
    )
    assert read_data(path, "test") == [
        Utterance(
            id="clips/a",
            audio=str(folder / "clips/a.wav"),
            end_s=2.0,
            language="deu",
            speaker="anna",
            transcript="Guten Tag.",
        ),
        Utterance(
            id=str(folder / "clips" / "b"),
            audio=str(folder / "clips/b.flac"),
            end_s=1.5,  # by the file's header
            language="deu",
            speaker="7",
            transcript="Ja.",
        ),
    ]


def test_an_offset_is_where_it_starts(folder):
    path = write_lines(folder / "manifest.json", _row(offset=0.25, duration=0.5), _row(offset=1.0, duration=None))
    first, second = read_data(path, "test")
    assert (first.id, first.start_s, first.end_s) == ("clips/a_000000250_000000750", 0.25, 0.75)
    assert (second.start_s, second.end_s) == (1.0, 2.0)


def test_canarys_tasks_are_one_utterance(folder):
    path = write_lines(
        folder / "manifest.json",
        _row(lang=None, source_lang="de", target_lang="en", taskname="ast", text="Good day.", pnc="yes"),
        _row(lang=None, source_lang="de", target_lang="de", taskname="asr"),
        _row(lang=None, source_lang="de-DE", target_lang="fr", text="Bonjour."),
    )
    [utterance] = read_data(path, "test")
    assert utterance.transcript == "Guten Tag."
    assert utterance.translations == {"eng": "Good day.", "fra": "Bonjour."}


def test_the_language_may_be_that_asked_for(folder):
    path = write_lines(folder / "manifest.json", _row(lang=None))
    assert read_data(path, "test", languages=["it"])[0].language == "ita"
    for languages in (None, ["de", "it"]):
        with pytest.raises(SkipwiseError, match=r"line 1: the language .* is not named\. Add the field 'lang'"):
            read_data(path, "test", languages=languages)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "the field 'text' is missing; there are: audio_filepath, duration, lang"),
        ({"text": " "}, "the field 'text' is empty"),
        ({"text": 3}, "the field 'text' must be a text, got 3"),
        ({"audio_filepath": "c.wav"}, "the field 'audio_filepath' must name an audio file, got 'c.wav'"),
        ({"audio_filepath": "manifest.json", "duration": None}, "the field 'audio_filepath': .* is not audio"),
        ({"offset": "1"}, "the field 'offset' must be a number of seconds, got '1'"),
        ({"offset": -1.0}, "the field 'offset' must be 0 or more seconds, got -1.0"),
        ({"offset": 5.0, "duration": None}, "the field 'audio_filepath': .* ends at 2.000 s, got a start at 5.0 s"),
        ({"duration": 0}, "the field 'duration' must be above 0 seconds, got 0"),
        ({"lang": "qq"}, "the field 'lang': unknown language 'qq'"),
        ({"target_lang": "qq"}, "the field 'target_lang': unknown language 'qq'"),
        ({"target_lang": "de", "taskname": "ast"}, "the field 'target_lang' must be another language"),
        ({"text": "Nein."}, "the same stretch of .*a.wav has another transcript here, 'Nein.', than before"),
        ({"duration": 1.0}, "the id 'clips/a' is there twice"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field_or_left_out(folder, changes, message):
    path = write_lines(folder / "manifest.json", _row(), _row(**changes))
    with pytest.raises(SkipwiseError, match=rf"manifest\.json, line 2: {message}"):
        read_data(path, "test")
    bad_lines: list[str] = []
    [utterance] = read_data(path, "test", bad_lines=bad_lines)
    assert utterance.transcript == "Guten Tag." and len(bad_lines) == 1
