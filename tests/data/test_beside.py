"""Folders of audio with texts beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipwise.data.layouts import has_splits, read_data
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("anna/1", "Guten Tag."), ("anna/2", "Wir\ndanken."), ("bert/1", "Ja.")):
        write_audio(tmp_path / f"{name}.wav", 2.0)
        write_lines(tmp_path / f"{name}.txt", text)
    write_lines(tmp_path / "anna" / "1.en.txt", "Good day.")
    write_lines(tmp_path / "readme.txt", "not beside any audio")
    return tmp_path


def test_texts_are_those_of_the_same_name_and_folders_are_speakers(folder: Path) -> None:
    found = {u.id: u for u in read_data(folder, "train", languages=["de"])}
    assert {name: (u.speaker, u.transcript, u.end_s) for name, u in found.items()} == {
        "anna/1": ("anna", "Guten Tag.", 2.0),
        "anna/2": ("anna", "Wir danken.", 2.0),
        "bert/1": ("bert", "Ja.", 2.0),
    }
    assert found["anna/1"].translations == {"eng": "Good day."} and not found["bert/1"].translations
    assert {u.language for u in found.values()} == {"deu"}


def test_audio_in_the_folder_itself_has_no_speaker(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.b.flac")
    write_lines(tmp_path / "a.b.txt", "Ja.")
    (only,) = read_data(tmp_path, "train", languages=["de"])
    assert (only.id, only.speaker, only.transcript) == ("a.b", None, "Ja.")


def test_folders_named_as_splits_are_splits_and_not_speakers(folder: Path, tmp_path: Path) -> None:
    assert not has_splits(folder)
    (folder / "anna").rename(folder / "train")
    (folder / "bert").rename(folder / "dev")
    assert has_splits(folder)
    assert [u.transcript for u in read_data(folder, "dev", languages=["de"])] == ["Ja."]


def test_lists_of_splits_beside_the_audio_count(folder: Path) -> None:
    row = {"id": "x", "audio": "bert/1.wav", "language": "fr", "transcript": "Oui."}
    write_lines(folder / "train.jsonl", row)
    assert has_splits(folder)
    assert [u.id for u in read_data(folder, "train")] == ["x"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "bert" / "1.txt").unlink(), r"bert/1.wav: there is no text 1.txt beside it"),
        (lambda folder: (folder / "bert" / "1.txt").write_text(" \n"), r"bert/1.wav: 1.txt is empty. Fill it"),
        (
            lambda folder: (folder / "bert" / "1.txt").write_bytes(b"\xff"),
            r"bert/1.wav: must be UTF-8, got b'\\xff'",
        ),
        (lambda folder: (folder / "anna" / "1.wav").write_bytes(b"noise"), r"anna/1.wav: the field 'audio': "),
    ],
    ids=["no text", "empty", "not UTF-8", "no audio"],
)
def test_what_is_wrong_names_the_file_or_is_left_out(folder: Path, spoil, message: str) -> None:
    spoil(folder)
    with pytest.raises(SkipwiseError, match=message):
        read_data(folder, "train", languages=["de"])
    bad_lines: list[str] = []
    assert len(read_data(folder, "train", languages=["de"], bad_lines=bad_lines)) == 2
    assert len(bad_lines) == 1


def test_a_translation_into_an_unknown_language_names_its_file(folder: Path) -> None:
    write_lines(folder / "anna" / "1.xx.txt", "?")
    with pytest.raises(SkipwiseError, match=r"anna/1.xx.txt: unknown language 'xx'"):
        read_data(folder, "train", languages=["de"])


@pytest.mark.parametrize("languages", [None, ["de", "fr"]])
def test_a_language_must_be_named(folder: Path, languages: list[str] | None) -> None:
    with pytest.raises(SkipwiseError, match=r"nothing says the language of the speech .* Name it: --language de"):
        read_data(folder, "train", languages=languages)
