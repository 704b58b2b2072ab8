import io
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from skipwise.audio import load_audio
from skipwise.data.layouts import has_splits, read_data
from skipwise.errors import SkipwiseError
from tests.data.spoken import RATE, write_audio
from tests.tiny import tone


def _bytes(duration_s: float = 1.0, ending: str = "wav") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(duration_s, seed=0), RATE, format=ending.upper())
    return file.getvalue()


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def _fleurs(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": 1,  # of the sentence, which several speakers read
        "path": f"/elsewhere/{number}.wav",
        "audio": {"bytes": _bytes(1.0 + number), "path": f"{number}.wav"},
        "transcription": "guten tag",
        "raw_transcription": "Guten Tag.",
        "gender": 0,
        "lang_id": 20,
        "language": "German",
        "lang_group_id": 0,
    } | changes


def _covost(**changes: Any) -> dict[str, Any]:
    return {
        "client_id": "anna",
        "audio": {"bytes": _bytes(1.5, "mp3"), "path": "common_voice_de_1.mp3"},
        "sentence": "Guten Tag.",
        "translation": "Good day.",
        "id": "common_voice_de_1",
    } | changes


def test_fleurs_is_read_from_its_columns(tmp_path):
    _write(tmp_path / "de_de" / "train" / "0000.parquet", _fleurs(1))
    _write(tmp_path / "de_de" / "validation" / "0000.parquet", _fleurs(2), _fleurs(3))
    assert has_splits(tmp_path / "de_de")
    first, second = read_data(tmp_path / "de_de", "dev")
    assert (first.id, first.language, first.transcript) == ("2", "deu", "Guten Tag.")
    assert (first.end_s, second.end_s, first.speaker, first.translations) == (3.0, 4.0, None, {})
    assert [u.id for u in read_data(tmp_path / "de_de", "train", languages=["de"])] == ["1"]


def test_covost_is_read_from_its_columns(tmp_path):
    path = _write(tmp_path / "test-00000-of-00001.parquet", _covost())
    [utterance] = read_data(tmp_path, "test", languages=["de"])
    assert (utterance.id, utterance.language, utterance.speaker) == ("common_voice_de_1", "deu", "anna")
    assert (utterance.transcript, utterance.translations) == ("Guten Tag.", {"eng": "Good day."})
    assert utterance.audio == str(tmp_path / "test-00000-of-00001.audio" / "000001.mp3")
    assert utterance.end_s == pytest.approx(1.5, abs=0.1)  # mp3 pads
    with pytest.raises(SkipwiseError, match=r"row 1: the language of the speech is not named"):
        read_data(path, "test")


def test_the_audio_written_out_is_the_audio_inside_and_is_written_once(tmp_path):
    row = _fleurs(1)
    path = _write(tmp_path / "data.parquet", row)
    [utterance] = read_data(path, "test", languages=["de"])
    assert Path(utterance.audio).read_bytes() == row["audio"]["bytes"]
    assert len(load_audio(utterance.audio)) == 2 * RATE
    os.utime(utterance.audio, (1, 1))
    assert read_data(path, "test", languages=["de"]) == [utterance]
    assert Path(utterance.audio).stat().st_mtime == 1
    _write(path, _fleurs(2))
    assert read_data(path, "test", languages=["de"])[0].end_s == 3.0


def test_audio_of_other_languages_is_not_written_out(tmp_path):
    path = _write(tmp_path / "data.parquet", _covost(locale="de"), _covost(locale="fr"))
    assert len(read_data(path, "test", languages=["fr"])) == 1
    assert [file.name for file in (tmp_path / "data.audio").iterdir()] == ["000002.mp3"]


def test_shards_are_read_together_and_nameless_audio_is_called_after_its_row(tmp_path):
    for shard in range(2):
        _write(
            tmp_path / f"{shard:04d}.parquet", {"audio": _bytes(), "text": "Ja."}, {"audio": _bytes(), "text": "Nein."}
        )
    found = read_data(tmp_path, "train", languages=["de"])
    assert [utterance.id for utterance in found] == ["0000.1", "0000.2", "0001.1", "0001.2"]
    assert len({utterance.audio for utterance in found}) == 4


def test_equal_names_of_audio_do_not_clash(tmp_path):
    path = _write(tmp_path / "data.parquet", _covost(), _covost(sentence="Ja."))
    assert [u.id for u in read_data(path, "test", languages=["de"])] == ["common_voice_de_1", "data.2"]


def test_audio_may_be_named_by_a_path(tmp_path):
    write_audio(tmp_path / "clips" / "a.wav")
    path = _write(tmp_path / "data.parquet", {"audio": "clips/a.wav", "text": "Ja."})
    [utterance] = read_data(path, "test", languages=["de"])
    assert (utterance.id, utterance.audio) == ("a", str(tmp_path / "clips/a.wav"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"audio": {"bytes": b"", "path": None}},
            "the field 'audio' must hold the bytes .*, got nothing",
        ),
        ({"audio": None}, "the field 'audio' must hold the bytes .*, got nothing"),
        ({"audio": {"bytes": None, "path": "x.wav"}}, "the field 'audio' must name an audio file, got 'x.wav'"),
        ({"audio": {"bytes": b"no audio", "path": "x.wav"}}, "the field 'audio': .*000002.wav is not audio"),
        ({"sentence": None, "translation": ""}, "none of the fields raw_transcription, .* says anything"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_field_or_left_out(tmp_path, changes, message):
    path = _write(tmp_path / "data.parquet", _covost(), _covost(**changes))
    with pytest.raises(SkipwiseError, match=rf"data\.parquet, row 2: {message}"):
        read_data(path, "test", languages=["de"])
    bad_lines: list[str] = []
    assert len(read_data(path, "test", languages=["de"], bad_lines=bad_lines)) == 1 == len(bad_lines)


def test_audio_that_cannot_be_written_is_no_bad_row(tmp_path):
    path = _write(tmp_path / "data.parquet", _covost())
    (tmp_path / "data.audio").write_text("in the way", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"data\.audio.* cannot be written"):
        read_data(path, "test", languages=["de"], bad_lines=[])


def test_a_file_without_audio_names_its_columns(tmp_path):
    path = _write(tmp_path / "data.parquet", {"speech": _bytes(), "text": "Ja."})
    with pytest.raises(SkipwiseError, match=r"data\.parquet has no column 'audio'; it has: speech, text"):
        read_data(path, "test", languages=["de"])


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "data.parquet").write_text("no", encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"data\.parquet is no parquet file that can be read"):
        read_data(tmp_path / "data.parquet", "test")


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    path = _write(tmp_path / "data.parquet", _covost())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SkipwiseError, match=r'pip install "skipwise\[parquet\]"'):
        read_data(path, "test", languages=["de"])
