import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_audio(tmp_path / "audio" / "rec.wav", 4.0)
    return tmp_path


def _cut(name: str = "cut-1", *, supervision: Any = None, source: Any = None, recording: Any = None, **changes: Any):
    said = {
        "id": f"{name}-sup",
        "recording_id": "rec",
        "start": 0.5,
        "duration": 1.25,
        "channel": 0,
        "text": "Guten Tag.",
        "language": "de",
        "speaker": "anna",
    }
    file = {"type": "file", "channels": [0], "source": "audio/rec.wav"}
    whole = {"id": "rec", "sampling_rate": 16_000, "num_samples": 64_000, "duration": 4.0, "channel_ids": [0]}
    return {
        "id": name,
        "start": 1.0,
        "duration": 2.0,
        "channel": 0,
        "supervisions": [said | (supervision or {})],
        "recording": whole | {"sources": [file | (source or {})]} | (recording or {}),
        "type": "MonoCut",
    } | changes


def test_a_supervision_is_an_utterance(folder):
    path = write_lines(folder / "cuts.jsonl", _cut())
    assert read_data(path, "test") == [
        Utterance(
            id="cut-1-sup",
            audio=str(folder / "audio/rec.wav"),
            start_s=1.5,
            end_s=2.75,
            language="deu",
            speaker="anna",
            transcript="Guten Tag.",
        )
    ]


def test_packed_cuts_are_read(folder):
    with gzip.open(folder / "cuts_dev.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(_cut()) + "\n")
    assert [u.id for u in read_data(folder, "dev")] == ["cut-1-sup"]


def test_a_supervision_is_cut_where_its_cut_is(folder):
    path = write_lines(
        folder / "cuts.jsonl",
        _cut("a", supervision={"start": -0.5, "duration": 9.0}),
        _cut("b", start=0.1, supervision={"start": 0.2, "duration": 0.5}),
    )
    assert [(u.start_s, u.end_s) for u in read_data(path, "test")] == [(1.0, 3.0), (0.3, 0.8)]


def test_a_language_may_be_called_by_its_name(folder):
    path = write_lines(folder / "cuts.jsonl", _cut(supervision={"language": "German"}))
    assert read_data(path, "test")[0].language == "deu"


def test_several_supervisions_and_translations(folder):
    cut = _cut(supervision={"custom": {"translated_text": {"eng": "Good day."}, "age": 3}})
    cut["supervisions"].append(cut["supervisions"][0] | {"id": "second", "start": 1.0, "text": None, "duration": 1.0})
    first, second = read_data(write_lines(folder / "cuts.jsonl", cut), "test")
    assert (first.transcript, first.translations) == ("Guten Tag.", {"eng": "Good day."})
    assert (second.id, second.transcript, second.start_s) == ("second", None, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "MixedCut"}, "the field 'type' must be MonoCut, got MixedCut"),
        ({"duration": None}, "the fields 'start' and 'duration' must be seconds, got 1.0 and None"),
        ({"supervisions": []}, "the field 'supervisions' is empty"),
        ({"supervisions": {}}, "the field 'supervisions' must be a list of objects"),
        ({"recording": None}, "the field 'recording.sources' must list one source, got 0"),
        ({"recording": {"transforms": [{"name": "Speed"}]}}, "the field 'recording.transforms' must be empty"),
        ({"recording": {"sources": []}}, "the field 'recording.sources' must list one source, got 0"),
        (
            {"source": {"type": "command", "source": "cat x |"}},
            r"'recording.sources\[0\].type' must be 'file', got",
        ),
        (
            {"source": {"channels": [0, 1]}},
            r"'recording.sources\[0\].channels' must list one channel, got \[0, 1\]",
        ),
        (
            {"source": {"source": "x.wav"}},
            r"'recording.sources\[0\].source' must name an audio file",
        ),
        (
            {"supervision": {"start": 2.5}},
            r"'supervisions\[0\].start' must lie within the cut, 0 to 2.0 s, got 2.5",
        ),
        (
            {"supervision": {"text": None}},
            r"'supervisions\[0\].text' is missing, and there is no translation",
        ),
        ({"supervision": {"text": 3}}, r"the field 'supervisions\[0\].text' must be a text, got 3"),
        ({"supervision": {"language": None}}, r"the language .* Add the field 'supervisions\[0\].language'"),
        ({"supervision": {"language": "Elvish"}}, r"'supervisions\[0\].language': unknown language 'Elvish'"),
        (
            {"supervision": {"custom": {"translated_text": {"eng": 3}}}},
            r"'supervisions\[0\].custom.translated_text.eng' must",
        ),
        ({"name": "cut-1"}, "the id 'cut-1-sup' is there twice"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field_or_left_out(folder, changes, message):
    bad = _cut(**({"name": "cut-2"} | changes))
    if changes == {"recording": None}:
        bad["recording"] = {"id": "rec"}
    path = write_lines(folder / "cuts.jsonl", _cut(), bad)
    with pytest.raises(SkipwiseError, match=rf"cuts\.jsonl, line 2: .*{message}"):
        read_data(path, "test")
    bad_lines: list[str] = []
    assert [u.id for u in read_data(path, "test", bad_lines=bad_lines)] == ["cut-1-sup"]
    assert len(bad_lines) == 1
