"""A Whisper is trained by the same runs as an OWSM: from scratch, and its gates in every way that the method has."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter
from skipwise.models.attach import attach, detach
from skipwise.pipeline import Transcriber
from skipwise.training.config import TrainConfig
from skipwise.training.run import train
from skipwise.training.trainer import newest_checkpoint
from tests.tiny import tone
from tests.tiny_whisper import save_tiny_whisper, tiny_whisper
from tests.training.test_survival import losses, run_apart

Config = Callable[..., TrainConfig]

ARCHITECTURE = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "max_source_positions": 200,
    "max_target_positions": 160,
    "dropout": 0.1,
}
SCRATCH = {"family": "whisper", "vocabulary_size": 300, "architecture": ARCHITECTURE, "auxiliary_ctc": 0.3}
GATES = {"scope": "both", "sparsity": 0.5, "learning_rate": 0.05}
AUDIO = (tone(2.0), 16_000)


@pytest.fixture
def whisper_config(base_config: Config) -> Config:
    def make(name: str, **changes: Any) -> TrainConfig:
        data = {"timestamps": 0.3, "previous_text": 0.3, "max_window_s": 4.0, "tasks": ["asr", "st_eng"]}
        config = base_config(name, data=data)
        sections = config.model_dump(mode="json", exclude={"model", "gates"})
        for key, value in changes.items():
            sections[key] = sections.get(key, {}) | value
        return TrainConfig(**sections)

    return make


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random multilingual Whisper of transformers, with windows of four seconds."""
    model = tiny_whisper(max_source_positions=200, max_target_positions=200)
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper"), model, window_s=4.0)


def history(config: TrainConfig) -> list[dict[str, float]]:
    return json.loads((config.output / "summary.json").read_text())["history"]


def logged(config: TrainConfig) -> set[str]:
    return {name for line in history(config) for name in line}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_whisper_from_scratch_is_one_of_transformers_and_takes_gates(whisper_config: Config) -> None:
    config = whisper_config("base", model=SCRATCH)
    base = train(config)
    assert {"ctc", "attention", "eval_wer", "eval_bleu"} <= logged(config)
    model: Any = WhisperForConditionalGeneration.from_pretrained(base)
    processor = WhisperProcessor.from_pretrained(base)
    assert processor.tokenizer.decode(processor.tokenizer(" Straße, été").input_ids, skip_special_tokens=True) == (
        " Straße, été"
    )
    features = processor(AUDIO[0], sampling_rate=16_000, return_tensors="pt").input_features
    assert features.shape == (1, 80, 400)
    tokens = model.generate(features, language="de", task="translate", max_new_tokens=8)
    assert not any("ctc" in name for name in weights(base)), "the auxiliary head is not part of it"
    transcriber = Transcriber(base, gates=None, dtype="fp32")
    assert transcriber.languages == ("deu", "eng", "fra") and transcriber.tasks == ("asr", "st_eng")
    ours = transcriber.transcribe(AUDIO, language="de", task="st_eng").segments[0].tokens
    theirs = tokens[0, 4:] if int(tokens[0, 0]) == model.config.decoder_start_token_id else tokens[0]
    assert ours[: len(theirs)] == tuple(theirs.tolist())[: len(ours)]
    gated = train(whisper_config("gated", model={"init": str(base)}, gates=GATES))
    assert set(Transcriber(gated).transcribe(AUDIO, language="de").sparsity) == {"encoder", "decoder"}
    with pytest.raises(SkipwiseError, match="another base"):
        attach(model, gated / "gates")


def test_a_trained_whisper_and_its_gates_change_and_the_checkpoints_are_whole(
    whisper: Path, whisper_config: Config
) -> None:
    gates = GATES | {"distillation": {"weight": 1.0}, "context": ["language", "task", "speech"]}
    config = whisper_config("gated", model={"init": str(whisper)}, gates=gates)
    gated = train(config)
    before, after = weights(whisper), weights(gated)
    assert before.keys() == after.keys()
    for name in ("model.encoder.layers.1.fc1.weight", "model.decoder.embed_tokens.weight"):
        assert not torch.equal(before[name], after[name]), name
    assert torch.equal(before["model.encoder.embed_positions.weight"], after["model.encoder.embed_positions.weight"])
    assert {"pruned_attention", "attention", "distilled_attention", "penalty_encoder", "sparsity_argmax_decoder"} <= (
        logged(config)
    )
    assert {"gate_entropy_decoder", "eval_wer", "eval_pruned_wer", "eval_pruned_sparsity_decoder"} <= logged(config)
    assert not any("ctc" in name for name in logged(config))
    model: Any = WhisperForConditionalGeneration.from_pretrained(gated)
    adapter = attach(model, gated / "gates")
    assert adapter.base.languages == ("deu", "eng", "fra", "nor") and "results" in adapter.notes
    detach(model)
    assert all(torch.equal(tensor, after[name]) for name, tensor in model.state_dict().items() if name in after)


