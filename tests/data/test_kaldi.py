from pathlib import Path

import pytest

from skipwise.data.layouts import has_splits, read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines

_SEGMENTS = ("t_0_deu_asr talk 0.00 2.50", "t_0_deu_st_eng talk 0 2.5", "t_1_deu_st_eng talk 2.5 -1")


def _write_plain(folder: Path) -> Path:
    """Two recordings, one utterance each."""
    one, two = write_audio(folder / "audio" / "one.wav", 2.0), write_audio(folder / "audio" / "two.flac", 1.5)
    write_lines(folder / "wav.scp", f"one {one}", f"two {two.relative_to(folder)}")
    write_lines(folder / "text", "one Guten Tag.", "two  Ja,  wohl.")
    write_lines(folder / "utt2spk", "one anna", "two bert")
    write_lines(folder / "utt2lang", "one de", "two deu")
    return folder


def _write_owsm(folder: Path) -> Path:
    """One recording, two stretches of it; the first with a line for either task."""
    write_audio(folder / "talk.wav", 4.0)
    write_lines(folder / "wav.scp", "talk talk.wav")
    write_lines(
        folder / "segments", "t_0_deu_asr talk 0.00 2.50", "t_0_deu_st_eng talk 0 2.5", "t_1_deu_st_eng talk 2.5 -1"
    )
    write_lines(
        folder / "text",
        "t_0_deu_asr <deu><asr><0.00> Guten Tag.<1.20><1.40> Wir danken.<2.50>",
        "t_0_deu_st_eng <deu><st_eng><0.00> Good day.<1.20><1.40> We thank.<2.50>",
        "t_1_deu_st_eng <deu><st_eng><notimestamps> Yes.",
    )
    write_lines(folder / "text.ctc", "t_0_deu_asr Guten Tag. Wir danken.", "t_0_deu_st_eng <na>", "t_1_deu_st_eng Ja.")
    write_lines(folder / "text.prev", "t_0_deu_asr <na>", "t_0_deu_st_eng <na>", "t_1_deu_st_eng Good day.")
    write_lines(folder / "utt2spk", *(f"{name} {name}" for name in ("t_0_deu_asr", "t_0_deu_st_eng", "t_1_deu_st_eng")))
    return folder


def test_recordings_without_segments_are_utterances(tmp_path):
    assert read_data(_write_plain(tmp_path), "test") == [
        Utterance(
            id="one",
            audio=str(tmp_path / "audio/one.wav"),
            end_s=2.0,
            language="deu",
            speaker="anna",
            transcript="Guten Tag.",
        ),
        Utterance(
            id="two",
            audio=str(tmp_path / "audio/two.flac"),
            end_s=1.5,
            language="deu",
            speaker="bert",
            transcript="Ja,  wohl.",
        ),
    ]


def test_wav_scp_alone_is_enough_where_the_language_is_asked_for(tmp_path):
    write_audio(tmp_path / "one.wav")
    write_lines(tmp_path / "wav.scp", "one one.wav")
    [utterance] = read_data(tmp_path, "test", languages=["it"])
    assert (utterance.language, utterance.transcript, utterance.speaker) == ("ita", None, None)
    with pytest.raises(SkipwiseError, match=r"wav\.scp, line 1: the language .* Add the field 'utt2lang'"):
        read_data(tmp_path, "test")


def test_owsms_tasks_and_timestamps_are_understood(tmp_path):
    first, second = read_data(_write_owsm(tmp_path), "test")
    assert (first.id, first.start_s, first.end_s) == ("t_0_deu_asr", 0.0, 2.5)
    assert first.transcript == "Guten Tag. Wir danken."
    assert first.translations == {"eng": "Good day. We thank."}
    assert (second.start_s, second.end_s) == (2.5, 4.0)
    assert (second.transcript, second.translations) == ("Ja.", {"eng": "Yes."})


def test_text_ctc_is_the_transcript_where_text_is_not_known(tmp_path):
    write_lines(_write_plain(tmp_path) / "text", "one <na>", "two Ja.")
    write_lines(tmp_path / "text.ctc", "one guten tag", "two ja")
    assert [utterance.transcript for utterance in read_data(tmp_path, "test")] == ["guten tag", "Ja."]


