from pathlib import Path

import pytest

from skipwise.data.layouts import has_splits, read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", 2.0)
    write_audio(tmp_path / "more" / "b.flac", 1.5)
    return tmp_path


def test_a_csv_names_files_and_texts(folder):
    write_lines(
        folder / "metadata.csv",
        "file_name,transcription,language,speaker_id,translation,notes",
        'a.wav,"Guten Tag, Herr Präsident.",de,7,Good day.,x',
        'more/b.flac,"Ja\nwohl.",deu,anna,,',
    )
    assert read_data(folder, "test") == [
        Utterance(
            id="a",
            audio=str(folder / "a.wav"),
            end_s=2.0,
            language="deu",
            speaker="7",
            transcript="Guten Tag, Herr Präsident.",
            translations={"eng": "Good day."},
        ),
        Utterance(
            id="more/b",
            audio=str(folder / "more/b.flac"),
            end_s=1.5,
            language="deu",
            speaker="anna",
            transcript="Ja\nwohl.",
        ),
    ]


def test_lines_of_json_do_the_same(folder):
    write_lines(
        folder / "metadata.jsonl",
        {"file_name": "a.wav", "text": "Guten Tag.", "locale": "de-AT", "speaker": 7, "translation_fr": "Bonjour."},
        {"file_name": "more/b.flac", "lang": "de", "translation": {"de": "Ja.", "en": "Yes."}},
    )
    first, second = read_data(folder, "test")
    assert (first.id, first.end_s, first.language, first.speaker) == ("a", 2.0, "deu", "7")
    assert (first.transcript, first.translations) == ("Guten Tag.", {"fra": "Bonjour."})
    assert (second.transcript, second.translations) == (None, {"eng": "Yes."})


def test_sub_folders_are_splits(folder):
    for split in ("train", "validation"):
        write_audio(folder / split / f"{split}.wav")
        write_lines(folder / split / "metadata.csv", "file_name,text", f"{split}.wav,Ja.")
    assert has_splits(folder)
    assert [u.id for u in read_data(folder, "dev", languages=["de"])] == ["validation"]


def test_the_case_and_punctuation_of_fleurs_are_kept(folder):
    write_lines(
        folder / "metadata.jsonl",
        {"file_name": "a.wav", "transcription": "guten tag", "raw_transcription": "Guten Tag.", "lang": "de"},
    )
    assert read_data(folder, "test")[0].transcript == "Guten Tag."


@pytest.mark.parametrize(
    ("name", "language", "translations"),
    [("de_en", "deu", {"eng": "Text."}), ("en_zh-CN", "eng", {"zho": "Text."}), ("fr_fr", "fra", None)],
)
def test_a_folder_called_as_a_configuration_tells_the_languages(tmp_path, name, language, translations):
    write_audio(tmp_path / name / "train" / "a.wav")
    text = "sentence,translation" if translations else "sentence,notes"
    write_lines(tmp_path / name / "train" / "metadata.csv", f"file_name,{text}", "a.wav,Satz.,Text.")
    [utterance] = read_data(tmp_path / name, "train")
    assert (utterance.language, utterance.translations) == (language, translations or {})
    with pytest.raises(SkipwiseError, match="has no utterance in ita"):
        read_data(tmp_path / name, "train", languages=["it"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b.wav,Ja.,de,", "the field 'file_name' must name an audio file, got 'b.wav'"),
        (",Ja.,de,", "the field 'file_name' is empty"),
        ("metadata.csv,Ja.,de,", "the field 'file_name': .* is not audio"),
        ("more/b.flac,Ja.,qq,", "the field 'language': unknown language 'qq'"),
        ("more/b.flac,Ja.,,", r"the language of the speech is not named\. Add the field 'language'"),
        ("more/b.flac,,de,", "none of the fields raw_transcription, .* says anything; there are: file_name, language"),
        ("more/b.flac,Yes.,en,Yes.", "the field 'translation' does not say into which language, and 'eng' is that"),
        ("more/b.flac,Ja.", "must have a cell for each of the 4 columns, got fewer"),
        ("more/b.flac,Ja, ja.,de,", "must have a cell for each of the 4 columns, got more"),
        ("a.wav,Nein.,de,", "the id 'a' is there twice"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field_or_left_out(folder, row, message):
    write_lines(folder / "metadata.csv", "file_name,text,language,translation", "a.wav,Ja.,de,Yes.", row)
    with pytest.raises(SkipwiseError, match=rf"metadata\.csv, line 3: {message}"):
        read_data(folder, "test")
    bad_lines: list[str] = []
    assert [u.id for u in read_data(folder, "test", bad_lines=bad_lines)] == ["a"]
    assert len(bad_lines) == 1


def test_a_bad_line_of_json_is_named(folder):
    write_lines(folder / "metadata.jsonl", {"file_name": "a.wav", "text": 3, "lang": "de"})
    with pytest.raises(SkipwiseError, match=r"metadata\.jsonl, line 1: the field 'text' must be a text, got 3"):
        read_data(folder, "test")


def test_a_csv_that_is_not_utf8_is_refused(folder):
    (folder / "metadata.csv").write_bytes(b"file_name,text,lang\na.wav,\xe4h,de\n")
    with pytest.raises(SkipwiseError, match=r"metadata\.csv is not a CSV file in UTF-8"):
        read_data(folder, "test")
