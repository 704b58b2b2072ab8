"""`skipwise transcribe` with a tiny random model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from skipwise.cli.transcribe import transcribe
from skipwise.decoding.options import DecodeOptions
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import GateConfig, MlpPredictorConfig
from skipwise.models.attach import attach
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import Transcriber
from tests.tiny import attach_random_gates, tiny_model, tone

RATE = 16_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, gates beside it, two good files and one that is text."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "model")
    attach_random_gates(load_owsm(folder / "model").network).save_pretrained(folder / "model" / "gates")
    for seed, name in enumerate(("a.wav", "b.flac")):
        soundfile.write(folder / name, tone(1.0 + 0.3 * seed, seed=seed), RATE)
    (folder / "broken.wav").write_text("no sound here, only text")
    return folder


def run(place: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(transcribe)
    return CliRunner().invoke(app, [*arguments, "--model", str(place / "model")], input=stdin)


def expected(place: Path, name: str, *, gates: str = "auto", task: str = "asr") -> str:
    return Transcriber(place / "model", gates=gates).transcribe(place / name, language="de", task=task).text


def test_one_file_gives_its_text_alone(place: Path) -> None:
    result = run(place, str(place / "a.wav"), "--language", "de")
    assert result.exit_code == 0, result.output
    assert result.stdout == expected(place, "a.wav") + "\n"


def test_task_and_gates_reach_the_model(place: Path) -> None:
    found = set()
    for gates in ("auto", "none"):
        for task in ("asr", "st_eng"):
            result = run(place, str(place / "b.flac"), "--language", "deu", "--task", task, "--gates", gates, "--json")
            record = json.loads(result.stdout)
            assert record["text"] == expected(place, "b.flac", gates=gates, task=task)
            assert bool(record["segments"][0]["closed"]) == (gates == "auto")
            found.add((record["text"], gates))
    assert len(found) >= 3
    same = run(place, str(place / "b.flac"), "--language", "de", "--gates", str(place / "model" / "gates"))
    assert same.stdout == expected(place, "b.flac") + "\n"


def test_several_files_are_named_and_json_has_one_object_a_line(place: Path) -> None:
    names = [str(place / "a.wav"), str(place / "b.flac")]
    plain = run(place, *names, "--language", "de").stdout.splitlines()
    assert plain == [f"{name}: {expected(place, Path(name).name)}" for name in names]
    records = [json.loads(line) for line in run(place, *names, "--language", "de", "--json").stdout.splitlines()]
    assert [record["file"] for record in records] == names
    assert set(records[0]) == {"file", "text", "language", "task", "segments", "sparsity", "seconds", "rtf"}
    assert records[0]["language"] == "deu" and records[0]["seconds"]["audio"] == pytest.approx(1.0)


def test_standard_input_is_read(place: Path) -> None:
    result = run(place, "-", "--language", "de", stdin=(place / "b.flac").read_bytes())
    assert result.stdout == expected(place, "b.flac") + "\n"
    nothing = run(place, "-", "--language", "de", stdin=b"")
    assert isinstance(nothing.exception, SkipwiseError) and "is empty" in str(nothing.exception)


def test_a_broken_file_among_several_is_told_the_rest_is_done_and_the_exit_code_is_2(place: Path) -> None:
    names = [str(place / "a.wav"), str(place / "broken.wav"), str(place / "b.flac")]
    result = run(place, *names, "--language", "de")
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [f"{name}: {expected(place, Path(name).name)}" for name in names[::2]]
    assert "broken.wav is not audio" in result.stderr and "1 of 3 files" in result.stderr


def test_a_single_broken_file_raises_for_main_to_report(place: Path) -> None:
    result = run(place, str(place / "broken.wav"), "--language", "de")
    assert isinstance(result.exception, SkipwiseError) and "broken.wav is not audio" in str(result.exception)
    assert result.stdout == ""


def test_a_wrong_language_is_told_once_before_any_file(place: Path) -> None:
    result = run(place, str(place / "a.wav"), str(place / "b.flac"), "--language", "xx")
    assert isinstance(result.exception, SkipwiseError) and "It knows: deu, eng, fra" in str(result.exception)


def test_a_silent_file_gives_an_empty_line_and_a_warning(place: Path) -> None:
    soundfile.write(place / "silent.wav", np.zeros(RATE, np.float32), RATE)
    with pytest.warns(SkipwiseWarning, match=r"silent\.wav is silent from 0\.0 to 1\.0 s"):
        result = run(place, str(place / "silent.wav"), "--language", "de")
    assert result.exit_code == 0 and result.stdout == "\n"


def test_the_cold_path_imports_nothing_of_transformers(place: Path) -> None:
    code = (
        "import sys; from skipwise.cli.transcribe import transcribe; assert 'torch' not in sys.modules;"
        f"transcribe([{str(place / 'a.wav')!r}], language='de', model={str(place / 'model')!r});"
        "print(*sorted(n for n in sys.modules if n.partition('.')[0] in ('transformers', 'huggingface_hub', 'av')))"
    )
    environment = os.environ | {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    lines = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert lines.stdout.splitlines() == [expected(place, "a.wav"), ""]


def test_without_a_language_the_model_says_it(place: Path) -> None:
    found = json.loads(run(place, str(place / "a.wav"), "--json").stdout)
    transcript = Transcriber(place / "model").transcribe(place / "a.wav")
    assert (found["language"], found["text"]) == (transcript.language, transcript.text)
    assert run(place, str(place / "a.wav"), "--language", "auto").stdout == transcript.text + "\n"


def test_timestamps_are_lines_of_times_and_text(place: Path) -> None:
    result = run(place, str(place / "b.flac"), "-l", "de", "--timestamps", "--max-length-ratio", "-30")
    options = DecodeOptions(timestamps=True, max_length_ratio=-30)
    transcript = Transcriber(place / "model", options=options).transcribe(place / "b.flac", language="de")
    sentences = [sentence for segment in transcript.segments for sentence in segment.sentences]
    lines = [f"[00:{s.start_s:05.2f} - 00:{s.end_s:05.2f}] {s.text}" for s in sentences]
    assert lines and result.stdout.splitlines() == lines


def test_several_hypotheses_are_lines_with_their_scores(place: Path) -> None:
    options = ["-l", "de", "--beam-size", "4", "--nbest", "3", "--max-length-ratio", "-8"]
    lines = run(place, str(place / "a.wav"), *options).stdout.splitlines()
    scores = [float(line.split("\t")[0]) for line in lines]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    record = json.loads(run(place, str(place / "a.wav"), *options, "--json").stdout)["segments"][0]
    texts = [record["text"], *(alternative["text"] for alternative in record["alternatives"])]
    assert [line.split("\t")[1] for line in lines] == texts


def test_decoding_options_reach_the_search(place: Path) -> None:
    def score(*options: str) -> float:
        found = run(place, str(place / "a.wav"), "-l", "de", "--json", "--max-length-ratio", "-8", *options)
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)["segments"][0]["score"]

    plain = score()
    assert score("--length-bonus", "2") == pytest.approx(plain + 16, abs=0.5)
    others = (["--ctc-weight", "0.3"], ["--method", "ctc"], ["--previous-text", "today"], ["--beam-size", "5"])
    assert plain not in [score(*options) for options in others]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ctc-weight", "1"], r"ctc_weight must be in \[0, 1\)"),
        (["--timestamps", "--nbest", "2", "--beam-size", "2"], "--timestamps and --nbest are shown together by --json"),
        (["--nbest", "3"], "greedy search finds one hypothesis, got nbest 3"),
        (["--timestamps", "--method", "ctc"], "the CTC head knows no timestamps"),
        (["--method", "ctc", "--task", "st_eng"], "the method ctc cannot do the task st_eng"),
        (["--language", "xx"], "does not know the language 'xx'"),
    ],
)
def test_a_decoding_option_that_means_nothing_is_told(place: Path, options: list[str], message: str) -> None:
    result = run(place, str(place / "a.wav"), *options)
    assert result.exit_code != 0 and isinstance(result.exception, SkipwiseError)
    with pytest.raises(SkipwiseError, match=message):
        raise result.exception


def test_an_embedding_in_a_file_reaches_the_gates_and_a_wrong_file_is_named(place: Path, tmp_path: Path) -> None:
    network = load_owsm(place / "model").network
    config = GateConfig(
        context=("speaker",), speaker_size=3, predictor=MlpPredictorConfig(open_bias=0.0, output_std=3.0)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # some random gates decide the same for all three
        attach(network, config).save_pretrained(tmp_path / "gates")
    found = set()
    for index in range(3):
        vector = tmp_path / "vector.json"
        vector.write_text(json.dumps([index == 0, index == 1, index == 2]))
        told = ["--gates", str(tmp_path / "gates"), "--speaker", str(vector), "--json", "--language", "de"]
        result = run(place, str(place / "a.wav"), *told)
        assert result.exit_code == 0, result.output
        found.add(str(json.loads(result.stdout)["segments"][0]["closed"]))
    assert len(found) > 1
    (tmp_path / "vector.json").write_text("{}")
    wrong = run(place, str(place / "a.wav"), "--speaker", str(tmp_path / "vector.json"))
    assert isinstance(wrong.exception, SkipwiseError) and "must be one or more finite numbers" in str(wrong.exception)
    (tmp_path / "words.json").write_text('["a"]')
    for name in ("nowhere.json", "words.json"):
        failed = run(place, str(place / "a.wav"), "--event", str(tmp_path / name)).exception
        assert isinstance(failed, SkipwiseError) and "It must be a JSON list of numbers" in str(failed)
