"""Parts that share no speaker, and the manifests that are made of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skipwise.cli.main import app, run
from skipwise.data.importing import import_corpus
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.data.splits import Split, hours_of, split_utterances
from skipwise.errors import SkipwiseError
from tests.data.spoken import write_audio, write_lines


def spoken(speakers: int, *, clips: int = 3, named: bool = True) -> list[Utterance]:
    return [
        Utterance(
            id=f"{speaker}-{clip}",
            audio=f"{speaker}-{clip}.wav",
            end_s=2.0 + speaker % 3,
            language="de",
            speaker=f"s{speaker}" if named else None,
            transcript="Ja.",
        )
        for speaker in range(speakers)
        for clip in range(clips)
    ]


def parts_of(split: Split) -> list[tuple[Utterance, ...]]:
    return [split.train, split.dev, split.test]


@pytest.mark.parametrize(("num_speakers", "seed"), [(3, 1), (7, 2), (40, 3)])
def test_parts_are_all_of_it_and_share_no_speaker(num_speakers: int, seed: int) -> None:
    utterances = spoken(num_speakers)
    split = split_utterances(utterances, seed=seed)
    parts = parts_of(split)
    assert sorted(u.id for part in parts for u in part) == sorted(u.id for u in utterances)
    speakers = [{u.speaker for u in part} for part in parts]
    assert all(speakers) and sum(map(len, speakers)) == num_speakers
    assert split.apart == "speakers"


def test_shares_are_met_up_to_a_speaker() -> None:
    utterances = spoken(100)
    split = split_utterances(utterances, dev_share=0.1, test_share=0.2)
    speaker_h = 3 * 4 / 3600
    assert hours_of(split.dev) == pytest.approx(0.1 * hours_of(utterances), abs=speaker_h)
    assert hours_of(split.test) == pytest.approx(0.2 * hours_of(utterances), abs=speaker_h)


def test_a_seed_decides_who_goes_where() -> None:
    one, again, other = (split_utterances(spoken(20), seed=seed) for seed in (1, 1, 2))
    assert one == again and one != other


@pytest.mark.parametrize("utterances", [spoken(2), spoken(5, named=False)], ids=["two speakers", "none named"])
def test_without_three_speakers_recordings_are_parted(utterances: list[Utterance]) -> None:
    split = split_utterances(utterances)
    assert split.apart == "recordings" and all(parts_of(split))
    assert sum(len({u.audio for u in part}) for part in parts_of(split)) == len({u.audio for u in utterances})


def test_sentences_of_one_recording_stay_together() -> None:
    utterances = [
        Utterance(id=f"{audio}{i}", audio=audio, start_s=float(i), end_s=i + 1.0, language="de")
        for audio in ("a.wav", "b.wav", "c.wav")
        for i in range(5)
    ]
    assert [len(part) for part in parts_of(split_utterances(utterances))] == [5, 5, 5]


@pytest.mark.parametrize(
    ("utterances", "shares", "message"),
    [
        (spoken(1, clips=2), (0.1, 0.1), "train, dev and test need at least 3 recordings, got 2. Bring more audio"),
        (spoken(4), (0.0, 0.1), "must be above 0 and together below 1, got 0 and 0.1"),
        (spoken(4), (0.5, 0.5), "must be above 0 and together below 1, got 0.5 and 0.5"),
    ],
)
def test_what_cannot_be_split_is_told(utterances: list[Utterance], shares: tuple[float, float], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        split_utterances(utterances, dev_share=shares[0], test_share=shares[1])


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for speaker in ("anna", "bert", "carla"):
        for clip in (1, 2):
            write_audio(tmp_path / "recordings" / speaker / f"{clip}.wav", 2.0)
            write_lines(tmp_path / "recordings" / speaker / f"{clip}.txt", f"{speaker} sagt {clip}.")
    return tmp_path / "recordings"


def test_an_import_is_read_back_and_leaves_the_audio_where_it_is(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    split = import_corpus(recordings, out, languages=["de"])
    assert sorted(path.name for path in out.iterdir()) == ["dev.jsonl", "test.jsonl", "train.jsonl"]
    for name, part in (("train", split.train), ("dev", split.dev), ("test", split.test)):
        found = read_data(out, name)
        assert [(u.id, u.transcript) for u in found] == [(u.id, u.transcript) for u in part]
        assert all(Path(u.audio).parent.parent == recordings for u in found)


def test_an_import_replaces_nothing_and_refuses_data_with_splits(recordings: Path, tmp_path: Path) -> None:
    import_corpus(recordings, tmp_path / "mine", languages=["de"])
    with pytest.raises(SkipwiseError, match=r"mine/train.jsonl is there already. Choose another folder"):
        import_corpus(recordings, tmp_path / "mine", languages=["de"])
    with pytest.raises(SkipwiseError, match=r"mine has splits of its own.*skipwise train prune data.root=.*mine"):
        import_corpus(tmp_path / "mine", tmp_path / "again")


def test_the_command_tells_what_went_where(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(recordings / "anna" / "long.wav", 31.0)
    write_lines(recordings / "anna" / "long.txt", "Viel.")
    write_audio(recordings / "anna" / "silent.wav", 1.0)
    out = tmp_path / "mine"
    argv = ["skipwise", "corpus", "import", str(recordings), str(out), "-l", "de", "--skip-bad"]
    monkeypatch.setattr(sys, "argv", [*argv, "--test-share", "0.02", "--dev-share", "0.02", "--seed", "4"])
    assert run(app) == 0
    told = capsys.readouterr().out
    assert "train: 0.01 h, 3 utterances of deu, 1 speaker\n" in told
    assert "1 of train are longer than 30 s and will be left out" in told
    assert "1 bad lines are left out:" in told and "silent.wav: there is no text silent.txt beside it" in told
    assert f"Next: skipwise train prune data.root={out}" in told and "recordings were split" not in told
