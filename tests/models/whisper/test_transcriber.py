"""The whole flow over a folder of a transformers Whisper: `Transcriber` and `skipwise transcribe`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from transformers import GenerationConfig, WhisperForConditionalGeneration
from typer.testing import CliRunner

from skipwise.cli.main import app
from skipwise.decoding import DecodeOptions
from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter, GateConfig, GatePlan, MlpPredictorConfig
from skipwise.gating.predictors import StepMlpPredictor
from skipwise.models.attach import attach, detach, gated
from skipwise.models.loading import load_model, model_type
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.vocabulary import WhisperVocabulary
from skipwise.models.whisper.words import iso639_3
from skipwise.pipeline import Transcriber
from tests.tiny import tone
from tests.tiny_whisper import (
    attach_gates_that_read,
    features_of,
    save_tiny_whisper,
    tiny_generation_config,
    tiny_tokenizer,
    tiny_whisper,
    token,
)

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says nothing but letters, with gates beside it."""
    model = tiny_whisper()
    silent = [*range(token("endoftext") + 1, token("startoftranscript")), *range(token("translate"), 1769)]
    model.generation_config = tiny_generation_config(suppress_tokens=silent, begin_suppress_tokens=None)
    made = save_tiny_whisper(tmp_path_factory.mktemp("whisper") / "model", model)
    attach_gates_that_read(model, "language", "task", seed=3).save_pretrained(made / "gates")
    detach(model)
    return made


