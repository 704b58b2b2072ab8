"""The OWSM port against what ESPnet 202511 computes for the same weights: tests/golden/owsm.

Tolerance: 1e-4 absolute, which is what the port promises. Measured here (torch 2.13.0, CPU, one thread), largest over
both shapes and all rows: raw features 1e-6, normalised features 2.4e-6, conv embedding 1.1e-6, encoder states 5.5e-6
(30 s window: 2.5e-6), CTC log-probabilities 1.2e-5, decoder log-probabilities 3.8e-6, losses 2e-7 relative. For scale:
ESPnet in float32 differs from ESPnet in float64 by up to 4e-5. Each group has controls: one detail of the port is
changed, and the group must then miss by at least 10 tolerances.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates, log_mel
from skipwise.models.owsm import decoder as decoder_module
from skipwise.models.owsm import encoder as encoder_module
from skipwise.models.owsm import positions
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_keys import architecture_from_espnet, from_espnet_state
from skipwise.models.owsm.loss import IGNORED_LABEL, attention_loss, ctc_loss
from skipwise.models.owsm.network import OwsmNetwork

FOLDER = Path(__file__).parents[2] / "golden" / "owsm"
TOLERANCE = 1e-4
VISIBLE = 10 * TOLERANCE
NAMES = ("v3_tiny", "v4_tiny")
ROWS = ("row0", "row1", "row2")
LOSSES = ("loss", "loss_prev", "loss2", "loss2_na")
ESPNET_PADDING = -1


@dataclass(frozen=True)
class Golden:
    """One golden file: what ESPnet was given and what came out."""

    config: dict[str, Any]
    state: dict[str, Tensor]
    tensors: dict[str, Tensor]

    def group(self, name: str) -> dict[str, Tensor]:
        prefix = f"{name}."
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def network(self, *, window_s: float | None) -> OwsmNetwork:
        """The port with ESPnet's weights; None leaves the audio as long as it is, as the `row` groups were made."""
        architecture = replace(architecture_from_espnet(self.config), window_s=window_s)
        network = OwsmNetwork(architecture)
        network.load_state_dict(from_espnet_state(self.state))
        return network.eval()