def test_a_folder_of_data_folders_has_splits(tmp_path):
    _write_plain(tmp_path / "train")
    _write_owsm(tmp_path / "valid")
    assert has_splits(tmp_path) and not has_splits(tmp_path / "train")
    assert [u.id for u in read_data(tmp_path, "train")] == ["one", "two"]
    assert [u.id for u in read_data(tmp_path, "dev")] == ["t_0_deu_asr", "t_1_deu_st_eng"]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "wav.scp",
            "two flac -c -d -s two.flac |",
            r"line 2: the field 'wav.scp' must be .* got a command, 'flac .*\|'",
        ),
        ("wav.scp", "two data/raw.ark:1234", "line 2: the field 'wav.scp' must be .* got a place in an archive"),
        ("wav.scp", "two none.wav", "line 2: the field 'wav.scp' must name an audio file, got 'none.wav'"),
        ("wav.scp", "two utt2spk", "line 2: the field 'wav.scp': .* is not audio"),
        ("wav.scp", "two", "line 2: must be `<id> <wav.scp>`, got 'two' and nothing behind it"),
        ("wav.scp", "one audio/two.flac", "line 2: the id 'one' is there twice"),
        ("text", "two", "line 2: must be `<id> <text>`"),
        ("text", "three Ja.", r"line 2: the utterance 'three' has no audio: it is in neither segments nor wav\.scp"),
        ("text", "two <deu><asr><0.00> <1.00>", "line 2: the field 'text' says nothing but '<deu>"),
        ("text", "two <qqq><asr> Ja.", "line 2: the field 'text': unknown language 'qqq'"),
        ("text", "two <deu><st_qqq> Yes.", "line 2: the field 'text': unknown language 'qqq'"),
        ("utt2lang", "two qq", "line 2: the field 'utt2lang': unknown language 'qq'"),
        ("utt2spk", "three bert", "line 2: the utterance 'three' has no audio"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_field(tmp_path, name, line, message):
    path = _write_plain(tmp_path) / name
    write_lines(path, path.read_text(encoding="utf-8").splitlines()[0], line)
    with pytest.raises(SkipwiseError, match=rf"{tmp_path / name}, {message}"):
        read_data(tmp_path, "test")
    bad_lines: list[str] = []
    assert [u.id for u in read_data(tmp_path, "test", bad_lines=bad_lines)] == ["one"]
    assert bad_lines


@pytest.mark.parametrize("name", ["text", "text.ctc", "utt2spk", "utt2lang"])
def test_an_utterance_that_a_file_lacks_is_named(tmp_path, name):
    _write_plain(tmp_path)
    write_lines(tmp_path / name, "one de")
    with pytest.raises(SkipwiseError, match=rf"wav\.scp, line 2: the utterance 'two' has no line in .*{name}"):
        read_data(tmp_path, "test")


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ("talk 1.0", "must be `<id> <recording> <start> <end>`, got 'talk 1.0' behind the id"),
        ("talk a b", "must be `<id> <recording> <start> <end>`"),
        ("talk 2.0 1.0", "must be .* with 0 <= start < end, or -1"),
        ("talk 1.0 2.0 3.0", "must be .* with 0 <= start < end, or -1"),
        ("other 1.0 2.0", r"the recording 'other' is not in wav\.scp"),
        ("talk 9.0 -1", "the field 'segments': .*talk.wav ends at 4.000 s, got a start at 9.0 s"),
    ],
)
def test_a_bad_segment_is_named(tmp_path, segment, message):
    _write_owsm(tmp_path)
    lines = (tmp_path / "segments").read_text(encoding="utf-8").splitlines()
    write_lines(tmp_path / "segments", *lines[:2], f"t_1_deu_st_eng {segment}")
    with pytest.raises(SkipwiseError, match=rf"segments, line 3: {message}"):
        read_data(tmp_path, "test")
    bad_lines: list[str] = []
    assert [u.id for u in read_data(tmp_path, "test", bad_lines=bad_lines)] == ["t_0_deu_asr"]
    assert len(bad_lines) == 1


def test_a_bad_recording_takes_its_segments_along(tmp_path):
    _write_owsm(tmp_path)
    write_audio(tmp_path / "good.wav")
    write_lines(tmp_path / "wav.scp", "talk cat talk.wav |", "good good.wav")
    for name, text in {"segments": "good 0 1", "text": "<fra><asr> Oui.", "text.ctc": "Oui.", "utt2spk": "s"}.items():
        write_lines(tmp_path / name, *(tmp_path / name).read_text(encoding="utf-8").splitlines(), f"g {text}")
    bad_lines: list[str] = []
    [utterance] = read_data(tmp_path, "test", bad_lines=bad_lines)
    assert (utterance.id, utterance.language) == ("g", "fra")
    assert [line.split(": ")[0] for line in bad_lines] == [f"{tmp_path / 'wav.scp'}, line 1"]
