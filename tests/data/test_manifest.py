import json
from typing import Any

import pytest

from skipwise.data.manifest import Utterance, read_manifest, write_manifest
from skipwise.errors import SkipwiseError


def _utterance(folder, **changes):
    values: dict[str, Any] = dict(
        id="a",
        audio=str(folder / "audio" / "a.wav"),
        start_s=1.0,
        end_s=3.5,
        language="de",
        speaker="s",
        transcript="Guten Tag.",
        translations={"en": "Good day."},
    )
    return Utterance(**{**values, **changes})


def _write(folder, *rows):
    path = folder / "data.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_languages_are_stored_with_three_letters(tmp_path):
    utterance = _utterance(tmp_path)
    assert utterance.language == "deu"
    assert utterance.translations == {"eng": "Good day."}


def test_reference_follows_the_task(tmp_path):
    utterance = _utterance(tmp_path)
    assert utterance.reference("asr") == "Guten Tag."
    assert utterance.reference("st_eng") == utterance.reference("st_en") == "Good day."


def test_a_missing_reference_is_an_error(tmp_path):
    utterance = _utterance(tmp_path, transcript=None)
    with pytest.raises(SkipwiseError, match="'a' has no transcript"):
        utterance.reference("asr")
    with pytest.raises(SkipwiseError, match=r"no translation into 'fra'.*it has: eng"):
        utterance.reference("st_fra")
    with pytest.raises(SkipwiseError, match="task must be 'asr' or 'st_'"):
        utterance.reference("translate")


def test_duration_needs_an_end(tmp_path):
    assert _utterance(tmp_path).duration_s == 2.5
    with pytest.raises(SkipwiseError, match="has no end_s"):
        _ = _utterance(tmp_path, end_s=None).duration_s


@pytest.mark.parametrize(("start_s", "end_s"), [(-1.0, 2.0), (2.0, 2.0), (3.0, 2.0)])
def test_times_must_be_in_order(tmp_path, start_s, end_s):
    with pytest.raises(SkipwiseError, match="0 <= start_s < end_s"):
        _utterance(tmp_path, start_s=start_s, end_s=end_s)


def test_a_written_manifest_reads_back_equal(tmp_path):
    utterances = [
        _utterance(tmp_path),
        Utterance(id="b", audio="/elsewhere/b.wav", language="ita"),
        _utterance(tmp_path, id="c", end_s=None, translations={}),
    ]
    write_manifest(tmp_path / "data.jsonl", utterances)
    assert read_manifest(tmp_path / "data.jsonl") == utterances


def test_audio_below_the_manifest_is_named_relative_to_it(tmp_path):
    write_manifest(tmp_path / "data.jsonl", [_utterance(tmp_path)])
    assert json.loads((tmp_path / "data.jsonl").read_text(encoding="utf-8"))["audio"] == "audio/a.wav"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"id": "b", "audio": "b.wav", "language": "de", "lang": "de"},
            r"line 2: unknown field 'lang'\. Allowed are id",
        ),
        ({"id": "b", "audio": "b.wav"}, r"line 2: the field 'language' is missing"),
        (
            {"id": "b", "audio": "b.wav", "language": "de", "end_s": "3"},
            r"line 2: the field 'end_s' must be float or int",
        ),
        ({"id": "b", "audio": "b.wav", "language": "de", "start_s": True}, r"line 2: the field 'start_s' must be"),
        ({"id": "b", "audio": "b.wav", "language": "qq"}, r"line 2: unknown language 'qq'"),
        (
            {"id": "b", "audio": "b.wav", "language": "de", "translations": {"en": 3}},
            r"line 2: the field 'translations' must map",
        ),
        ({"id": "b", "audio": "b.wav", "language": "de", "start_s": 2, "end_s": 1}, r"line 2: utterance 'b' must have"),
        ({"id": "a", "audio": "b.wav", "language": "de"}, r"line 2: the id 'a' is there twice"),
        ("{", r"line 2: not JSON"),
        ("[]", r"line 2: must be a JSON object, got list"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field(tmp_path, row, message):
    path = _write(tmp_path, {"id": "a", "audio": "a.wav", "language": "de"}, row)
    with pytest.raises(SkipwiseError, match=rf"data\.jsonl, {message}"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(SkipwiseError, match=r"no manifest .*none\.jsonl"):
        read_manifest(tmp_path / "none.jsonl")


def test_embeddings_are_lists_in_the_file_and_values_in_memory(tmp_path):
    given = Utterance(id="a", audio=str(tmp_path / "a.wav"), language="deu", speaker_vector=(1.0, -0.5))
    write_manifest(tmp_path / "m.jsonl", [given])
    assert json.loads((tmp_path / "m.jsonl").read_text())["speaker_vector"] == [1.0, -0.5]
    [read] = read_manifest(tmp_path / "m.jsonl")
    assert read == given and read.event_vector is None


@pytest.mark.parametrize("values", [[], [1, "2"], [True], [None], [[1.0]]])
def test_an_embedding_of_anything_but_numbers_names_its_field(tmp_path, values):
    line = {"id": "a", "audio": "a.wav", "language": "de", "event_vector": values}
    (tmp_path / "m.jsonl").write_text(json.dumps(line))
    with pytest.raises(SkipwiseError, match=r"m.jsonl, line 1: the field 'event_vector' must be a list of numbers"):
        read_manifest(tmp_path / "m.jsonl")
