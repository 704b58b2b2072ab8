"""The parts of a Whisper's training: rows, gates of every step, the auxiliary CTC head, tied weights."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from skipwise.features import SpeechStates
from skipwise.gating import Context, GateConfig, GatePlan, MlpPredictorConfig, Sampling, StepSampler
from skipwise.gating.draws import RowDraws
from skipwise.models.attach import attach
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.family import FAMILY
from skipwise.models.whisper.vocabulary import WhisperVocabulary
from skipwise.training.auxiliary_ctc import AuxiliaryCtc
from skipwise.training.batches import TrainBatch
from skipwise.training.objective import GatedObjective, ObjectiveConfig
from skipwise.training.targets import TargetMaker, TargetShares
from skipwise.training.tied import save_tied_once
from skipwise.training.windows import Recording, Window
from tests.tiny import tone
from tests.tiny_whisper import features_of, tiny_tokenizer, tiny_whisper, token

SETTINGS = ObjectiveConfig(max_steps=10, seed=1, ctc_weight_start=0.7, ctc_warmup_steps=0)
WINDOW = Window(0, 1, 2, 2.2, 6.7)
VOCABULARY = WhisperVocabulary(tiny_tokenizer())


def maker(timestamps: float, previous_text: float, max_positions: int | None = None) -> TargetMaker:
    shares = TargetShares(timestamps=timestamps, previous_text=previous_text)
    return TargetMaker(FAMILY.config(tiny_whisper()), VOCABULARY, shares, max_positions=max_positions)


def code_of(recording: Recording) -> str:
    return {"deu": "de", "fra": "fr"}[recording.language]


def test_a_row_is_whispers_prompt_and_text_and_is_scored_from_the_language_on(recordings: list[Recording]) -> None:
    target = maker(0.0, 0.0).target(recordings[0], WINDOW, "st_eng", random.Random(0))
    prompt = [token(name) for name in ("startoftranscript", code_of(recordings[0]), "translate", "notimestamps")]
    said = " ".join(u.translations["eng"] for u in recordings[0].utterances[1:3])
    text = tiny_tokenizer()(f" {said}", add_special_tokens=False).input_ids
    assert target.tokens == (*prompt, *text)
    assert target.labels == (*prompt[1:], *text, token("endoftext"))


def test_timestamps_lie_around_each_sentence_as_whisper_writes_them(recordings: list[Recording]) -> None:
    target = maker(1.0, 0.0).target(recordings[0], WINDOW, "asr", random.Random(0))
    text = VOCABULARY.encode(recordings[0].utterances[1].transcript or "")
    times = [token(name) for name in ("0.20", "1.80", "4.30")]
    assert target.tokens[3:] == (times[0], *text, times[1], times[1], *text, times[2])
    assert tiny_tokenizer().decode(text).startswith(" ")


def test_a_previous_text_is_told_and_not_scored_unless_there_is_no_room(recordings: list[Recording]) -> None:
    window = Window(0, 1, 1, 2.2, 4.0)
    target = maker(0.0, 1.0).target(recordings[0], window, "asr", random.Random(0))
    before = VOCABULARY.encode(recordings[0].utterances[0].transcript or "")
    start = target.tokens.index(token("startoftranscript"))
    assert target.tokens[0] == token("startofprev") and target.tokens[1:start] == tuple(before)[-(start - 1) :]
    assert set(target.labels[:start]) == {IGNORED_LABEL} and target.labels[start] == token(code_of(recordings[0]))
    alone = maker(0.0, 0.0).target(recordings[0], window, "asr", random.Random(0))
    assert maker(0.0, 1.0, max_positions=len(alone.tokens)).target(recordings[0], window, "asr", random.Random(0)) == (
        alone
    )


def test_gates_of_every_step_are_drawn_from_what_was_said_so_far() -> None:
    model = tiny_whisper().requires_grad_(False)
    adapter = attach(
        model,
        GateConfig(scope="decoder", granularity="step", predictor=MlpPredictorConfig(open_bias=0.0, output_std=1.0)),
    )
    features = stacks.window_features(features_of([tone(0.9, seed=1)]))
    encoded = stacks.encode(model, stacks.embed(model, features))
    tokens = torch.tensor([[token("startoftranscript"), token("de"), token("transcribe"), 40, 41, 42]])
    draws = RowDraws.for_all(torch.Generator().manual_seed(0), 1)
    sampler = adapter.sample(
        "decoder", [Context(language="deu", task="asr")], encoded.pooled(), sampling=Sampling(), draws=draws
    )
    assert isinstance(sampler, StepSampler)
    logits = stacks.decode(model, tokens, encoded, sampler)
    sample = sampler.sample()
    assert sample.gates.shape == (1, 6, 9) and 0 < float(sample.sparsity().detach()) < 1
    hard = sample.gates.detach().bool()
    plan = GatePlan(sample.sites, hard)
    torch.testing.assert_close(stacks.decode(model, tokens, encoded, plan), logits.detach(), rtol=0, atol=5e-5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.predictors.parameters() if parameter.requires_grad)


def test_a_shallower_whisper_is_the_whole_one_with_the_other_layers_closed() -> None:
    whole, shallow = tiny_whisper(), tiny_whisper()
    FAMILY.keep_decoder_layers(shallow, [1, 2])
    sites = FAMILY.describe(whole).sites
    plan = GatePlan.closing(sites, [site for site in sites if site.stack == "decoder" and site.layer == 0])
    tokens = torch.tensor([[token("startoftranscript"), token("de"), token("transcribe"), token("notimestamps")]])
    features = stacks.window_features(features_of([tone(0.9, seed=1)]))
    with torch.no_grad():
        encoded = stacks.encode(whole, stacks.embed(whole, features))
        expected = stacks.decode(whole, tokens, encoded, plan)
        torch.testing.assert_close(stacks.decode(shallow, tokens, encoded), expected, rtol=0, atol=1e-5)
        # generate() counts layers by their place in the cache
        given = features.states.transpose(1, 2)
        cached = shallow.generate(given, language="de", task="transcribe", max_new_tokens=8)
        alone = shallow.generate(given, language="de", task="transcribe", max_new_tokens=8, use_cache=False)
    assert torch.equal(cached, alone)
    assert shallow.config.decoder_layers == 2
    assert shallow.generation_config.to_dict()["alignment_heads"] == [[0, 0], [0, 2]]


def batch() -> TrainBatch:
    """One window, transcribed."""
    features = stacks.window_features(features_of([tone(0.9, seed=1)]))
    text = VOCABULARY.encode("Ja")
    prompt = [token("startoftranscript"), token("de"), token("transcribe"), token("notimestamps")]
    return TrainBatch(
        features=features.states,
        num_frames=features.num_frames,
        num_real_frames=features.num_real_frames,
        row_window=torch.tensor([0]),
        step_rows=[0],
        contexts=[Context(language="deu", task="asr")],
        tokens=torch.tensor([prompt + text]),
        labels=torch.tensor([[*prompt[1:], *text, token("endoftext")]]),
        ctc_targets=torch.tensor([text]),
        num_ctc_targets=torch.tensor([len(text)]),
        weight=1.0,
        num_step_windows=1,
        num_step_rows=1,
        num_step_labels=len(prompt) + len(text),
        num_step_ctc_targets=len(text),
        step=0,
    )


def test_the_loss_of_a_whisper_is_that_of_transformers() -> None:
    model, given = tiny_whisper(), batch()
    parts = GatedObjective(model, SETTINGS).losses(given)
    expected = model(given["features"].transpose(1, 2), decoder_input_ids=given["tokens"], labels=given["labels"]).loss
    assert parts.keys() == {"loss", "attention"}
    torch.testing.assert_close(parts["loss"], expected, rtol=1e-5, atol=0)


def test_an_auxiliary_head_adds_its_weighted_loss_and_teaches_the_encoder_alone() -> None:
    model, given = tiny_whisper(), batch()
    head = AuxiliaryCtc(32, token("endoftext"), weight=0.4)
    objective = GatedObjective(model, SETTINGS, auxiliary_ctc=head)
    parts = objective.losses(given)
    expected = 0.4 * parts["ctc"] + 0.6 * parts["attention"]
    torch.testing.assert_close(parts["loss"].detach(), expected, rtol=1e-6, atol=0)
    encoded = stacks.encode(model, stacks.embed(model, SpeechStates(*(given[name] for name in _FEATURES))))
    head.loss(encoded, given["ctc_targets"], given["num_ctc_targets"], count=1).backward()
    taught = model.get_parameter("model.encoder.layers.0.fc1.weight").grad
    assert taught is not None and float(taught.abs().sum()) > 0
    assert model.get_parameter("model.decoder.layers.0.fc1.weight").grad is None


_FEATURES = ("features", "num_frames", "num_real_frames")


def test_an_auxiliary_head_begins_with_frequencies_and_hears_no_padding() -> None:
    head = AuxiliaryCtc(8, 5, weight=0.3)
    head.know([[4, 4, 2], [4]])
    probabilities = head.head(torch.randn(1, 3, 8)).softmax(dim=-1)[0, 0]
    assert float(probabilities[0].detach()) == pytest.approx(0.8, abs=1e-4) and int(probabilities[1:].argmax()) == 4
    nn.init.normal_(head.head.weight)
    states = torch.randn(1, 9, 8)
    encoded = SpeechStates(states, torch.tensor([9]), torch.tensor([6]))
    found = head.loss(encoded, torch.tensor([[4, 2]]), torch.tensor([2]), count=2)
    cut = SpeechStates(states[:, :6], torch.tensor([6]), torch.tensor([6]))
    torch.testing.assert_close(head.loss(cut, torch.tensor([[4, 2]]), torch.tensor([2]), count=2), found)


def test_tied_weights_are_saved_once_and_read_strictly(tmp_path: Path) -> None:
    objective = GatedObjective(tiny_whisper(seed=1), SETTINGS)
    state = objective.state_dict()
    assert "network.proj_out.weight" not in state and "network.model.decoder.embed_tokens.weight" in state
    save_file(state, tmp_path / "state.safetensors")
    other = GatedObjective(tiny_whisper(seed=2), SETTINGS)
    other.load_state_dict(load_file(tmp_path / "state.safetensors"), strict=True)
    assert torch.equal(other.network.proj_out.weight, objective.network.proj_out.weight)
    assert other.network.proj_out.weight is other.network.model.decoder.embed_tokens.weight
    untied = nn.Linear(2, 2)
    save_tied_once(untied)
    assert set(untied.state_dict()) == {"weight", "bias"}