def _theirs(folder: Path, audio: Any, plan: GatePlan | None = None, **asked: Any) -> str:
    model: Any = WhisperForConditionalGeneration.from_pretrained(folder)
    tokenizer = tiny_tokenizer()
    with torch.no_grad(), gated(model, GatePlan.all_open(stacks.gate_sites(model)) if plan is None else plan):
        tokens = model.generate(features_of([audio]), max_new_tokens=20, **asked)
    return str(tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()


def test_a_folder_of_a_whisper_is_transcribed_as_transformers_does(folder: Path):
    audio = tone(0.9, seed=1)
    transcriber = Transcriber(folder, gates="none")
    assert (transcriber.languages, transcriber.tasks) == (("deu", "eng", "fra", "nor"), ("asr", "st_eng"))
    found = transcriber.transcribe((audio, RATE), language="de", task="asr")
    assert found.text and found.text == _theirs(folder, audio, language="de", task="transcribe")
    other = transcriber.transcribe((audio, RATE), language="fr", task="st_eng")
    assert other.text == _theirs(folder, audio, language="fr", task="translate") != found.text
    assert found.segments[0].plan.sparsity() == 0


def test_gates_beside_the_model_decide_as_in_transformers(folder: Path):
    audio = tone(0.8, seed=2)
    found = Transcriber(folder).transcribe((audio, RATE), language="fr", task="st_eng")
    model: Any = WhisperForConditionalGeneration.from_pretrained(folder)
    attach(model, folder / "gates")
    tokens = model.generate(features_of([audio]), language="fr", task="translate", max_new_tokens=20)
    assert found.text == str(tiny_tokenizer().decode(tokens[0], skip_special_tokens=True)).strip()
    dense = Transcriber(folder, gates=None).transcribe((audio, RATE), language="fr", task="st_eng")
    assert found.text != dense.text
    assert 0 < found.segments[0].plan.sparsity() < 1


def test_a_batch_and_a_long_recording_are_cut_into_windows(folder: Path):
    transcriber = Transcriber(folder, options=DecodeOptions(beam_size=2))
    long = transcriber.transcribe((tone(2.7, seed=5), RATE), language="en")
    assert len(long.segments) >= 3 and long.language == "eng"
    assert all(segment.end_s - segment.start_s <= 1.0 for segment in long.segments)
    unknown = transcriber.transcribe((tone(0.6, seed=6), RATE))
    assert unknown.language in transcriber.languages


def test_timestamps_are_sentences(folder: Path, tmp_path: Path):
    model = tiny_whisper()
    made = save_tiny_whisper(tmp_path / "timed", model)
    found = Transcriber(made, options=DecodeOptions(timestamps=True)).transcribe(
        (tone(0.9, seed=1), RATE), language="de"
    )
    tokens = found.segments[0].tokens
    assert any(t > token("notimestamps") for t in tokens)
    assert all(0 <= s.start_s <= s.end_s <= 0.9 for s in found.segments[0].sentences)


def test_the_command_line_takes_the_folder_too(folder: Path, tmp_path: Path):
    audio = tone(0.9, seed=1)
    soundfile.write(tmp_path / "a.wav", audio, RATE, subtype="FLOAT")
    arguments = ["transcribe", str(tmp_path / "a.wav"), "--model", str(folder), "--language", "de", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["language"] == "deu" and record["text"]
    expected = Transcriber(folder).transcribe(tmp_path / "a.wav", language="de")
    assert record["text"] == expected.text


def test_a_sparsity_is_met_exactly(folder: Path):
    transcriber = Transcriber(folder, sparsity=1 / 3, exact=True)
    found = transcriber.transcribe((tone(0.9, seed=1), RATE), language="de")
    plan = found.segments[0].plan
    assert plan.sparsity("decoder") == pytest.approx(1 / 3)
    assert plan.sparsity("encoder") == pytest.approx(1 / 4)  # of 4 sites


def test_fp16_packed_weights_say_the_same(folder: Path):
    texts = [
        Transcriber(folder, dtype=dtype).transcribe((tone(0.9, seed=1), RATE), language="de").text
        for dtype in ("fp32", "fp16-packed")
    ]
    assert texts[0] == texts[1] != ""


def test_what_is_no_whole_whisper_is_one_clear_error(folder: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(SkipwiseError, match=r"cannot read the Whisper in .*save_pretrained"):
        load_model(broken)
    shutil.copy(folder / "model.safetensors", broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "decoder_layers": 4}))
    with pytest.raises(SkipwiseError, match=r"the weights in .* lack keys: model.decoder.layers.3"):
        load_model(broken)
    assert model_type(broken) == "whisper" and model_type(tmp_path) is None
    (tmp_path / "config.json").write_text("[]")
    assert model_type(tmp_path) is None


def test_an_adapter_of_an_owsm_is_refused(folder: Path):
    gates = GateAdapter.from_pretrained(folder / "gates")
    other = GateAdapter.from_pretrained(Path("src/skipwise/assets/reference/gates"))
    assert gates.base.family == "whisper"
    with pytest.raises(SkipwiseError, match=r"it names owsm .*, the model is whisper"):
        Transcriber(folder, gates=other)


def test_previous_text_begins_with_a_space():
    vocabulary = WhisperVocabulary(tiny_tokenizer())
    assert vocabulary.encode_previous("Ja, Ä") == vocabulary.encode(" Ja, Ä")
    assert vocabulary.decode([*vocabulary.encode(" Ja"), token("endoftext"), token("0.00")]) == " Ja"


def test_every_language_of_whisper_has_three_letters():
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    codes = {code: iso639_3(code) for code in LANGUAGES}
    assert all(len(code) == 3 for code in codes.values())
    assert (codes["no"], codes["jw"], codes["haw"], codes["yue"]) == ("nor", "jav", "haw", "yue")
    assert iso639_3("<|de|>") == iso639_3("German") == iso639_3("deu") == "deu"


def test_a_generation_config_that_is_missing_is_told(tmp_path: Path):
    model = tiny_whisper()
    model.generation_config = GenerationConfig(decoder_start_token_id=token("startoftranscript"))
    made = save_tiny_whisper(tmp_path / "bare", model)
    with pytest.raises(SkipwiseError, match="Take that of the published model"):
        Transcriber(made)


def test_gates_of_every_step_are_followed_by_our_engine_and_not_by_generate(folder: Path):
    model = tiny_whisper()
    torch.manual_seed(0)
    config = GateConfig(granularity="step", predictor=MlpPredictorConfig(open_bias=0.0, output_std=1.0))
    adapter = attach(model, config).eval()
    predictor = adapter.predictor("decoder")
    assert isinstance(predictor, StepMlpPredictor)
    torch.nn.init.normal_(predictor.token.weight)
    with pytest.raises(SkipwiseError, match=r"followed by our own engine, Transcriber .* not by .*generate"):
        model.generate(features_of([tone(1.5)]), max_new_tokens=4, language="de", task="transcribe")
    detach(model)
    transcriber = Transcriber(folder, gates=adapter, options=DecodeOptions(max_length_ratio=-12))
    segment = transcriber.transcribe((tone(1.5), RATE), language="de").segments[0]
    assert segment.predicting_plan is not None
    assert 0 < segment.predicting_plan.sparsity() < 1
    assert len(segment.predicting_plan.gates[0].unique(dim=0)) > 1, "steps differ"
