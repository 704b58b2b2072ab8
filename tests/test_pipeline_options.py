"""What decoding options do to a transcript, on a tiny random model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skipwise.decoding import DecodeOptions, predict_language
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import GateConfig, MlpPredictorConfig
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.models.attach import attach
from skipwise.models.owsm.loading import OwsmModel
from skipwise.pipeline import Request, Transcriber
from tests.tiny import attach_random_gates, tiny_model, tone

RATE = 16_000
AUDIO = (tone(1.5), RATE)
LONG = (np.concatenate([tone(1.8, seed=3), tone(1.7, seed=4), tone(1.9, seed=5)]), RATE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OwsmModel:
    """Windows of at most 2 s; gates that depend on the language."""
    model = tiny_model(tmp_path_factory.mktemp("model") / "model", max_window_s=2.0)
    attach_random_gates(model.network)
    return model


def transcriber(model: OwsmModel, **options: object) -> Transcriber:
    return Transcriber(model, options=DecodeOptions(**{"max_length_ratio": -6, **options}))  # pyrefly: ignore


def test_a_language_that_is_not_given_is_predicted_and_then_decides_prompt_and_gates(model: OwsmModel) -> None:
    unknowing = transcriber(model)
    for seed in range(4):
        audio = (tone(1.5, seed=seed), RATE)
        found = unknowing.transcribe(audio)
        told = unknowing.transcribe(audio, language=found.language)
        assert found.segments[0].language == found.language == told.language
        # the encoder's plan is decided before the language is known
        assert found.segments[0].plan.of_stack("decoder").closed() == told.segments[0].plan.of_stack("decoder").closed()
        assert found.segments[0].num_prompt_tokens == told.segments[0].num_prompt_tokens == 4
    dense = Transcriber(model, gates="none", options=DecodeOptions(max_length_ratio=-6))
    found = dense.transcribe(AUDIO)
    assert found.segments[0].tokens == dense.transcribe(AUDIO, language=found.language).segments[0].tokens
    others = [dense.transcribe(AUDIO, language=language) for language in dense.languages if language != found.language]
    assert any(other.segments[0].score != found.segments[0].score for other in others)
    encoded = model.network.encode(model.network.embed(model.network.extract([torch.tensor(AUDIO[0])])))
    assert found.language == dense.languages[int(predict_language(dense.engine, encoded).argmax())]


def test_given_and_unknown_languages_share_a_batch(model: OwsmModel) -> None:
    requests = [
        Request(AUDIO),
        Request(AUDIO, "fr"),
        Request((tone(1.2, seed=1), RATE)),
        Request(AUDIO, "de", "st_eng"),
    ]
    together = list(transcriber(model).transcribe_many(requests))
    for request, found in zip(requests, together, strict=True):
        alone = transcriber(model).transcribe(request.audio, language=request.language, task=request.task)
        assert (found.language, found.text) == (alone.language, alone.text)
    assert together[1].language == "fra"


def test_the_language_of_silence_is_undetermined_and_of_a_recording_that_of_most_seconds(model: OwsmModel) -> None:
    with pytest.warns(SkipwiseWarning, match="silent"):
        found = transcriber(model).transcribe((np.zeros(RATE, np.float32), RATE))
    assert found.language == "und" and found.segments[0].language is None
    found = transcriber(model).transcribe(LONG)
    seconds = {segment.language: 0.0 for segment in found.segments}
    for segment in found.segments:
        seconds[segment.language] += segment.end_s - segment.start_s
    assert seconds[found.language] == max(seconds.values())


def test_timestamps_give_sentences_in_the_time_of_the_file(model: OwsmModel) -> None:
    with torch.no_grad():  # each timestamp is followed by another: sentences need words between them
        found = transcriber(model, timestamps=True, max_length_ratio=-12).transcribe(LONG, language="de")
    config = model.network.config
    assert len(found.segments) > 1
    for segment in found.segments:
        assert segment.num_prompt_tokens == 3
        assert config.first_timestamp_token_id <= segment.tokens[0] <= config.last_timestamp_token_id
        for sentence in segment.sentences:
            assert segment.start_s <= sentence.start_s <= sentence.end_s <= segment.end_s
            assert sentence.text in segment.text
    sentences = [sentence for segment in found.segments for sentence in segment.sentences]
    assert sentences
    record = json.loads(json.dumps(found.to_dict()))
    written = [sentence for segment in record["segments"] for sentence in segment.get("sentences", [])]
    assert [sentence["text"] for sentence in written] == [sentence.text for sentence in sentences]
    plain = transcriber(model).transcribe(LONG, language="de")
    assert not any(segment.sentences for segment in plain.segments)
    assert not any("sentences" in segment for segment in plain.to_dict()["segments"])


def test_a_previous_text_stands_before_the_prompt_of_the_first_window(model: OwsmModel) -> None:
    text = "the report"
    pieces = len(model.vocabulary.encode(text))
    plain = transcriber(model).transcribe(LONG, language="de")
    found = transcriber(model).transcribe(LONG, language="de", previous_text=text)
    assert [segment.num_prompt_tokens for segment in found.segments] == [4 + 1 + pieces, 4, 4][: len(found.segments)]
    assert found.segments[0].score != plain.segments[0].score
    assert found.segments[1].tokens == plain.segments[1].tokens
    nothing = transcriber(model).transcribe(AUDIO, language="de", previous_text="")
    assert nothing.segments[0].num_prompt_tokens == 5, "an empty text is known to be empty"
    unavailable = transcriber(model).transcribe(AUDIO, language="de", previous_text="<na>")
    assert unavailable.segments[0].num_prompt_tokens == 4, "<na> says that nothing is known"


def test_conditioning_tells_each_window_the_text_of_the_last(model: OwsmModel) -> None:
    chained = transcriber(model, condition_on_previous=True)
    found = chained.transcribe(LONG, language="de")
    assert len(found.segments) > 1
    previous = None
    for segment in found.segments:
        samples = LONG[0][round(segment.start_s * RATE) : round(segment.end_s * RATE)]
        alone = transcriber(model).transcribe((samples, RATE), language="de", previous_text=previous)
        assert alone.segments[0].tokens == segment.tokens
        assert alone.segments[0].num_prompt_tokens == segment.num_prompt_tokens
        previous = segment.text
    assert [segment.num_prompt_tokens > 4 for segment in found.segments] == [False, *[True] * (len(found.segments) - 1)]


def test_conditioning_passes_silence_over_and_starts_anew_with_each_request(model: OwsmModel) -> None:
    speech, silence = tone(2.0, seed=1), np.zeros(4 * RATE, np.float32)
    chained = transcriber(model, condition_on_previous=True)
    broken = (np.concatenate([speech, silence, speech]), RATE)
    with pytest.warns(SkipwiseWarning, match="silent"):
        first, second = chained.transcribe_many([Request(broken, "de"), Request((speech, RATE), "de")])
    spoken = [segment for segment in first.segments if not segment.is_silent]
    assert spoken[0].num_prompt_tokens == 4
    texts = [len(model.vocabulary.encode(segment.text)) for segment in spoken]
    assert [segment.num_prompt_tokens for segment in spoken[1:]] == [5 + pieces for pieces in texts[:-1]]
    assert second.segments[0].num_prompt_tokens == 4


def test_more_hypotheses_are_alternatives_with_their_scores(model: OwsmModel) -> None:
    found = transcriber(model, beam_size=4, nbest=3).transcribe(AUDIO, language="de")
    (segment,) = found.segments
    scores = [segment.score, *(alternative.score for alternative in segment.alternatives)]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    record = json.loads(json.dumps(found.to_dict()))["segments"][0]
    assert record["score"] == segment.score
    assert [alternative["score"] for alternative in record["alternatives"]] == scores[1:]
    assert transcriber(model, beam_size=4).transcribe(AUDIO, language="de").segments[0].alternatives == ()


def test_the_ctc_head_alone_writes_down_and_does_not_translate(model: OwsmModel) -> None:
    heard = transcriber(model, method="ctc")
    transcript = heard.transcribe(AUDIO, language="de")
    (segment,) = transcript.segments
    assert segment.num_prompt_tokens == 0 and segment.finished
    assert set(transcript.sparsity) == {"encoder"}, "the decoder does not run"
    with pytest.raises(SkipwiseError, match="the method ctc cannot do the task st_eng"):
        heard.transcribe(AUDIO, language="de", task="st_eng")
    with pytest.warns(SkipwiseWarning, match="draws the task st_eng towards untranslated text"):
        transcriber(model, ctc_weight=0.3).transcribe(AUDIO, language="de", task="st_eng")


def test_speech_for_which_nothing_is_long_enough_gives_an_empty_text_and_a_warning(model: OwsmModel) -> None:
    asking = transcriber(model, min_length_ratio=-40, max_length_ratio=0.4)
    with pytest.warns(SkipwiseWarning, match=r"the given audio, 0\.0 to 1\.5 s: no hypothesis is as long as .* -40"):
        found = asking.transcribe(AUDIO, language="de")
    assert found.text == "" and not found.segments[0].finished and not found.segments[0].is_silent


def test_an_unknown_task_is_told_even_if_the_language_is_to_be_predicted(model: OwsmModel, tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match="does not know the task 'st_xyz'"):
        transcriber(model).transcribe(AUDIO, task="st_xyz")


def test_a_sparsity_is_followed_exactly_or_by_gates_that_know_budgets(tmp_path: Path) -> None:
    fixed = tiny_model(tmp_path / "fixed")
    attach_random_gates(fixed.network)
    sites = [site for site in fixed.network.config.gate_sites() if site.stack == "decoder"]
    for sparsity in (0.0, 0.2, 0.5, 0.9):
        exactly = Transcriber(fixed, sparsity=sparsity, exact=True, options=DecodeOptions(max_length_ratio=-6))
        closed = exactly.transcribe(AUDIO, language="de").segments[0].plan.of_stack("decoder").closed()
        assert len(closed) == int(sparsity * len(sites) + 0.5)
    with pytest.raises(SkipwiseError, match=r"trained for a sparsity of 0.5, got 0.2"):
        Transcriber(fixed, sparsity=0.2)
    with pytest.raises(SkipwiseError, match=r"a sparsity is for gates to follow; .* runs without an adapter"):
        Transcriber(fixed, gates="none", sparsity=0.2)
    elastic = tiny_model(tmp_path / "elastic")
    predictor = MlpPredictorConfig(open_bias=0.0, output_std=1.0)
    attach(elastic.network, GateConfig(scope="both", predictor=predictor, context=(*HIDEABLE_PARTS, "budget")))
    plans = {
        Transcriber(elastic, sparsity=sparsity).transcribe(AUDIO, language="de").segments[0].plan.key()
        for sparsity in (0.0, 0.3, 0.6, 0.9)
    }
    assert len(plans) > 1


def test_what_a_model_was_never_trained_for_is_warned_of(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model", timestamps_share=0.0, previous_text_share=0.0, max_window_s=2.0)
    with pytest.warns(
        SkipwiseWarning, match=r"model was not trained with timestamps: expect invented text. Use a model"
    ):
        transcriber(model, timestamps=True)
    with pytest.warns(SkipwiseWarning, match="was not trained with previous text"):
        transcriber(model, condition_on_previous=True)
    with pytest.warns(SkipwiseWarning, match="was not trained with previous text"):
        transcriber(model).transcribe(AUDIO, language="de", previous_text="the report")


def test_the_prompt_may_be_kept_from_the_ctc_heads_count(model: OwsmModel) -> None:
    counted, skipped = (
        transcriber(model, beam_size=3, ctc_weight=0.5, ctc_skips_prompt=skips).transcribe(AUDIO, language="de")
        for skips in (False, True)
    )
    assert skipped.segments[0].score > counted.segments[0].score, "more paths spell it"


@pytest.mark.parametrize(("window_s", "limit"), [(None, 1.0), (2.0, 0.4)])
def test_the_length_limit_suits_the_models_windows(tmp_path: Path, window_s: float | None, limit: float) -> None:
    model = tiny_model(tmp_path / "model", window_s=window_s, max_window_s=2.0)
    assert Transcriber(model).options.max_length_ratio == limit
    assert Transcriber(model, options=DecodeOptions(max_length_ratio=-6)).options.max_length_ratio == -6
