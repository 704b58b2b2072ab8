"""A model's folder without transformers: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.loading import load_owsm, save_owsm
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from tests.tiny import attach_random_gates, tiny_network, tiny_vocabulary

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model's folder, to break."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def change_config(folder: Path, **changes: Any) -> None:
    record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(record | changes), encoding="utf-8")


# --- what is written comes back


def test_a_saved_model_comes_back_bit_for_bit(folder: Path) -> None:
    network, loaded = tiny_network(), load_owsm(folder)
    assert loaded.network.config == network.config
    assert not loaded.network.training and loaded.folder == folder and loaded.name == str(folder)
    assert loaded.vocabulary.tokens == tiny_vocabulary().tokens
    assert loaded.network.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in loaded.network.state_dict().items())


def test_another_seed_is_another_model(folder: Path) -> None:
    state, other = load_owsm(folder).network.state_dict(), tiny_network(seed=1).state_dict()
    assert not any(torch.equal(state[key], other[key]) for key in state if key.endswith("proj.weight"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_are_computed_with_in_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    network = tiny_network()
    save_owsm(tmp_path / "half", network, tiny_vocabulary(), dtype=dtype)
    with safe_open(tmp_path / "half" / WEIGHTS, framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {dtype}  # noqa: SIM118
    loaded = load_owsm(tmp_path / "half").network.state_dict()
    assert all(torch.equal(loaded[key], tensor.to(dtype).float()) for key, tensor in network.state_dict().items())


def test_a_sharded_model_is_read_whole(model: OwsmForConditionalGeneration, folder: Path, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    tiny_vocabulary().save(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 and (tmp_path / INDEX).exists()
    whole, sharded = load_owsm(folder).network.state_dict(), load_owsm(tmp_path).network.state_dict()
    assert all(torch.equal(tensor, sharded[key]) for key, tensor in whole.items())


def test_gates_are_not_written_into_the_base(folder: Path, tmp_path: Path) -> None:
    network = tiny_network()
    attach_random_gates(network)
    save_owsm(tmp_path / "base", network, tiny_vocabulary())
    assert load_file(tmp_path / "base" / WEIGHTS).keys() == load_file(folder / WEIGHTS).keys()
    assert load_owsm(tmp_path / "base").network.gate_adapter is None


def test_a_token_may_hold_any_line_separator_but_the_newline(tmp_path: Path) -> None:
    tokens = ["<blank>", "<unk>", "a\u2028b", "c\x85", "\r", "d\x0b", "<sos>", "<eos>", "<sop>"]
    tiny_vocabulary().save(tmp_path)
    written = "".join(f"{token}\n" for token in tokens).encode()
    (tmp_path / "tokens.txt").write_bytes(written)
    vocabulary = OwsmVocabulary.load(tmp_path)
    assert list(vocabulary.tokens) == tokens
    vocabulary.save(tmp_path)
    assert (tmp_path / "tokens.txt").read_bytes() == written


# --- what is wrong is named


def test_a_missing_key_is_named(broken: Path) -> None:
    change_weights(broken, lambda weights: weights.pop("model.ctc_head.bias"))
    with pytest.raises(SkipwiseError, match=r"lack keys: ctc_head\.bias \(1\)"):
        load_owsm(broken)


def test_an_unknown_key_is_named(broken: Path) -> None:
    change_weights(broken, lambda weights: weights.update({"model.more": torch.zeros(1)}))
    with pytest.raises(SkipwiseError, match=r"have unknown keys: more \(1\)"):
        load_owsm(broken)


def test_a_wrong_shape_is_named(broken: Path) -> None:
    change_weights(broken, lambda weights: weights.update({"model.ctc_head.bias": torch.zeros(3)}))
    with pytest.raises(SkipwiseError, match=r"ctc_head\.bias in .* has shape \(3,\); the config asks for \(1589,\)"):
        load_owsm(broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "whisper"}, "describes a model of type 'whisper'; this reads 'owsm'"),
        ({"encoder_layers": 3}, r"lack keys: encoder\.layers\.2\."),
        ({"hidden_size": 33}, "hidden_size must be a multiple of the encoder's heads, got 33 and 4"),
        ({"subsampling_factor": 5}, "subsampling_factor must be 4 or 8, got 5"),
        ({"merge_kernel_size": 30}, "merge_kernel_size must be odd, got 30"),
        ({"cgmlp_dim": 65}, "cgmlp_dim must be even, got 65"),
    ],
)
def test_a_config_that_cannot_be_is_refused(broken: Path, changes: dict[str, Any], message: str) -> None:
    change_config(broken, **changes)
    with pytest.raises(SkipwiseError, match=message):
        load_owsm(broken)


def test_keys_that_transformers_adds_to_the_config_do_not_matter(broken: Path) -> None:
    change_config(broken, transformers_version="9.9", tie_word_embeddings=False)
    assert load_owsm(broken).network.config == tiny_network().config


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_config_is_named(broken: Path, content: bytes) -> None:
    (broken / CONFIG).write_bytes(content)
    with pytest.raises(SkipwiseError, match=r"config\.json is not a model's config"):
        load_owsm(broken)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_weights_are_named(broken: Path, content: bytes | None) -> None:
    whole = (broken / WEIGHTS).read_bytes()
    (broken / WEIGHTS).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(SkipwiseError, match=r"cannot read the weights .*model\.safetensors.* Copy the model again"):
        load_owsm(broken)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(broken: Path, content: str) -> None:
    (broken / INDEX).write_text(content)
    with pytest.raises(SkipwiseError, match=r"index\.json is not an index of weight files"):
        load_owsm(broken)


def test_a_missing_shard_is_named(broken: Path) -> None:
    (broken / INDEX).write_text('{"weight_map": {"model.ctc_head.bias": "model-00001-of-00002.safetensors"}}')
    with pytest.raises(SkipwiseError, match=r"cannot read the weights .*model-00001-of-00002\.safetensors"):
        load_owsm(broken)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (CONFIG, r"no model in .*: config\.json is missing"),
        (WEIGHTS, "cannot read the weights"),
        ("tokens.txt", r"is not a whole OWSM model: tokens\.txt is missing"),
        ("bpe.model", r"is not a whole OWSM model: bpe\.model is missing"),
    ],
)
def test_a_missing_file_is_named(broken: Path, name: str, message: str) -> None:
    (broken / name).unlink()
    with pytest.raises(SkipwiseError, match=message):
        load_owsm(broken)


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none", str(tmp_path / "none"), "none", "./owsm/none"):
        with pytest.raises(SkipwiseError, match=r"not a folder\. Give a folder that holds"):
            load_owsm(source)


def test_a_hub_name_that_cannot_be_reached_says_so() -> None:
    with pytest.raises(SkipwiseError, match="no model at nobody/owsm: not a folder, and the Hub said"):
        load_owsm("nobody/owsm")