@pytest.mark.parametrize(
    ("gates", "granularity"),
    [
        ({"scope": "decoder", "granularity": "step", "context": ["task", "speech"]}, "step"),
        (
            {
                "scope": "both",
                "sparsity_range": [0.1, 0.9],
                "context": ["language", "task", "speech", "budget"],
                "cost": {"unit": "macs"},
            },
            "utterance",
        ),
        ({"scope": "encoder", "predictor": {"kind": "local", "hidden_size": 8}}, "utterance"),
        ({"scope": "decoder", "predictor": {"kind": "table"}}, "utterance"),
    ],
    ids=["steps", "budgets", "encoder, layer by layer", "table"],
)
def test_every_kind_of_gates_is_trained_and_used(
    whisper: Path, whisper_config: Config, gates: dict[str, Any], granularity: str
) -> None:
    optimisation = {"max_steps": 2, "save_steps": 2, "eval_steps": 2}
    config = whisper_config("gated", model={"init": str(whisper)}, gates=GATES | gates, optimisation=optimisation)
    gated = train(config)
    adapter = GateAdapter.from_pretrained(gated / "gates")
    assert adapter.config.granularity == granularity and adapter.base.family == "whisper"
    transcriber = Transcriber(gated, sparsity=0.5, exact=True)
    (segment,) = transcriber.transcribe(AUDIO, language="de", task="st_eng").segments
    assert segment.plan.sites or segment.step_plan is not None
    assert {f"gate_plans_{stack}" for stack in adapter.predictors} <= logged(config)


def test_the_decoder_of_a_whisper_can_be_trained_on_its_own(whisper: Path, whisper_config: Config) -> None:
    trained = train(whisper_config("decoder", model={"init": str(whisper), "base": "decoder"}, gates=GATES))
    before, after = weights(whisper), weights(trained)
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert "model.decoder.embed_tokens.weight" in changed
    assert all(name.startswith(("model.decoder.", "proj_out.")) for name in changed)


@pytest.mark.parametrize("base", ["frozen", "lora"])
def test_a_kept_whisper_gets_an_adapter(whisper: Path, whisper_config: Config, base: str) -> None:
    if base == "lora":
        pytest.importorskip("peft")
    before = (whisper / "model.safetensors").read_bytes()
    model = {"init": str(whisper), "base": base, "lora": {"rank": 2, "layers": ["fc1", "q_proj"]}}
    config = whisper_config("kept", model=model, gates=GATES)
    folder = train(config)
    assert folder.name == "gates" and (whisper / "model.safetensors").read_bytes() == before
    adapter = GateAdapter.from_pretrained(folder)
    assert adapter.notes["base"] == str(whisper)
    if base == "lora":
        assert adapter.lora is not None
        assert all(name.startswith(("model.encoder.layers", "model.decoder.layers")) for name in adapter.lora.layers)
        assert any(float(change.up.abs().sum()) > 0 for change in adapter.lora.layers.values()), "nothing was learned"
    assert Transcriber(whisper, gates=folder).transcribe(AUDIO, language="de").segments
    assert {"eval_wer", "eval_pruned_wer"} <= logged(config)


def test_a_killed_run_goes_on_as_if_nothing_had_been(whisper_config: Config) -> None:
    optimisation = {"max_steps": 8, "save_steps": 2, "eval_utterances": 0, "threads": 1}
    whole, killed = (whisper_config(name, model=SCRATCH, optimisation=optimisation) for name in ("whole", "killed"))
    train(whole)
    process = run_apart(killed)
    deadline = time.monotonic() + 200
    while not (killed.output / "checkpoints" / "checkpoint-4").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed.output / "model").exists(), "killed too late"
    checkpoint = newest_checkpoint(killed.output)
    assert checkpoint is not None and checkpoint.name in ("checkpoint-2", "checkpoint-4", "checkpoint-6")
    kept = load_file(checkpoint / "model.safetensors")
    assert "network.proj_out.weight" not in kept and "auxiliary_ctc.head.weight" in kept, "tied weights are saved once"
    train(killed, resume=True)
    expected = weights(whole.output / "model")
    for name, tensor in weights(killed.output / "model").items():
        assert torch.equal(tensor, expected[name]), name
    assert losses(killed) == losses(whole)


