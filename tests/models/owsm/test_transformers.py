"""OWSM behind transformers' interface: the same numbers as `OwsmNetwork`, and the same files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
)

from skipwise.errors import SkipwiseError
from skipwise.models.attach import attach, detach
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.configuration import OwsmConfig
from skipwise.models.owsm.espnet_keys import architecture_from_espnet, from_espnet_state
from skipwise.models.owsm.loading import load_owsm, save_owsm
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.processing import OwsmFeatureExtractor, OwsmProcessor, OwsmTokenizer
from tests.models.owsm.clips import AUDIO, RATE, both_windows
from tests.tiny import attach_random_gates, tiny_network, tiny_vocabulary

NUM_TOKENS = 16
GOLDEN = Path(__file__).parents[2] / "golden" / "owsm"
SOURCE = Path(__file__).parents[3] / "src"


# --- folders, both ways


def test_auto_classes_load_what_skipwise_writes(folder: Path) -> None:
    assert isinstance(AutoConfig.from_pretrained(folder), OwsmConfig)
    assert isinstance(AutoModelForSpeechSeq2Seq.from_pretrained(folder), OwsmForConditionalGeneration)
    assert isinstance(AutoFeatureExtractor.from_pretrained(folder), OwsmFeatureExtractor)
    assert isinstance(AutoTokenizer.from_pretrained(folder), OwsmTokenizer)
    assert isinstance(AutoProcessor.from_pretrained(folder), OwsmProcessor)


@both_windows
def test_config_holds_the_sizes_of_the_folder(folder: Path) -> None:
    ours, theirs = load_owsm(folder).network.config, OwsmConfig.from_pretrained(folder)
    names = [field.name for field in dataclasses.fields(OwsmArchitecture)]
    assert {name: getattr(theirs, name) for name in names} == {name: getattr(ours, name) for name in names}
    assert theirs.is_encoder_decoder and theirs.decoder_start_token_id == ours.bos_token_id
    assert theirs.gate_sites() == ours.gate_sites()


def test_weights_come_back_bit_for_bit_whoever_wrote_them(
    model: OwsmForConditionalGeneration, folder: Path, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "theirs")
    tiny_vocabulary().save(tmp_path / "theirs")
    written = load_file(folder / "model.safetensors")
    ours, theirs = load_owsm(folder).network, load_owsm(tmp_path / "theirs").network
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in written.items())
    assert written.keys() == model.state_dict().keys()
    assert theirs.config == ours.config


def test_a_config_that_is_changed_is_written_changed(model: OwsmForConditionalGeneration, tmp_path: Path) -> None:
    config = OwsmConfig(**(dataclasses.asdict(tiny_network().config) | {"label_smoothing": 0.25}))
    config.save_pretrained(tmp_path)
    assert OwsmConfig.from_pretrained(tmp_path).label_smoothing == 0.25
    assert OwsmConfig.from_pretrained(tmp_path) != model.config


def test_fp16_files_load_as_fp16_and_as_fp32(folder: Path, inputs: dict[str, Any], tmp_path: Path) -> None:
    network = load_owsm(folder).network
    save_owsm(tmp_path, network, tiny_vocabulary(), dtype=torch.float16)
    as_stored = OwsmForConditionalGeneration.from_pretrained(tmp_path)
    widened = OwsmForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    assert as_stored.dtype == torch.float16 and widened.dtype == torch.float32
    ours = load_owsm(tmp_path).network.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in widened.model.state_dict().items())
    tokens = torch.tensor([network.config.prompt("deu", "asr")] * len(AUDIO))
    half, full = (m(**inputs, decoder_input_ids=tokens).logits.float() for m in (as_stored, widened))
    # 11 bits of mantissa through four layers and logits of size 3
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.1)
    assert not torch.equal(half, full)


@pytest.mark.parametrize(
    ("changed", "message"), [("lack", "lack keys: model.ctc_head.bias"), ("more", "unknown keys: m")]
)
def test_weights_must_be_exactly_those_of_the_config(folder: Path, changed: str, message: str, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    if changed == "lack":
        del weights["model.ctc_head.bias"]
    else:
        weights["model.more"] = torch.zeros(1)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SkipwiseError, match=message):
        OwsmForConditionalGeneration.from_pretrained(tmp_path)


def test_from_scratch_it_starts_as_the_network_does(model: OwsmForConditionalGeneration) -> None:
    torch.manual_seed(3)
    ours = OwsmNetwork(model.config).state_dict()
    torch.manual_seed(3)
    theirs = OwsmForConditionalGeneration(model.config).model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


# --- forward


@both_windows
def test_teacher_forced_logits_are_the_networks(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    network = model.model
    tokens = torch.tensor([[*network.config.prompt("deu", "asr"), 20 + row, 30] for row in range(len(AUDIO))])
    encoded = network.encode(network.embed(network.extract([torch.tensor(samples) for samples in AUDIO])))
    output = model(**inputs, decoder_input_ids=tokens)
    assert torch.equal(output.logits, network.decode(tokens, encoded))
    assert torch.equal(output.encoder_last_hidden_state, encoded.states)
    assert output.loss is None


def test_attention_mask_says_what_num_frames_says(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    tokens = torch.tensor([model.config.prompt("deu", "asr")] * len(AUDIO))
    expected = model(**inputs, decoder_input_ids=tokens).logits
    num_frames = inputs.pop("num_frames")
    mask = torch.arange(inputs["input_features"].shape[1])[None] < num_frames[:, None]
    assert torch.equal(model(**inputs, attention_mask=mask, decoder_input_ids=tokens).logits, expected)
    assert not torch.equal(model(**inputs, decoder_input_ids=tokens).logits, expected)


def test_encoder_outputs_can_be_used_again(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    tokens = torch.tensor([model.config.prompt("deu", "asr")] * len(AUDIO))
    encoded = model.encode(**inputs)
    assert torch.equal(
        model(encoder_outputs=encoded, decoder_input_ids=tokens).logits,
        model(**inputs, decoder_input_ids=tokens).logits,
    )


@both_windows
def test_num_real_samples_decide_the_plan(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    attach_random_gates(model.model)
    tokens = torch.tensor([model.config.prompt("deu", "asr")] * len(AUDIO))
    logits = model(**inputs, decoder_input_ids=tokens).logits
    inputs["num_real_samples"] = torch.full_like(inputs["num_real_samples"], 1600)
    assert not torch.equal(model(**inputs, decoder_input_ids=tokens).logits, logits)


@pytest.mark.parametrize("case", ["loss", "loss_prev", "loss2", "loss2_na"])
@pytest.mark.parametrize("name", ["v3_tiny", "v4_tiny"])
def test_loss_is_that_of_espnet(name: str, case: str) -> None:
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    record = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    architecture = architecture_from_espnet({**record["config"], "token_list": record["token_list"]})
    config = OwsmConfig(**(dataclasses.asdict(architecture) | {"window_s": None}))
    model = OwsmForConditionalGeneration(config).eval()
    model.model.load_state_dict(
        from_espnet_state({key[6:]: value for key, value in tensors.items() if key.startswith("state.")})
    )
    group = {key.removeprefix(f"{case}."): value for key, value in tensors.items() if key.startswith(f"{case}.")}
    na = record["token_list"].index("<na>")
    audio = [tensors[f"row{int(row)}.waveform"][: int(group["num_samples"])] for row in group["rows"]]
    inputs = dict(OwsmFeatureExtractor.for_architecture(config)(audio, RATE))
    inputs |= espnet_labels(group, config, na)
    loss = model(**inputs).loss
    # the total is of size 50 to 90
    torch.testing.assert_close(loss.reshape(1), group["total"], rtol=1e-6, atol=0)
    inputs["ctc_labels"] = inputs["ctc_labels"].roll(1, dims=1)
    assert float((model(**inputs).loss - loss).abs()) > 1e-2


def espnet_labels(group: dict[str, Tensor], config: OwsmConfig, na: int) -> dict[str, Tensor]:
    """ESPnet's three texts as our inputs; without previous text `decoder_input_ids` are left to the model."""

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    def rows(name: str) -> list[list[int]]:
        return [[token for token in row if token != -1] for row in group[name].tolist()]

    prefixes = [[] if na in previous else [config.sop_token_id, *previous] for previous in rows("text_prev")]
    labels = [
        [*[IGNORED_LABEL] * len(prefix), *text, config.eos_token_id]
        for prefix, text in zip(prefixes, rows("text"), strict=True)
    ]
    ctc = [[IGNORED_LABEL] if na in text else text for text in rows("text_ctc")]
    inputs = {"labels": padded(labels, IGNORED_LABEL), "ctc_labels": padded(ctc, IGNORED_LABEL)}
    if any(prefixes):
        tokens = [[*prefix, config.bos_token_id, *text] for prefix, text in zip(prefixes, rows("text"), strict=True)]
        inputs["decoder_input_ids"] = padded(tokens, config.eos_token_id)
    return inputs


