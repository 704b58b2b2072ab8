"""transformers' `generate()` and pipelines over a gated Whisper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutomaticSpeechRecognitionPipeline, WhisperForConditionalGeneration

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GatePlan
from skipwise.models.attach import attach, detach, gated, planner_of
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.asked import Asked
from tests.conformance.test_whisper import AUDIO, WhisperCase, positions_of
from tests.tiny import tone
from tests.tiny_whisper import (
    attach_gates_that_read,
    features_of,
    tiny_extractor,
    tiny_generation_config,
    tiny_tokenizer,
    tiny_whisper,
    token,
)

ASKED: dict[str, Any] = {"language": ["de", "fr", "en"], "task": "transcribe"}
GERMAN: dict[str, Any] = {"language": "de", "task": "transcribe"}

CLOSED = (
    ("decoder.0.self_attn",),
    ("decoder.0.self_attn", "decoder.1.self_attn", "decoder.2.self_attn"),
    ("decoder.0.src_attn", "encoder.0.ffn"),
    ("decoder.2.ffn", "encoder.1.self_attn"),
)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _plan(model: WhisperForConditionalGeneration, *closed: str) -> GatePlan:
    return GatePlan.closing(stacks.gate_sites(model), closed)


def _generated(model: Any, features: Tensor, **kwargs: Any) -> Any:
    return model.generate(features, **kwargs)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("closed", CLOSED, ids=lambda closed: closed[0])
def test_with_a_cache_and_without_the_tokens_are_the_same(closed: tuple[str, ...], num_beams: int):
    model, features = tiny_whisper(), features_of(AUDIO)
    asked = {**ASKED, "num_beams": num_beams, "max_new_tokens": 12}
    base = _generated(model, features, **asked)
    with gated(model, _plan(model, *closed)):
        cached = _generated(model, features, **asked)
        again = _generated(model, features, **asked, use_cache=False)
    assert torch.equal(cached, again)
    assert not torch.equal(cached, base)
    assert torch.equal(_generated(model, features, **asked), base)


def test_a_static_cache_does_too():
    model, features = tiny_whisper(), features_of(AUDIO)
    asked = {**ASKED, "max_new_tokens": 8}
    for plan in (_plan(model, "decoder.0.self_attn", "decoder.1.src_attn"), WhisperCase().random_plan(model, seed=2)):
        with gated(model, plan):
            found = _generated(model, features, **asked, cache_implementation="static")
            assert torch.equal(found, _generated(model, features, **asked))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_each_row_of_a_batch_follows_its_own_plan(num_beams: int):
    model, features = tiny_whisper(), features_of(AUDIO)
    plan = WhisperCase().random_plan(model, seed=2)
    asked = {"task": "transcribe", "num_beams": num_beams, "max_new_tokens": 12}
    with gated(model, plan):
        together = _generated(model, features, language=ASKED["language"], **asked)
    for row, language in enumerate(ASKED["language"]):
        with gated(model, plan.row(row)):
            alone = _generated(model, features[row : row + 1], language=language, **asked)[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_adapter_decides_for_each_row_alone_as_in_a_batch(num_beams: int):
    model, features = tiny_whisper(), features_of(AUDIO)
    WhisperCase().attach_random_gates(model)
    asked = {"task": "transcribe", "num_beams": num_beams, "max_new_tokens": 12}
    together = _generated(model, features, language=ASKED["language"], **asked)
    for row, language in enumerate(ASKED["language"]):
        alone = _generated(model, features[row : row + 1], language=language, **asked)[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()
    detach(model)
    assert not torch.equal(_generated(model, features, **ASKED, num_beams=num_beams, max_new_tokens=12), together)


def test_gates_hear_the_language_and_the_task_before_the_encoder_runs():
    model, features = tiny_whisper(), features_of(AUDIO)
    attach_gates_that_read(model, "language", "task")
    contexts = [Context(language="fra", task="st_eng")] * 3
    of_encoder = planner_of(model).encoder(contexts, torch.zeros(3, 32))
    of_decoder = planner_of(model).decoder(contexts, torch.zeros(3, 32))
    assert isinstance(of_encoder, GatePlan) and isinstance(of_decoder, GatePlan)
    plan = of_encoder.join(of_decoder)
    found = _generated(model, features, language="french", task="translate")
    french = tiny_generation_config(language="fr", task="translate")
    assert torch.equal(model.generate(features, french), found)
    other = _generated(model, features, language="de", task="translate")
    detach(model)
    with gated(model, plan):
        assert torch.equal(_generated(model, features, language="fr", task="translate"), found)
        assert not torch.equal(_generated(model, features, language="de", task="translate"), other)


def test_a_closed_site_is_not_executed_while_generating():
    model, features = tiny_whisper(), features_of(AUDIO)
    case, sites = WhisperCase(), stacks.gate_sites(model)
    closed = ("decoder.0.self_attn", "decoder.1.src_attn", "decoder.2.ffn", "encoder.0.self_attn")
    with gated(model, _plan(model, *closed)), positions_of([case.modules(model, site)[0] for site in sites]) as ran:
        _generated(model, features, **ASKED, max_new_tokens=5)
    for site, counts in zip(sites, ran, strict=True):
        assert bool(counts) == (str(site) not in closed), site


def test_the_language_is_detected_under_gates():
    model, features = tiny_whisper(), features_of(AUDIO)
    with gated(model, _plan(model, "encoder.0.ffn", "decoder.0.self_attn")):
        detected = [int(model.detect_language(features[row : row + 1])) for row in range(3)]
        found = _generated(model, features, task="transcribe")
        languages = [str(tiny_tokenizer().convert_ids_to_tokens(index))[2:-2] for index in detected]
        assert torch.equal(_generated(model, features, language=languages, task="transcribe"), found)


# --- pipelines, long recordings, timestamps


def _pipeline(model: WhisperForConditionalGeneration) -> AutomaticSpeechRecognitionPipeline:
    parts: dict[str, Any] = {"feature_extractor": tiny_extractor(), "tokenizer": tiny_tokenizer(), "device": "cpu"}
    return AutomaticSpeechRecognitionPipeline(model, **parts)


def _heard(model: WhisperForConditionalGeneration, audio: np.ndarray, **kwargs: Any) -> Any:
    return _pipeline(model)({"raw": audio.copy(), "sampling_rate": 16_000}, **kwargs)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"return_timestamps": True},
        {"return_timestamps": "word"},
        {"chunk_length_s": 1, "stride_length_s": 0.2, "batch_size": 2},
    ],
    ids=["text", "segments", "words", "chunks"],
)
def test_a_pipeline_runs_with_gates_forced_and_attached(asked: dict[str, Any]):
    model, audio = tiny_whisper(), tone(2.3 if "chunk_length_s" in asked else 0.9, seed=4)
    asked = {**asked, "generate_kwargs": {**GERMAN, "max_new_tokens": 12}}
    if "return_timestamps" not in asked:  # nothing but letters
        model.generation_config.suppress_tokens = list(range(token("endoftext") + 1, model.config.vocab_size))
    base = _heard(model, audio, **asked)
    with gated(model, _plan(model, "decoder.0.self_attn", "decoder.2.src_attn", "encoder.0.self_attn")):
        forced = _heard(model, audio, **asked)
    attach_gates_that_read(model, "language", seed=5)
    attached = _heard(model, audio, **asked)
    assert detach(model) is not None
    assert forced["text"] != base["text"] and attached["text"] != base["text"]
    assert _heard(model, audio, **asked) == base


def test_a_long_recording_is_transcribed_window_by_window():
    model = tiny_whisper()
    extractor: Any = tiny_extractor()
    long = [tone(2.6, seed=6), tone(1.4, seed=7)]
    inputs = extractor(
        long, sampling_rate=16_000, return_tensors="pt", truncation=False, padding="longest", return_attention_mask=True
    )
    asked = {
        "attention_mask": inputs.attention_mask,
        "return_timestamps": True,
        "condition_on_prev_tokens": True,
        **GERMAN,
    }
    base = _generated(model, inputs.input_features, **asked)
    WhisperCase().attach_random_gates(model, seed=1)
    found = _generated(model, inputs.input_features, **asked)
    assert found.shape[0] == 2 and not torch.equal(found, base)
    with gated(model, _plan(model)):
        assert torch.equal(_generated(model, inputs.input_features, **asked), base)


def test_each_window_of_a_long_recording_is_heard_in_its_rows_language():
    model, extractor = tiny_whisper(), tiny_extractor()
    loose: Any = extractor
    long = [tone(1.9, seed=6), tone(1.9, seed=7)]
    inputs = loose(long, sampling_rate=16_000, return_tensors="pt", truncation=False, return_attention_mask=True)
    attach_gates_that_read(model, "language", seed=1)
    asked: dict[str, Any] = {"task": "transcribe", "return_timestamps": True, "max_new_tokens": 10}

    def segments(rows: slice, language: str | list[str]) -> list[list[list[int]]]:
        found = _generated(
            model,
            inputs.input_features[rows],
            attention_mask=inputs.attention_mask[rows],
            language=language,
            return_segments=True,
            **asked,
        )
        return [[segment["tokens"].tolist() for segment in row] for row in found["segments"]]

    # as long as both rows have windows left
    together = segments(slice(0, 2), ["de", "fr"])
    alone = [segments(slice(row, row + 1), language)[0] for row, language in enumerate(("de", "fr"))]
    swapped = [segments(slice(row, row + 1), language)[0] for row, language in enumerate(("fr", "de"))]
    assert [len(row) for row in together] == [len(row) for row in alone]
    assert together == alone != swapped


def test_rows_that_end_early_need_one_language():
    asked = Asked(languages=("deu", "fra"), task="asr")
    assert [context.language for context in asked.contexts(2)] == ["deu", "fra"]
    assert [context.language for context in asked.contexts(4)] == ["deu", "deu", "fra", "fra"]  # return sequences
    with pytest.raises(SkipwiseError, match=r"2 languages were given for 1 rows.*one language to a call"):
        asked.contexts(1)


def test_words_are_timed_where_their_source_attention_is_open():
    model, features = tiny_whisper(), features_of(AUDIO)
    asked = {**ASKED, "return_token_timestamps": True, "max_new_tokens": 8}
    base = _generated(model, features, **asked)
    with gated(model, _plan(model, "decoder.0.src_attn", "decoder.2.src_attn", "decoder.0.self_attn")):
        found = _generated(model, features, **asked)
    assert found["token_timestamps"].shape == found["sequences"].shape
    assert bool(found["token_timestamps"].isfinite().all())
    assert not torch.equal(found["sequences"], base["sequences"])
    with (
        gated(model, _plan(model, "decoder.1.src_attn")),
        pytest.raises(SkipwiseError, match=r"gates close: decoder.1.src_attn. Keep open: decoder.1.src_attn"),
    ):
        _generated(model, features, **asked)


def test_collected_attentions_have_a_place_for_every_layer():
    model, features = tiny_whisper(), features_of(AUDIO)
    model.set_attn_implementation("eager")
    case = WhisperCase()
    tokens, plan = case.tokens(model, case.rows), case.random_plan(model, seed=2)
    asked: dict[str, Any] = {"decoder_input_ids": tokens, "output_attentions": True, "output_hidden_states": True}
    base = model(features, **asked)
    with gated(model, plan):
        found = model(features, **asked)
    for name in ("encoder_attentions", "decoder_attentions", "cross_attentions", "decoder_hidden_states"):
        shapes = [tuple(layer.shape) for layer in base[name]]
        assert [tuple(layer.shape) for layer in found[name]] == shapes, name
    columns = {str(site): column for column, site in enumerate(plan.sites)}
    for layer, weights in enumerate(found.cross_attentions):
        is_open = plan.gates[:, columns[f"decoder.{layer}.src_attn"]]
        assert torch.equal(weights.sum(dim=(1, 2, 3)) > 0, is_open)


def test_outputs_can_be_returned_as_a_whole_with_source_attention_closed():
    model, features = tiny_whisper(), features_of(AUDIO)
    with gated(model, _plan(model, "decoder.0.src_attn", "decoder.1.self_attn")):
        found: Any = _generated(model, features, **ASKED, return_dict_in_generate=True, force_unique_generate_call=True)
        plain = _generated(model, features, **ASKED)
    assert token("endoftext") not in plain[0, :5].tolist()
    assert found.sequences[:, -plain.shape[1] :].tolist() == plain.tolist()
    assert found.past_key_values is not None


def test_a_saved_gated_model_is_the_base(tmp_path: Any):
    model = tiny_whisper()
    attach_gates_that_read(model, "language")
    model.save_pretrained(tmp_path)
    again = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    detach(model)
    assert list(again.state_dict()) == list(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_an_assistant_of_the_same_weights_speaks_the_same_words():
    """Speculative decoding: drafts of the pruned model, checked by the dense one, are the dense model's words."""
    model, draft, features = tiny_whisper(), tiny_whisper(), features_of(AUDIO[:1])
    asked = {**GERMAN, "max_new_tokens": 12}
    expected = _generated(model, features, **asked)
    with gated(draft, _plan(draft, "decoder.0.self_attn", "encoder.0.ffn")):
        found = _generated(model, features, assistant_model=draft, **asked)
    assert found[0, -expected.shape[1] :].tolist() == expected[0].tolist()


def test_attach_twice_generates_as_once():
    model, features = tiny_whisper(), features_of(AUDIO)
    adapter = attach_gates_that_read(model, "language")
    once = _generated(model, features, **ASKED)
    detach(model)
    attach(model, adapter)
    assert torch.equal(_generated(model, features, **ASKED), once)