@pytest.fixture(scope="module", params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    tensors = load_file(FOLDER / f"{request.param}.safetensors")
    record = json.loads((FOLDER / f"{request.param}.json").read_text(encoding="utf-8"))
    state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
    return Golden({**record["config"], "token_list": record["token_list"]}, state, tensors)


def _largest(ours: Mapping[str, Tensor], group: Mapping[str, Tensor]) -> dict[str, float]:
    for name, tensor in ours.items():
        assert tensor.shape == group[name].shape, name
    return {name: float((tensor - group[name]).abs().max()) for name, tensor in ours.items()}


def _front_end(network: OwsmNetwork, group: Mapping[str, Tensor]) -> dict[str, float]:
    """Largest difference from ESPnet of raw features, normalised features and conv embedding."""
    raw = network.extract([group["waveform"]])
    normalised = (raw.states - network.feature_mean) / network.feature_std
    ours = {"features": normalised[0], "conv_embedding": network.embed(raw).states[0]}
    if "raw_features" in group:
        ours["raw_features"] = raw.states[0]
    return _largest(ours, group)


def _states(network: OwsmNetwork, group: Mapping[str, Tensor]) -> dict[str, float]:
    """Largest difference from ESPnet of encoder states, CTC and teacher-forced log-probabilities."""
    encoded = network.encode(network.embed(network.extract([group["waveform"]])))
    logits = network.decode(group["decoder_input"][None], encoded)
    frames = group.get("frames", torch.arange(encoded.states.shape[1]))
    ours = {"encoder_out": encoded.states[0, frames], "decoder_log_probs": logits.log_softmax(dim=-1)[0]}
    if "ctc_log_probs" in group:
        ours["ctc_log_probs"] = network.ctc_logits(encoded).log_softmax(dim=-1)[0]
    return _largest(ours, group)


def _losses(golden: Golden, network: OwsmNetwork, case: str) -> dict[str, Tensor]:
    """Our losses for a case, with decoder inputs and labels as `loss_notes` of the golden file describes them."""
    group, config = golden.group(case), network.config
    na = golden.config["token_list"].index("<na>")
    waveforms = [golden.tensors[f"row{int(row)}.waveform"][: int(group["num_samples"])] for row in group["rows"]]
    encoded = network.encode(network.embed(network.extract(waveforms)))
    inputs, labels = [], []
    for text, previous in zip(_rows(group["text"]), _rows(group["text_prev"]), strict=True):
        prefix = [] if na in previous else [config.sop_token_id, *previous]
        inputs.append([*prefix, config.bos_token_id, *text])
        labels.append([*[IGNORED_LABEL] * len(prefix), *text, config.eos_token_id])
    attention = attention_loss(
        network.decode(_padded(inputs, config.eos_token_id), encoded),
        _padded(labels, IGNORED_LABEL),
        label_smoothing=config.label_smoothing,
        length_normalized=config.length_normalized_loss,
    )
    targets = _rows(group["text_ctc"])
    heard = torch.tensor([index for index, target in enumerate(targets) if na not in target])
    ctc = ctc_loss(
        network.ctc_logits(encoded)[heard],
        encoded.num_frames[heard],
        _padded([targets[index] for index in heard], config.pad_token_id),
        torch.tensor([len(targets[index]) for index in heard]),
        length_normalized=config.length_normalized_loss,
    )
    total = config.ctc_loss_weight * ctc + (1 - config.ctc_loss_weight) * attention
    return {"att": attention, "ctc": ctc, "total": total}


def _rows(padded: Tensor) -> list[list[int]]:
    return [[token for token in row if token != ESPNET_PADDING] for row in padded.tolist()]


def _padded(rows: list[list[int]], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


# --- the same


def test_all_espnet_parameters_have_a_place_and_none_is_left_over(golden: Golden) -> None:
    network = golden.network(window_s=None)  # load_state_dict is strict
    assert len(from_espnet_state(golden.state)) == len(network.state_dict()) == len(golden.state) - 1  # mel filters


@pytest.mark.parametrize("row", ROWS)
def test_features_and_conv_embedding_are_those_of_espnet(golden: Golden, row: str) -> None:
    differences = _front_end(golden.network(window_s=None), golden.group(row))
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("row", ROWS)
def test_encoder_ctc_and_decoder_are_those_of_espnet(golden: Golden, row: str) -> None:
    differences = _states(golden.network(window_s=None), golden.group(row))
    assert max(differences.values()) < TOLERANCE, differences


def test_30_s_window_is_that_of_espnet(golden: Golden) -> None:
    network, group = golden.network(window_s=30.0), golden.group("padded")
    assert network.embed(network.extract([group["waveform"]])).num_frames.tolist() == group["num_frames"].tolist()
    differences = _states(network, group)
    assert max(differences.values()) < TOLERANCE, differences


@pytest.mark.parametrize("case", LOSSES)
def test_losses_are_those_of_espnet(golden: Golden, case: str) -> None:
    ours, group = _losses(golden, golden.network(window_s=None), case), golden.group(case)
    # sums over many log-probabilities, of size 50 to 90: relative
    for name, value in ours.items():
        torch.testing.assert_close(value.reshape(1), group[name], rtol=1e-6, atol=0)


# --- different: one detail changed


def _scaled_only(embedded: Tensor, *, offset: int = 0) -> Tensor:
    return positions.add_positions(embedded / embedded.shape[-1] ** 0.5, offset=offset)


@pytest.mark.parametrize("detail", ["symmetric window", "floor of 1e-5", "variance instead of std", "flipped kernel"])
def test_another_front_end_is_not_espnets(golden: Golden, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = golden.network(window_s=None)
    if detail == "symmetric window":
        monkeypatch.setattr(log_mel, "_window", lambda _: torch.hann_window(log_mel.WIN_LENGTH, periodic=False))
    elif detail == "floor of 1e-5":
        monkeypatch.setattr(log_mel, "FLOOR", 1e-5)
    elif detail == "variance instead of std":
        network.feature_std.square_()
    else:
        kernel = network.get_parameter("encoder.conv_embedding.convs.0.weight")
        kernel.copy_(kernel.flip(2))
    assert max(_front_end(network, golden.group("row1")).values()) > VISIBLE


def _flip(network: OwsmNetwork, module: str) -> None:
    weight = network.get_parameter(f"{module}.weight")
    weight.copy_(weight.flip(-1))


def _swap(network: OwsmNetwork, first: str, second: str) -> None:
    norms = [network.get_submodule(name) for name in (first, second)]
    states = [{key: value.clone() for key, value in norm.state_dict().items()} for norm in norms]
    for norm, state in zip(norms, reversed(states), strict=True):
        norm.load_state_dict(state)


CHANGED_WEIGHTS: dict[str, tuple[str, Callable[[OwsmNetwork], object]]] = {
    "cgMLP kernel flipped": ("encoder_out", lambda n: _flip(n, "encoder.layers.0.cgmlp.gate_conv")),
    "merge kernel flipped": ("encoder_out", lambda n: _flip(n, "encoder.layers.1.merge.conv")),
    "macaron norms swapped": (
        "encoder_out",
        lambda n: _swap(n, "encoder.layers.0.ffn1.layer_norm", "encoder.layers.0.ffn2.layer_norm"),
    ),
    "branch norms swapped": (
        "encoder_out",
        lambda n: _swap(n, "encoder.layers.0.self_attn.layer_norm", "encoder.layers.0.cgmlp.layer_norm"),
    ),
    "decoder norms swapped": (
        "decoder_log_probs",
        lambda n: _swap(n, "decoder.layers.0.self_attn.layer_norm", "decoder.layers.0.src_attn.layer_norm"),
    ),
    "CTC head for the output layer": (
        "decoder_log_probs",
        lambda n: n.decoder.lm_head.load_state_dict(n.ctc_head.state_dict()),
    ),
}


@pytest.mark.parametrize("detail", CHANGED_WEIGHTS)
def test_weights_in_another_place_are_not_espnets(golden: Golden, detail: str) -> None:
    network = golden.network(window_s=None)
    output, change = CHANGED_WEIGHTS[detail]
    change(network)
    assert _states(network, golden.group("row1"))[output] > VISIBLE


@pytest.mark.parametrize(
    ("module", "output"),
    [(encoder_module, "encoder_out"), (decoder_module, "decoder_log_probs")],
    ids=["encoder", "decoder"],
)
def test_without_the_sqrt_of_the_width_it_is_not_espnets(
    golden: Golden, module: object, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "add_positions", _scaled_only)
    assert _states(golden.network(window_s=None), golden.group("row1"))[output] > VISIBLE


@pytest.mark.parametrize(("name", "function"), [("gelu", F.relu), ("silu", F.gelu)])
def test_another_activation_is_not_espnets(
    golden: Golden, name: str, function: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, name, function)
    assert _states(golden.network(window_s=None), golden.group("row1"))["encoder_out"] > VISIBLE


def test_a_window_whose_padding_is_masked_is_not_espnets(golden: Golden) -> None:
    network, group = golden.network(window_s=30.0), golden.group("padded")
    embedded = network.embed(network.extract([group["waveform"]]))
    masked = SpeechStates(embedded.states, embedded.num_real_frames, embedded.num_real_frames)
    inside = group["frames"] < embedded.num_real_frames
    ours = network.encode(masked).states[0, group["frames"][inside]]
    assert float((ours - group["encoder_out"][inside]).abs().max()) > VISIBLE


@pytest.mark.parametrize(
    "changed", [{"label_smoothing": 0.0}, {"length_normalized_loss": True}, {"ctc_loss_weight": 0.5}]
)
def test_another_loss_is_not_espnets(golden: Golden, changed: dict[str, Any]) -> None:
    network = golden.network(window_s=None)
    network.config = replace(network.config, **changed)
    total = _losses(golden, network, "loss2")["total"]
    assert float((total - golden.group("loss2")["total"]).abs()) > VISIBLE


def test_previous_text_changes_the_loss(golden: Golden) -> None:
    network = golden.network(window_s=None)
    ours = _losses(golden, network, "loss")["att"]
    assert float((ours - golden.group("loss_prev")["att"]).abs()) > VISIBLE


# --- what cannot be read


def test_unknown_and_foreign_parameters_are_named(golden: Golden) -> None:
    state = {**golden.state, "encoder.encoders.0.attn.pos_bias_u": torch.zeros(1)}
    with pytest.raises(SkipwiseError, match=r"1 keys that no OWSM has: encoder\.encoders\.0\.attn\.pos_bias_u"):
        from_espnet_state(state)


def test_other_mel_filters_are_refused(golden: Golden) -> None:
    key = "frontend.logmel.melmat"
    with pytest.raises(SkipwiseError, match=r"mel filters .* are not OWSM's"):
        from_espnet_state({**golden.state, key: golden.state[key].roll(1, dims=1)})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encoder": "conformer"}, "encoder must be 'e_branchformer', got 'conformer'"),
        ({"encoder_conf": {}}, "encoder_conf.attention_layer_type must be 'selfattn', got 'rel_selfattn'"),
        ({"encoder_conf": {"input_layer": "conv2d6"}}, "input_layer must be one of conv2d, conv2d8; got 'conv2d6'"),
        ({"frontend_conf": {"fs": "8k"}}, "frontend_conf.fs must be 16k, got '8k'"),
        ({"frontend_conf": {"win_length": 400}}, "frontend_conf.hop_length must be 160, got 128"),
        ({"token_list": []}, "no token_list"),
    ],
)
def test_configs_that_the_port_does_not_compute_are_refused(
    golden: Golden, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(SkipwiseError, match=message):
        architecture_from_espnet({**golden.config, **changed})


def test_architecture_is_read_whole(golden: Golden) -> None:
    architecture = architecture_from_espnet(golden.config)
    assert architecture.languages == ("deu", "eng", "fra", "ita")
    assert architecture.tasks == ("asr", "st_eng")
    assert architecture.prompt("fra", "st_eng") == [57, 6, 9, 10]
    assert architecture.window_s == 30.0
    assert isinstance(architecture, OwsmArchitecture)
