"""Gates on a Whisper that transformers runs: on, in force, and off again without a trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache, WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperDecoderLayer, WhisperEncoderLayer

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GateConfig, GatePlan, MlpPredictorConfig
from skipwise.models.attach import attach, describe_base, detach, gated, planner_of
from skipwise.models.family import NetworkDescription
from skipwise.models.registry import family_of
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.open_rows import cache_of_rows, mask_of_rows
from skipwise.testing.suite import LOCAL
from tests.conformance.test_whisper import AUDIO, WhisperCase, prompts
from tests.tiny_whisper import attach_gates_that_read, features_of, tiny_generation_config, tiny_whisper, token

SHAPES = {
    "tiny": ((384, 4, 4, 6), 20),
    "base": ((512, 6, 6, 8), 30),
    "small": ((768, 12, 12, 12), 60),
    "medium": ((1024, 24, 24, 16), 120),
    "large-v3": ((1280, 32, 32, 20), 160),
    "large-v3-turbo": ((1280, 32, 4, 20), 76),
    "distil-small.en": ((768, 12, 4, 12), 36),
}
"""Width, encoder layers, decoder layers, heads; and sites."""


def _closing(model: WhisperForConditionalGeneration, *closed: str) -> GatePlan:
    return GatePlan.closing(stacks.gate_sites(model), closed)


@pytest.mark.parametrize("name", SHAPES)
def test_every_published_shape_is_described_by_its_config(name: str):
    (width, encoder_layers, decoder_layers, heads), num_sites = SHAPES[name]
    config = WhisperConfig(
        d_model=width,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        num_mel_bins=128 if "v3" in name else 80,
    )
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    described = family_of(model).describe(model)
    assert len(described.sites) == num_sites and described.hidden_size == width
    assert [str(described.sites[0]), str(described.sites[-1])] == [
        "encoder.0.self_attn",
        f"decoder.{decoder_layers - 1}.ffn",
    ]


def test_languages_and_tasks_come_from_the_generation_config():
    model = tiny_whisper()

    def describe() -> NetworkDescription:
        return family_of(model).describe(model)

    assert (describe().languages, describe().tasks) == (("deu", "eng", "fra", "nor"), ("asr", "st_eng"))
    model.generation_config = tiny_generation_config(is_multilingual=False)
    assert (describe().languages, describe().tasks) == (("eng",), ("asr",))
    model.generation_config = tiny_generation_config(lang_to_id=None, task_to_id=None)
    assert (describe().languages, describe().tasks) == ((), ())


def test_gates_leave_classes_keys_and_hooks_as_they_were():
    model = tiny_whisper()
    before, keys = dict(model.__dict__), list(model.state_dict())
    adapter = attach(model, GateConfig(scope="both"))
    assert list(model.state_dict()) == keys  # what is saved is the base
    assert type(model) is WhisperForConditionalGeneration
    assert {type(layer).__name__ for layer in model.model.decoder.layers} == {"GatedWhisperDecoderLayer"}
    assert all(isinstance(layer, WhisperEncoderLayer) for layer in model.model.encoder.layers)
    assert detach(model) is adapter
    assert {type(layer) for layer in model.model.decoder.layers} == {WhisperDecoderLayer}
    assert {type(layer) for layer in model.model.encoder.layers} == {WhisperEncoderLayer}
    assert model.__dict__.keys() == before.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(not key.startswith("_skipwise") for layer in model.modules() for key in layer.__dict__)


def test_gates_that_a_block_forces_leave_the_attached_ones_alone():
    model = tiny_whisper()
    adapter = attach(model, GateConfig())
    with gated(model, _closing(model, "decoder.1.ffn")):
        pass
    assert type(model.model.decoder.layers[0]).__name__ == "GatedWhisperDecoderLayer"
    with pytest.raises(SkipwiseError, match="has gates already"):
        attach(model, adapter)
    detach(model)
    assert describe_base(model).fingerprint == adapter.base.fingerprint
    assert detach(model) is None


def test_a_copy_of_a_gated_model_follows_its_own_gates():
    model, features = tiny_whisper(), features_of(AUDIO)
    with torch.no_grad(), gated(model, _closing(model, "decoder.0.self_attn")):
        expected = model(features, decoder_input_ids=prompts()).logits
        copied = copy.deepcopy(model)
    with torch.no_grad():
        base = model(features, decoder_input_ids=prompts()).logits
        assert torch.equal(copied(features, decoder_input_ids=prompts()).logits, expected)
    assert not torch.equal(base, expected)


def test_labels_tell_the_gates_what_a_prompt_would():
    model, features = tiny_whisper(), features_of(AUDIO)
    attach_gates_that_read(model, "language", "task")
    labels = torch.cat([prompts()[:, 1:], torch.full((3, 1), token("endoftext"))], dim=1)
    with torch.no_grad():
        by_labels = model(features, labels=labels)
        by_prompt = model(features, decoder_input_ids=prompts())
        other = model(features, decoder_input_ids=prompts().roll(1, 0))
    assert torch.equal(by_labels.logits, by_prompt.logits)
    assert not torch.allclose(by_prompt.encoder_last_hidden_state, other.encoder_last_hidden_state)


@pytest.mark.filterwarnings("ignore:.*activation_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_recomputes_the_plan_of_its_forward(use_reentrant: bool):
    features, plan = features_of(AUDIO), WhisperCase().random_plan(tiny_whisper())

    def gradients(*, checkpointing: bool, **inside: Any) -> dict[str, torch.Tensor]:
        model = tiny_whisper().train()
        model.model.encoder.conv1.weight.requires_grad_(True)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        with gated(model, plan):
            loss = model(features, labels=prompts(), use_cache=False).loss
        with gated(model, GatePlan.all_open(plan.sites)):  # another plan while the backward recomputes
            loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == recomputed.keys() and len(plain) > 10
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-6)


def test_only_frames_that_hear_something_are_real():
    lengths = [round(16_000 * s) for s in (0.9, 0.5, 0.7)]
    found = stacks.num_real_features(features_of(AUDIO)).tolist()
    # a frame hears 200 samples to each side of its centre: up to two frames behind the last sample
    assert all(n // 160 <= real <= n // 160 + 3 for n, real in zip(lengths, found, strict=True))
    assert stacks.num_real_features(torch.zeros(1, 80, 100)).tolist() == [1]
    assert stacks.num_real_features(torch.randn(1, 80, 100)).tolist() == [100]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_follows_its_gates(dtype: torch.dtype):
    """The predictors stay fp32, whatever the base computes in."""
    loose: Any = tiny_whisper()
    model, features = loose.to(dtype), features_of(AUDIO).to(dtype)
    base = model.generate(features, language="de", task="transcribe", max_new_tokens=5)
    for predictor in (MlpPredictorConfig(open_bias=0.0, output_std=1.0), LOCAL):
        WhisperCase().attach_random_gates(model, predictor=predictor)
        found = model.generate(features, language="de", task="transcribe", max_new_tokens=5)
        detach(model)
        assert not torch.equal(found, base)


def test_padding_does_not_reach_the_decision():
    model = tiny_whisper()
    WhisperCase().attach_random_gates(model)
    features, context = features_of(AUDIO[1:2]), [Context(language="fra", task="asr")]
    embedded = stacks.embed(model, stacks.window_features(features))
    end = int(embedded.num_real_frames[0])
    assert end < 30
    poisoned = embedded.states.clone()
    poisoned[:, end:] = 1e4
    pooled, other = embedded.pooled(), embedded.with_states(poisoned).pooled()
    assert torch.equal(pooled, other)
    plan = planner_of(model).encoder(context, pooled)
    assert isinstance(plan, GatePlan)


# --- what cannot be


def test_states_of_another_encoder_are_refused():
    model, features = tiny_whisper(), features_of(AUDIO)
    with torch.no_grad(), gated(model, _closing(model, "decoder.1.ffn")):
        with pytest.raises(SkipwiseError, match="the gated encoder has not run yet: pass input_features"):
            model(encoder_outputs=(torch.zeros(3, 50, 32),), decoder_input_ids=prompts())
        encoded = model.model.encoder(features)
        followed = model(encoder_outputs=encoded, decoder_input_ids=prompts()).logits
        assert torch.equal(followed, model(features, decoder_input_ids=prompts()).logits)
        with pytest.raises(SkipwiseError, match="encoder states that the gated encoder has not just made"):
            model(encoder_outputs=(encoded[0] + 1,), decoder_input_ids=prompts())


def test_a_cache_of_other_gates_is_refused():
    model, features = tiny_whisper(), features_of(AUDIO)
    with torch.no_grad():
        cache = model(features, decoder_input_ids=prompts(), use_cache=True).past_key_values
        with gated(model, _closing(model, "decoder.1.ffn")):
            encoded = model.model.encoder(features)
            with pytest.raises(SkipwiseError, match="filled before these gates were put on"):
                model(encoder_outputs=encoded, decoder_input_ids=prompts()[:, :1], past_key_values=cache)


def test_a_cache_without_room_for_the_speech_is_refused():
    with pytest.raises(SkipwiseError, match="must be an EncoderDecoderCache, got a DynamicCache"):
        cache_of_rows(DynamicCache(), None, 3)


def test_a_mask_that_cannot_be_cut_by_rows_is_refused():
    rows = torch.tensor([1])
    assert mask_of_rows(None, rows) is None
    assert mask_of_rows(torch.eye(3), rows).tolist() == [[0, 1, 0]]
    with pytest.raises(SkipwiseError, match="cannot share flex attention's mask"):
        mask_of_rows("a block mask", rows)


def test_a_cache_is_continued_under_its_own_plan():
    model, features, tokens = tiny_whisper(), features_of(AUDIO), WhisperCase().tokens(tiny_whisper(), range(3))
    plan = WhisperCase().random_plan(model)
    with torch.no_grad(), gated(model, plan):
        whole = model(features, decoder_input_ids=tokens).logits
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        encoded = model.model.encoder(features)
        parts = [
            model(encoder_outputs=encoded, decoder_input_ids=part, past_key_values=cache, use_cache=True).logits
            for part in tokens.split([4, 1, 3, 5], dim=1)
        ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=WhisperCase.tolerance)


def test_embeddings_instead_of_tokens_are_refused():
    model, features = tiny_whisper(), features_of(AUDIO)
    with gated(model, _closing(model, "decoder.1.ffn")), pytest.raises(SkipwiseError, match="decoder_inputs_embeds"):
        model(features, decoder_inputs_embeds=torch.randn(3, 2, 32))


def test_a_forward_that_something_else_replaced_is_refused():
    model = tiny_whisper()
    layer: Any = model.model.encoder.layers[1]
    layer.forward = layer.forward
    with pytest.raises(SkipwiseError, match=r"replaced the forward of this model's WhisperEncoderLayer.*device_map"):
        attach(model, GateConfig())
    assert type(layer) is WhisperEncoderLayer
    del layer.forward
    attach(model, GateConfig())  # nothing was left on it


def test_a_plan_of_positions_is_for_our_own_decoding():
    model, features = tiny_whisper(), features_of(AUDIO)
    sites = stacks.gate_sites(model)
    stepwise = GatePlan(sites, torch.ones(1, 4, len(sites), dtype=torch.bool))
    with gated(model, stepwise), pytest.raises(SkipwiseError, match="differ from position to position"):
        model(features, decoder_input_ids=prompts())


def test_an_adapter_refuses_another_family_by_name():
    model = tiny_whisper()
    adapter = attach(model, GateConfig(predictor=MlpPredictorConfig()))
    detach(model)
    assert adapter.base.family == "whisper"
    with pytest.raises(SkipwiseError, match="belongs to another base: it names whisper"):
        attach(tiny_whisper(seed=1), adapter)