def test_loss_without_any_ctc_text_is_the_attention_part(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    labels = torch.tensor([[*model.config.prompt("deu", "asr")[1:], 20, model.config.eos_token_id]] * len(AUDIO))
    none = torch.full((len(AUDIO), 1), IGNORED_LABEL)
    some = torch.tensor([[20]] * len(AUDIO))
    without, with_text = (model(**inputs, labels=labels, ctc_labels=targets).loss for targets in (none, some))
    assert 0 < float(without) < float(with_text)


def test_a_loss_has_gradients_everywhere(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    labels = torch.tensor([[*model.config.prompt("deu", "asr")[1:], 20, model.config.eos_token_id]] * len(AUDIO))
    with torch.enable_grad():
        model(**inputs, labels=labels, ctc_labels=torch.tensor([[20]] * len(AUDIO))).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_missing_inputs_are_named(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    tokens = torch.tensor([model.config.prompt("deu", "asr")] * len(AUDIO))
    with pytest.raises(SkipwiseError, match="num_real_samples is needed"):
        model(input_features=inputs["input_features"], decoder_input_ids=tokens)
    with pytest.raises(SkipwiseError, match="input_features is needed"):
        model.generate(language="deu")
    with pytest.raises(SkipwiseError, match="decoder_input_ids are needed"):
        model(**inputs)
    with pytest.raises(SkipwiseError, match="labels need ctc_labels"):
        model(**inputs, labels=tokens)
    with pytest.raises(SkipwiseError, match="begin with previous text"):
        model(**inputs, labels=tokens.clone().fill_(IGNORED_LABEL), ctc_labels=tokens)
    with pytest.raises(SkipwiseError, match=r"language must be one word or one a row \(3\); got 2"):
        model(**inputs, decoder_input_ids=tokens, language=["deu", "fra"])


# --- gates


def test_attach_and_detach_on_the_transformers_class(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    keys = list(model.state_dict())
    dense = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    adapter = attach_random_gates(model.model)
    pruned = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    assert detach(model) is adapter
    assert list(model.state_dict()) == keys
    assert torch.equal(model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS), dense)
    attach(model, adapter)
    assert torch.equal(model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS), pruned)
    with pytest.raises(SkipwiseError, match="has gates already"):
        attach(model, adapter)


def test_gates_go_on_nothing_else() -> None:
    for other in (nn.Linear(2, 2), nn.ModuleDict({"model": nn.Linear(2, 2)})):
        with pytest.raises(SkipwiseError, match=r"gates go on an OwsmNetwork.* got a (Linear|ModuleDict)"):
            detach(other)


def test_an_adapter_is_saved_beside_the_base_and_never_in_it(
    model: OwsmForConditionalGeneration, folder: Path, inputs: dict[str, Any], tmp_path: Path
) -> None:
    attach_random_gates(model.model)
    pruned = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    for name, state in (("plain", None), ("as a trainer", model.state_dict())):
        model.save_pretrained(tmp_path / name, state_dict=state)
        with safe_open(tmp_path / name / "model.safetensors", framework="pt") as file:
            assert set(file.keys()) == load_file(folder / "model.safetensors").keys()
        again = OwsmForConditionalGeneration.from_pretrained(tmp_path / name)
        assert again.model.gate_adapter is None
        attach(again, tmp_path / name / "gates")
        assert torch.equal(again.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS), pruned)


def test_gates_and_loading_work_without_transformers() -> None:
    code = (
        "import sys, skipwise.models.attach, skipwise.models.owsm.espnet_keys; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})