def test_two_processes_learn_what_one_does(whisper: Path, whisper_config: Config) -> None:
    optimisation = {"max_steps": 3, "save_steps": 3, "eval_utterances": 0, "threads": 1, "learning_rate": 2e-4}
    changes: dict[str, Any] = {"model": {"init": str(whisper)}, "gates": GATES, "optimisation": optimisation}
    one, two = whisper_config("one", **changes), whisper_config("two", **changes)
    train(one)
    process = run_apart(two, processes=2)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert losses(two) == pytest.approx(losses(one), rel=2e-3)
    expected = weights(one.output / "model")
    for name, tensor in weights(two.output / "model").items():
        assert float((tensor - expected[name]).abs().mean()) < 0.02 * 3 * 2e-4, name


def test_gates_go_on_from_a_checkpoint_bit_by_bit(whisper: Path, whisper_config: Config) -> None:
    optimisation = {"max_steps": 4, "save_steps": 2, "eval_utterances": 0}
    config = whisper_config("gated", model={"init": str(whisper)}, gates=GATES, optimisation=optimisation)
    gated = train(config)
    before = weights(gated) | load_file(gated / "gates" / "gate_model.safetensors")
    shutil.rmtree(gated)
    shutil.rmtree(config.output / "checkpoints" / "checkpoint-4")
    train(config, resume=True)
    for name, tensor in (weights(gated) | load_file(gated / "gates" / "gate_model.safetensors")).items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"architecture": {"dropout": 0.5}}}, r"architecture\.dropout cannot change in a trained Whisper"),
        ({"data": {"tasks": ["st_deu"]}}, r"does not know the task 'st_deu'. It knows: st_eng, asr|asr, st_eng"),
        ({"gates": {"distillation": {"ctc_weight": 0.5}}}, r"distillation\.ctc_weight is for models with a CTC head"),
        (
            {"gates": {"context": ["task", "speaker"]}},
            r"nor can one be computed from what this model hears.*skipwise embed DATA --speaker",
        ),
    ],
    ids=["architecture", "task", "distilled ctc", "speaker"],
)
def test_what_a_trained_whisper_cannot_learn_is_said(
    whisper: Path, whisper_config: Config, changes: dict[str, Any], message: str
) -> None:
    sections: dict[str, Any] = {"model": {"init": str(whisper)}, "gates": GATES}
    for key, value in changes.items():
        sections[key] = sections.get(key, {}) | value
    with pytest.raises(SkipwiseError, match=message):
        train(whisper_config("refused", **sections))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary_size": 100}, r"counts its 256 bytes, so it must be at least that; got 100"),
        ({"architecture": {"hidden_size": 32}}, r"unknown key model\.architecture\.hidden_size; .*d_model"),
        ({"architecture": {"max_source_positions": 130}}, r"whole seconds of 50 frames, as 500 .*; got 130"),
        ({"architecture": {"d_model": 33}}, r"d_model must be a multiple of the encoder's heads, got 33 and 2"),
        ({"encoder": "reference"}, r"model\.encoder is for a fresh OWSM"),
    ],
    ids=["pieces", "field", "window", "heads", "encoder"],
)
def test_a_fresh_whisper_that_cannot_be_is_refused(
    whisper_config: Config, changes: dict[str, Any], message: str
) -> None:
    architecture = changes.get("architecture", {})
    model = SCRATCH | changes | ({"architecture": ARCHITECTURE | architecture} if architecture else {})
    with pytest.raises(SkipwiseError, match=message):
        train(whisper_config("refused", model=model))


def test_a_text_that_the_decoder_has_no_room_for_names_its_sentence(whisper_config: Config) -> None:
    model = SCRATCH | {"architecture": ARCHITECTURE | {"max_target_positions": 20}}
    with pytest.raises(SkipwiseError, match=r"the text of sentence \d has \d+ tokens; .* the decoder takes 20. Lower"):
        train(whisper_config("long", model=model, optimisation={"eval_utterances": 0}))


def test_a_model_with_a_ctc_head_gets_no_second_one(base_config: Config) -> None:
    with pytest.raises(
        SkipwiseError, match=r"models without a CTC head; an owsm has one, weighted by .*ctc_loss_weight"
    ):
        train(base_config("refused", model={"init": "reference", "auxiliary_ctc": 0.3}))


def test_an_auxiliary_head_is_for_a_base(whisper: Path, whisper_config: Config) -> None:
    with pytest.raises(ValueError, match=r"auxiliary_ctc is for training a base: leave it out where gates are"):
        whisper_config("refused", model={"init": str(whisper), "auxiliary_ctc": 0.3}, gates=GATES)
