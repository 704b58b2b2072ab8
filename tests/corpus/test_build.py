import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import skipwise
from skipwise.cli.corpus import corpus_app
from skipwise.corpus import CorpusSettings, build_corpus
from skipwise.corpus.settings import SPLITS
from skipwise.data.layouts import read_data
from skipwise.data.sidecar import join_facts, read_sidecar, sidecar_path
from skipwise.errors import SkipwiseError

pytest.importorskip("espeakng_loader")

SETTINGS = CorpusSettings(
    hours=0.008, dev_hours=0.002, test_hours=0.004, test_unseen_hours=0.002, train_speakers=2, languages=("de", "fr")
)


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    build_corpus(folder, SETTINGS)
    return folder


def test_the_number_of_jobs_does_not_change_a_byte(corpus, tmp_path):
    build_corpus(tmp_path / "two", SETTINGS, jobs=2)
    assert _files(tmp_path / "two") == _files(corpus)


def test_the_reader_finds_what_the_lists_say(corpus):
    described = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    for split in SPLITS:
        utterances = read_data(corpus, split)
        assert len(utterances) == sum(counts["segments"] for counts in described["splits"][split].values())
        assert {utterance.language for utterance in utterances} == {"deu", "fra"}
        assert all(utterance.transcript and utterance.translations["eng"] for utterance in utterances)
        assert all(0.8 < utterance.duration_s < 40.0 for utterance in utterances)


def test_the_sidecars_go_with_the_segments(corpus):
    rows = read_sidecar(sidecar_path(corpus, "de"))
    utterances = [utterance for split in SPLITS for utterance in read_data(corpus, split, languages=["de"])]
    assert {row.id for row in rows} == {utterance.id for utterance in utterances}
    for utterance, row in zip(utterances, join_facts(utterances, rows), strict=True):
        assert (row.start_s, row.end_s, row.speaker) == (utterance.start_s, utterance.end_s, utterance.speaker)
        assert len(row.templates) == len(row.sentences_s) == len(row.meanings)
    speakers = [json.loads(line) for line in (corpus / "speakers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row.speaker for row in rows} <= {speaker["name"] for speaker in speakers}


def test_the_lists_have_the_layout_of_europarl_st(corpus):
    folder = corpus / "v1.1" / "fr" / "en" / "train"
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in folder.iterdir()}
    assert set(lines) == {
        *("segments.lst", "segments.fr", "segments.en", "speeches.lst", "speeches.fr", "speeches.en"),
        *("speakers.lst", "url.lst"),
    }
    assert len({lines[name] for name in lines if name.startswith("segments")}) == 1
    assert len({lines[name] for name in lines if not name.startswith("segments")}) == 1


def test_a_finished_corpus_is_left_alone(corpus):
    calls = []
    summary = build_corpus(corpus, SETTINGS, progress=lambda done, total: calls.append(done))
    assert calls == []
    assert summary["splits"]["train"]["de"]["speakers"] >= 1


def _parts(folder):
    return list(folder.glob(".parts/*.*.*.json"))


def _children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return listed.read_text().split() if listed.exists() else []


def _gone(pids, patience_s=10.0):
    """Whether all these processes end soon (a dead one may wait to be collected)."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        statuses = [Path(f"/proc/{pid}/stat") for pid in pids]
        states = [path.read_text().rpartition(")")[2].split()[0] for path in statuses if path.exists()]
        if all(state in "ZX" for state in states):
            return True
        time.sleep(0.05)
    return False


def test_a_killed_build_goes_on_where_it_was(corpus, tmp_path):
    program = (
        "from skipwise.corpus import CorpusSettings, build_corpus\n"
        f"if __name__ == '__main__': build_corpus({str(tmp_path)!r}, {SETTINGS!r})"
    )
    script = tmp_path.with_suffix(".py")
    script.write_text(program, encoding="utf-8")
    source = Path(skipwise.__file__).parents[1]
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(source)})
    while len(_parts(tmp_path)) < 2 and process.poll() is None:
        time.sleep(0.02)
    workers = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sys.platform != "linux" or (workers and _gone(workers))
    assert not (tmp_path / "corpus.json").exists()
    # A speech with a part is finished; one that was being written is written again.
    audios = [tmp_path / f"v1.1/{part.name[:2]}/audios/{part.stem}.m4a" for part in _parts(tmp_path)]
    finished = {path: path.stat().st_mtime_ns for path in audios}

    calls = []
    build_corpus(tmp_path, SETTINGS, progress=lambda done, total: calls.append(done))
    assert calls[0] >= 2
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert _files(tmp_path) == _files(corpus)


def test_a_folder_with_other_settings_is_refused(corpus, tmp_path):
    with pytest.raises(SkipwiseError, match=r"other settings: seed is 1 there, 2 now"):
        build_corpus(corpus, replace(SETTINGS, seed=2))


def test_a_corpus_of_the_first_grammar_is_refused(tmp_path):
    old = {"versions": {"grammar": 1}, "settings": {"hours": 14.0}}
    (tmp_path / "corpus.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(SkipwiseError, match=r"other versions: grammar is 1 there, 4 now"):
        build_corpus(tmp_path, SETTINGS)


def test_a_stopped_build_with_other_settings_is_refused(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus(tmp_path, SETTINGS, progress=stop)
    with pytest.raises(SkipwiseError, match=r"other settings: hours is 0\.008 there, 0\.03 now"):
        build_corpus(tmp_path, replace(SETTINGS, hours=0.03))


def test_a_folder_with_somebody_elses_corpus_is_refused(tmp_path):
    (tmp_path / "v1.1").mkdir()
    with pytest.raises(SkipwiseError, match=r"already holds a v1\.1"):
        build_corpus(tmp_path, SETTINGS)


def test_jobs_must_be_positive(tmp_path):
    with pytest.raises(SkipwiseError, match="jobs must be 1 or more, got 0"):
        build_corpus(tmp_path, SETTINGS, jobs=0)


def test_the_command_builds_a_corpus(tmp_path):
    hours = ["--hours", "0.005", "--dev-hours", "0.002", "--test-hours", "0.002"]
    result = CliRunner().invoke(
        corpus_app, ["build", str(tmp_path / "out"), *hours, "--seed", "3", "--languages", "it"]
    )
    assert result.exit_code == 0, result.output
    assert "train it: 0.0" in result.output and "is complete" in result.output
    assert read_data(tmp_path / "out", "test")[0].language == "ita"


def test_a_size_is_said_once(tmp_path):
    result = CliRunner().invoke(corpus_app, ["build", str(tmp_path / "out"), "--hours", "1", "--preset", "tiny"])
    with pytest.raises(SkipwiseError, match=r"give --preset or --hours, not both; got tiny and 1\."):
        raise result.exception or AssertionError(result.output)


def test_the_command_tells_a_mistake(tmp_path):
    result = CliRunner().invoke(corpus_app, ["build", str(tmp_path / "out"), "--hours", "1", "--languages", "es"])
    assert isinstance(result.exception, SkipwiseError)
    assert "languages must be different ones of de, fr, it" in str(result.exception)
