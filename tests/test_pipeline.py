"""The whole flow on a tiny random model; tolerances are fp32 noise: other batch sizes use other kernels."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import skipwise.pipeline
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Transcript
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import OPEN_PLANNER, GateAdapter, GatePlan
from skipwise.models.attach import attach, detach
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import Request, Transcriber
from tests.tiny import attach_random_gates, tiny_model, tone

RATE = 16_000
SHORT = DecodeOptions(max_length_ratio=-6)


@pytest.fixture(scope="module")
def dense_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without gates, of windows of at most 2 s."""
    return tiny_model(tmp_path_factory.mktemp("dense") / "model", max_window_s=2.0).folder


@pytest.fixture(scope="module")
def gated_folder(dense_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with random gates beside it."""
    folder = tmp_path_factory.mktemp("gated") / "model"
    shutil.copytree(dense_folder, folder)
    attach_random_gates(load_owsm(folder).network).save_pretrained(folder / "gates")
    return folder


@pytest.fixture(scope="module")
def gated_transcriber(gated_folder: Path) -> Transcriber:
    return Transcriber(gated_folder, options=SHORT)


def assert_same(found: Transcript, expected: Transcript) -> None:
    assert (found.text, found.language, found.task) == (expected.text, expected.language, expected.task)
    assert len(found.segments) == len(expected.segments)
    for segment, other in zip(found.segments, expected.segments, strict=True):
        assert (segment.start_s, segment.end_s) == (other.start_s, other.end_s)
        assert (segment.tokens, segment.finished) == (other.tokens, other.finished)
        assert segment.plan.closed() == other.plan.closed()
        assert segment.score == pytest.approx(other.score, abs=1e-3)


def closed_of(transcript: Transcript) -> set[str]:
    return {str(site) for segment in transcript.segments for site in segment.plan.closed()}


def test_a_file_its_bytes_and_its_samples_give_the_same_transcript(
    gated_transcriber: Transcriber, tmp_path: Path
) -> None:
    samples = tone(1.5)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    from_path = gated_transcriber.transcribe(path, language="de")
    assert from_path.text
    for audio in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), (samples, RATE)):
        assert_same(gated_transcriber.transcribe(audio, language="de"), from_path)
    other = gated_transcriber.transcribe((tone(1.5, seed=5), RATE), language="de")
    assert abs(other.segments[0].score - from_path.segments[0].score) > 0.01


def test_a_transcript_tells_what_ran_and_how_long_it_took(gated_transcriber: Transcriber) -> None:
    transcript = gated_transcriber.transcribe((tone(3.7), RATE), language="deu", task="st_eng")
    assert (transcript.language, transcript.task) == ("deu", "st_eng")
    assert transcript.timings.audio_s == pytest.approx(3.7)
    assert min(transcript.timings.features_s, transcript.timings.encoder_s, transcript.timings.decoder_s) > 0
    assert transcript.timings.rtf == pytest.approx(transcript.timings.total_s / 3.7)
    sites = gated_transcriber.model.network.config.gate_sites()
    for segment in transcript.segments:
        assert segment.plan.sites == sites and segment.plan.num_rows == 1
    share = sum(segment.plan.sparsity("decoder") for segment in transcript.segments) / len(transcript.segments)
    assert transcript.sparsity["decoder"] == pytest.approx(share)
    assert 0 < transcript.sparsity["encoder"] < 1

    record = json.loads(json.dumps(transcript.to_dict()))
    assert record["text"] == transcript.text == " ".join(segment["text"] for segment in record["segments"])
    assert {name for segment in record["segments"] for name in segment["closed"]} == closed_of(transcript)
    assert set(record) == {"text", "language", "task", "segments", "sparsity", "seconds", "rtf"}


def test_gates_change_the_outcome_and_none_is_the_base_model(dense_folder: Path, gated_folder: Path) -> None:
    audio, adapter = (tone(1.9), RATE), gated_folder / "gates"

    def transcribed(model: Path, gates: object) -> Transcript:
        transcriber = Transcriber(model, gates=gates, options=SHORT)  # pyrefly: ignore[bad-argument-type]
        return transcriber.transcribe(audio, language="de")

    base, gated = transcribed(dense_folder, "auto"), transcribed(gated_folder, "auto")
    assert base.sparsity == {} and closed_of(gated)
    assert gated.segments[0].score != base.segments[0].score
    for none in ("none", None):
        assert_same(transcribed(gated_folder, none), base)
    for same in (adapter, str(adapter), GateAdapter.from_pretrained(adapter)):
        assert_same(transcribed(dense_folder, same), gated)


def test_a_fixed_plan_is_followed_and_the_open_one_is_the_base_model(dense_folder: Path) -> None:
    audio, sites = (tone(1.9), RATE), load_owsm(dense_folder).network.config.gate_sites()
    base = Transcriber(dense_folder, options=SHORT).transcribe(audio, language="de")
    opened = Transcriber(dense_folder, gates=GatePlan.all_open(sites), options=SHORT)
    assert opened.transcribe(audio, language="de").segments[0].score == base.segments[0].score
    plan = GatePlan.closing(sites, ["encoder.0.cgmlp", "decoder.1.src_attn"])
    transcript = Transcriber(dense_folder, gates=plan, options=SHORT).transcribe(audio, language="de")
    assert closed_of(transcript) == {"encoder.0.cgmlp", "decoder.1.src_attn"}
    assert transcript.sparsity == {"encoder": pytest.approx(1 / 8), "decoder": pytest.approx(1 / 6)}
    assert transcript.segments[0].score != base.segments[0].score


def test_a_model_in_memory_is_used_as_it_is_with_the_gates_that_are_on_it(
    dense_folder: Path, gated_folder: Path
) -> None:
    audio, model = (tone(1.2), RATE), load_owsm(dense_folder)
    adapter = attach(model.network, gated_folder / "gates")
    expected = Transcriber(gated_folder, options=SHORT).transcribe(audio, language="de")
    assert_same(Transcriber(model, options=SHORT).transcribe(audio, language="de"), expected)
    assert Transcriber(model, gates=None).planner is OPEN_PLANNER
    with torch.no_grad():  # a base in training: its attached gates go with it, whatever its hash says by now
        model.network.ctc_head.weight.add_(1.0)
    assert_same(Transcriber(model, gates=adapter, options=SHORT).transcribe(audio, language="de"), expected)
    assert model.network.gate_adapter is adapter
    detach(model.network)
    with pytest.raises(SkipwiseError, match="belongs to another base"):
        Transcriber(model, gates=adapter)


def test_gates_name_the_base_that_they_run_on(dense_folder: Path, gated_folder: Path, tmp_path: Path) -> None:
    adapter = GateAdapter.from_pretrained(gated_folder / "gates")
    adapter.notes["base"] = str(dense_folder)
    adapter.save_pretrained(tmp_path / "gates")
    audio = (tone(1.2), RATE)
    expected = Transcriber(dense_folder, gates=tmp_path / "gates", options=SHORT).transcribe(audio, language="de")
    named = Transcriber(gates=tmp_path / "gates", options=SHORT)
    assert named.model.name == str(dense_folder)
    assert_same(named.transcribe(audio, language="de"), expected)
    adapter.notes["base"] = str(tmp_path / "gone")
    adapter.save_pretrained(tmp_path / "gates")
    with pytest.raises(SkipwiseError, match="gone"):
        Transcriber(gates=tmp_path / "gates")
    adapter.notes["base"] = "reference"
    adapter.save_pretrained(tmp_path / "gates")
    with pytest.raises(SkipwiseError, match="belongs to another base"):  # those of a tiny model
        Transcriber(gates=tmp_path / "gates")


def test_a_model_in_training_mode_is_refused(dense_folder: Path) -> None:
    model = load_owsm(dense_folder)
    model.network.train()
    with pytest.raises(SkipwiseError, match=r"in training mode.*eval"):
        Transcriber(model)


def test_long_audio_is_cut_into_windows_that_cover_it(gated_transcriber: Transcriber) -> None:
    audio = (tone(7.3), RATE)
    transcript = gated_transcriber.transcribe(audio, language="de")
    starts, ends = [s.start_s for s in transcript.segments], [s.end_s for s in transcript.segments]
    assert starts == [0.0, *ends[:-1]] and ends[-1] == pytest.approx(7.3)
    assert len(starts) >= 4 and all(end - start <= 2.0 for start, end in zip(starts, ends, strict=True))
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    samples = audio[0][round(starts[1] * RATE) : round(ends[1] * RATE)]
    alone = gated_transcriber.transcribe((samples, RATE), language="de")
    assert alone.segments[0].tokens == transcript.segments[1].tokens


def test_a_long_stream_is_decoded_as_it_is_read(
    gated_transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_read, read_when_decoding = 0, []
    held: list[list[weakref.ref[torch.Tensor]]] = []

    def endless(_: object) -> Iterator[np.ndarray]:
        nonlocal num_read
        for index in range(24):
            num_read += 1
            yield tone(1.0, seed=index)

    extract = gated_transcriber.model.network.extract

    def spy(waveforms: list[torch.Tensor]) -> object:
        read_when_decoding.append(num_read)
        assert not any(samples() is not None for batch in held[:-1] for samples in batch), "decoded audio is kept"
        held.append([weakref.ref(samples) for samples in waveforms])
        return extract(waveforms)

    monkeypatch.setattr(skipwise.pipeline, "stream_audio", endless)
    monkeypatch.setattr(gated_transcriber.model.network, "extract", spy)
    transcript = next(gated_transcriber.transcribe_many([Request("day.flac", "de")], batch_s=4.0))
    assert transcript.segments[-1].end_s == pytest.approx(24.0)
    assert read_when_decoding[0] <= 9 and max(np.diff(read_when_decoding)) <= 6


def test_many_requests_come_out_in_order_and_as_each_alone(
    gated_transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [("de", "asr"), ("eng", "st_eng"), ("fra", "asr"), ("deu", "st_eng"), ("en", "asr"), ("fr", "st_eng")]
    lengths_s = (0.8, 1.9, 5.0, 0.02 + 0.01, 1.4, 1.0)
    requests = [Request((tone(length_s, seed=i), RATE), *tasks[i]) for i, length_s in enumerate(lengths_s)]
    alone = [
        gated_transcriber.transcribe(request.audio, language=request.language, task=request.task)
        for request in requests
    ]
    num_rows = []
    encode = gated_transcriber.engine.encode

    def spy(embedded: object, plan: GatePlan) -> object:
        num_rows.append(plan.num_rows)
        return encode(embedded, plan)  # pyrefly: ignore[bad-argument-type]

    monkeypatch.setattr(gated_transcriber.engine, "encode", spy)
    for batch_s, expected_batches in ((120.0, 1), (4.0, 5), (0.1, 9)):
        num_rows.clear()
        found = list(gated_transcriber.transcribe_many(iter(requests), batch_s=batch_s))
        for transcript, expected in zip(found, alone, strict=True):
            assert_same(transcript, expected)
        assert sum(num_rows) == sum(len(transcript.segments) for transcript in alone)
        assert len(num_rows) <= expected_batches
    assert max(num_rows) == 1, "windows longer than batch_s go alone"
    assert len({round(transcript.segments[0].score, 1) for transcript in alone}) == len(alone), (
        "else order proves nothing"
    )
    assert len({frozenset(closed_of(transcript)) for transcript in alone}) > 2


def test_requests_are_read_as_they_are_needed(gated_transcriber: Transcriber) -> None:
    asked = []

    def requests() -> Iterator[Request]:
        for seed in range(6):
            asked.append(seed)
            yield Request((tone(1.0, seed=seed), RATE), "de")

    transcripts = gated_transcriber.transcribe_many(requests(), batch_s=2.0)
    next(transcripts)
    assert len(asked) <= 5
    assert len(list(transcripts)) == 5
    assert list(gated_transcriber.transcribe_many([])) == []


def test_a_part_of_a_file_is_that_part_and_keeps_the_files_times(
    gated_transcriber: Transcriber, tmp_path: Path
) -> None:
    samples = tone(4.0)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    request = Request(tmp_path / "a.wav", "de", start_s=1.0, end_s=2.5)
    part = next(gated_transcriber.transcribe_many([request]))
    cut = gated_transcriber.transcribe((samples[RATE : RATE * 5 // 2], RATE), language="de")
    assert (part.segments[0].start_s, part.segments[-1].end_s) == (1.0, 2.5)
    assert part.text == cut.text
    assert part.timings.audio_s == pytest.approx(1.5)


def test_silence_gives_an_empty_text_and_a_warning_and_is_not_decoded(
    gated_transcriber: Transcriber, tmp_path: Path
) -> None:
    path = tmp_path / "empty room.wav"
    soundfile.write(path, np.zeros(5 * RATE, np.float32), RATE)
    with pytest.warns(SkipwiseWarning, match=r"empty room\.wav is silent from 0\.0 to 5\.0 s: nothing was decoded"):
        transcript = gated_transcriber.transcribe(path, language="de")
    assert transcript.text == "" and transcript.sparsity == {}
    assert transcript.timings.total_s == 0 and transcript.timings.audio_s == pytest.approx(5.0)
    assert transcript.to_dict()["segments"][0] == {
        "start": 0.0,
        "end": 2.0,
        "text": "",
        "language": "deu",
        "score": 0.0,
        "finished": True,
        "closed": [],
    }


def test_a_silent_stretch_is_named_and_the_rest_is_decoded(gated_transcriber: Transcriber) -> None:
    samples = np.concatenate([tone(2.0), np.zeros(6 * RATE, np.float32), tone(1.0, seed=1)])
    with pytest.warns(SkipwiseWarning, match=r"the given audio is silent from [12]\.\d to [67]\.\d s: "):
        found = list(
            gated_transcriber.transcribe_many([Request((samples, RATE), "de"), Request((tone(1.0), RATE), "de")])
        )
    assert found[0].segments[0].text and found[0].segments[-1].text
    assert not all(segment.text for segment in found[0].segments)
    assert found[0].segments[-1].end_s == pytest.approx(9.0)
    assert_same(found[1], gated_transcriber.transcribe((tone(1.0), RATE), language="de"))


def test_a_model_with_a_fixed_window_hears_its_padding(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", window_s=30.0)
    seen = []
    model.network.encoder.register_forward_hook(lambda _, __, encoded: seen.append(encoded))
    transcript = Transcriber(model, options=SHORT).transcribe((tone(1.0), RATE), language="de")
    assert transcript.text and transcript.segments[0].end_s == pytest.approx(1.0)
    assert seen[0].states.shape[1] == 749 == int(seen[0].num_frames) and int(seen[0].num_real_frames) < 30
    long = Transcriber(model, options=SHORT).transcribe((tone(31.0), RATE), language="de")
    assert [encoded.states.shape[0] for encoded in seen] == [1, 2]
    assert long.segments[-1].end_s == pytest.approx(31.0)


def test_two_and_three_letter_codes_name_the_same_language(gated_transcriber: Transcriber) -> None:
    audio = (tone(1.0), RATE)
    deu = gated_transcriber.transcribe(audio, language="deu")
    assert deu.language == "deu"
    assert_same(gated_transcriber.transcribe(audio, language="de"), deu)
    assert gated_transcriber.languages == ("deu", "eng", "fra") and gated_transcriber.tasks == ("asr", "st_eng")


@pytest.mark.parametrize(
    ("language", "task", "message"),
    [
        ("pl", "asr", r"does not know the language 'pol'\. It knows: deu, eng, fra"),
        ("klingon", "asr", r"does not know the language 'klingon'\. It knows: deu, eng, fra"),
        ("de", "st_fra", r"does not know the task 'st_fra'\. It knows: asr, st_eng"),
    ],
)
def test_an_unknown_language_or_task_names_those_that_the_model_knows(
    gated_transcriber: Transcriber, language: str, task: str, message: str
) -> None:
    with pytest.raises(SkipwiseError, match=message):
        gated_transcriber.transcribe((tone(1.0), RATE), language=language, task=task)


def test_an_adapter_of_another_base_is_refused(gated_folder: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    for gates in (gated_folder / "gates", GateAdapter.from_pretrained(gated_folder / "gates")):
        with pytest.raises(SkipwiseError, match="belongs to another base"):
            Transcriber(other.folder, gates=gates)


def test_a_plan_that_does_not_fit_is_refused(dense_folder: Path) -> None:
    plan = GatePlan.all_open(load_owsm(dense_folder).network.config.gate_sites(), num_rows=2)
    with pytest.raises(SkipwiseError, match="must have one row, which every input follows; got 2"):
        Transcriber(dense_folder, gates=plan)
    renamed = tuple(dataclasses.replace(site, layer=site.layer + 1) for site in plan.sites)
    with pytest.raises(SkipwiseError, match=r"no site encoder\.2\.ffn1.*Its sites: encoder\.0\.ffn1"):
        Transcriber(dense_folder, gates=GatePlan.all_open(renamed))


@pytest.mark.parametrize("name", ["model.safetensors", "gates/gate_model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_weights_are_named(gated_folder: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    shutil.copytree(gated_folder, tmp_path / "model")
    damaged = tmp_path / "model" / name
    damaged.write_bytes(damaged.read_bytes()[:-100] if content is None else content)
    with pytest.raises(SkipwiseError, match=f"cannot read .*{Path(name).name}"):
        Transcriber(tmp_path / "model")


def test_what_is_not_there_is_named(dense_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SkipwiseError, match=r"no model at .*nowhere"):
        Transcriber(tmp_path / "nowhere")
    with pytest.raises(SkipwiseError, match=r"config\.json is missing"):
        Transcriber(tmp_path)
    with pytest.raises(SkipwiseError, match=r"no gate adapter at .*nowhere"):
        Transcriber(dense_folder, gates=tmp_path / "nowhere")
    with pytest.raises(SkipwiseError, match=r"gate_config\.json is missing"):
        Transcriber(dense_folder, gates=tmp_path)
    monkeypatch.setattr(skipwise.pipeline, "files", lambda _: tmp_path)
    with pytest.raises(SkipwiseError, match=r"no reference model: .*reference is missing"):
        Transcriber()


def test_the_reference_model_is_the_default(
    dense_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(dense_folder, tmp_path / "assets" / "reference")
    monkeypatch.setattr(skipwise.pipeline, "files", lambda _: tmp_path)
    assert Transcriber().model.folder == tmp_path / "assets" / "reference"


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_refused(dense_folder: Path, device: str) -> None:
    with pytest.raises(SkipwiseError, match=f"cannot compute on device '{device}'"):
        Transcriber(dense_folder, device=device)


def test_a_batch_of_no_length_is_refused(gated_transcriber: Transcriber) -> None:
    with pytest.raises(SkipwiseError, match=r"batch_s must be above 0 seconds, got 0\.0"):
        next(gated_transcriber.transcribe_many([Request((tone(1.0), RATE), "de")], batch_s=0.0))


def test_broken_audio_names_itself(gated_transcriber: Transcriber, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no sound here, only text")
    with pytest.raises(SkipwiseError, match=r"note\.txt is not audio"):
        gated_transcriber.transcribe(tmp_path / "note.txt", language="de")


def test_the_shortest_audio_and_a_word_of_it_pass(gated_transcriber: Transcriber) -> None:
    transcript = gated_transcriber.transcribe((tone(0.025), RATE), language="de")
    assert len(transcript.segments) == 1
