"""ESPnet's layout to transformers' and back: the same bit for bit, and what is wrong is named."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoProcessor

from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import GateAdapter
from skipwise.gating.adapter_files import config_record
from skipwise.models.attach import attach, fingerprint
from skipwise.models.owsm.convert import EXPORTED_CONFIG, EXPORTED_WEIGHTS, convert_owsm
from skipwise.models.owsm.espnet_keys import from_espnet_state
from skipwise.models.owsm.loading import load_owsm, save_owsm
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from tests.espnet_folder import (
    BPE_MODEL,
    CONFIG,
    MEL_FILTERS,
    STATS,
    WEIGHTS,
    espnet_config_of,
    espnet_state_of,
    write_config,
    write_espnet,
)
from tests.tiny import attach_random_gates, tiny_network, tiny_vocabulary

# sha256 of the keys of `state_dict()`, a line each, as ESPnet 202511's own model has them
KEY_ORDER = {"v3_tiny": "aae5e995db54738b", "v4_tiny": "3ab728f0ac789a88"}
both_shapes = pytest.mark.parametrize("name", ["v3_tiny", "v4_tiny"])


@pytest.fixture
def espnet(tmp_path: Path) -> Path:
    """A whole model in ESPnet's layout, to convert or to break."""
    return write_espnet(tmp_path / "espnet")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A model of ours that ESPnet has never seen, which takes audio as long as it is."""
    save_owsm(tmp_path / "ours", tiny_network(), tiny_vocabulary())
    return tmp_path / "ours"


def _with_gates(root: Path) -> GateAdapter:
    """Gates in the checkpoint and in the config, where ESPnet's trainer leaves them."""
    adapter = attach_random_gates(load_owsm(root).network)
    state = torch.load(root / WEIGHTS) | {f"gate_adapter.{key}": t for key, t in adapter.state_dict().items()}
    torch.save(state | {"gate_training.step": torch.tensor(7)}, root / WEIGHTS)
    write_config(root, read_config(root) | {"gates": config_record(adapter.config), "gates_conf": {"scope": "both"}})
    return adapter


def test_gates_that_espnet_trained_lie_beside_the_converted_model(espnet: Path, tmp_path: Path) -> None:
    adapter = _with_gates(espnet)
    convert_owsm(espnet, tmp_path / "model")
    read = GateAdapter.from_pretrained(tmp_path / "model" / "gates")
    assert read.base == adapter.base and read.config == adapter.config
    assert all(torch.equal(tensor, adapter.state_dict()[key]) for key, tensor in read.state_dict().items())
    assert read.base.fingerprint == fingerprint(load_owsm(tmp_path / "model").network)


def test_gates_without_their_config_are_named(espnet: Path, tmp_path: Path) -> None:
    _with_gates(espnet)
    config = read_config(espnet)
    for gates in (None, {**config["gates"], "scope": "decoder"}):
        write_config(espnet, config | {"gates": gates})
        with pytest.raises(SkipwiseError, match="has gates that its config does not describe"):
            convert_owsm(espnet, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def read_config(root: Path, file: str = CONFIG) -> dict[str, Any]:
    return yaml.safe_load((root / file).read_text(encoding="utf-8"))


def assert_same(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(state) == list(other)
    for key, tensor in state.items():
        assert tensor.dtype == other[key].dtype and torch.equal(tensor, other[key]), key


# --- there and back


@both_shapes
def test_there_and_back_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    born = write_espnet(tmp_path / "born", name)
    convert_owsm(born, tmp_path / "converted")
    convert_owsm(tmp_path / "converted", tmp_path / "back", to="espnet")
    meta = yaml.safe_load((tmp_path / "back" / "meta.yaml").read_text())
    assert meta == {
        "files": {"s2t_model_file": EXPORTED_WEIGHTS},
        "yaml_files": {"s2t_train_config": EXPORTED_CONFIG},
    }
    state = torch.load(tmp_path / "back" / EXPORTED_WEIGHTS, weights_only=True)
    assert state[MEL_FILTERS].dtype == torch.float32 and state["normalize.mean"].dtype == torch.float64
    assert_same(state, torch.load(born / WEIGHTS, weights_only=True))
    assert hashlib.sha256("\n".join(state).encode()).hexdigest()[:16] == KEY_ORDER[name]
    config, before = read_config(tmp_path / "back", EXPORTED_CONFIG), read_config(born)
    assert config == before and list(config) == list(before)
    for file in (BPE_MODEL, STATS):
        assert (tmp_path / "back" / file).read_bytes() == (born / file).read_bytes()


@both_shapes
def test_the_converted_model_has_espnets_weights_sizes_and_tokens(name: str, tmp_path: Path) -> None:
    born = write_espnet(tmp_path / "born", name)
    conversion = convert_owsm(born, tmp_path / "converted")
    model, expected = load_owsm(tmp_path / "converted"), from_espnet_state(espnet_state_of(name))
    found = model.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key].float()) for key, tensor in found.items())
    sizes = model.network.config
    assert (sizes.num_mel_bins, sizes.subsampling_factor) == {"v3_tiny": (80, 4), "v4_tiny": (128, 8)}[name]
    assert list(model.vocabulary.tokens) == espnet_config_of(name)["token_list"]
    assert conversion.architecture == sizes and conversion.layout == "transformers"
    assert conversion.num_parameters == sum(tensor.numel() for tensor in expected.values())
    assert conversion.num_bytes == sum(p.stat().st_size for p in (tmp_path / "converted").rglob("*") if p.is_file())


@both_shapes
def test_an_espnet_folder_is_loaded_as_it_is(name: str, tmp_path: Path) -> None:
    born = write_espnet(tmp_path / "born", name)
    before = sorted(born.rglob("*"))
    convert_owsm(born, tmp_path / "converted")
    direct, converted = load_owsm(born), load_owsm(tmp_path / "converted")
    assert direct.network.config == converted.network.config and direct.vocabulary.tokens == converted.vocabulary.tokens
    assert_same(direct.network.state_dict(), converted.network.state_dict())
    assert {tensor.dtype for tensor in direct.network.state_dict().values()} == {torch.float32}
    assert not direct.network.training and (direct.folder, direct.name) == (born, str(born))
    assert sorted(born.rglob("*")) == before


def test_a_model_of_ours_goes_to_espnet_and_comes_back_with_its_gates(ours: Path, tmp_path: Path) -> None:
    attach_random_gates(load_owsm(ours).network).save_pretrained(tmp_path / "gates")
    with pytest.warns(SkipwiseWarning, match="trained on audio as long as it is, but ESPnet pads it to 30 s"):
        convert_owsm(ours, tmp_path / "there", to="espnet")
    convert_owsm(tmp_path / "there", tmp_path / "back")
    before, after = load_owsm(ours), load_owsm(tmp_path / "back")
    assert after.network.config == before.network.config and after.network.config.window_s is None
    assert_same(after.network.state_dict(), before.network.state_dict())
    assert after.vocabulary.tokens == before.vocabulary.tokens
    assert after.vocabulary.sentencepiece_model == before.vocabulary.sentencepiece_model
    assert fingerprint(after.network) == fingerprint(before.network)
    attach(after.network, GateAdapter.from_pretrained(tmp_path / "gates"))


def test_statistics_that_are_made_give_espnet_the_same_mean_and_deviation(ours: Path, tmp_path: Path) -> None:
    with pytest.warns(SkipwiseWarning, match="ESPnet pads"):
        convert_owsm(ours, tmp_path / "there", to="espnet")
    config = read_config(tmp_path / "there", EXPORTED_CONFIG)
    stats = np.load(tmp_path / "there" / config["normalize_conf"]["stats_file"])
    mean = stats["sum"] / stats["count"]  # as `espnet2.layers.global_mvn` does
    std = np.sqrt(stats["sum_square"] / stats["count"] - mean * mean)
    state = torch.load(tmp_path / "there" / EXPORTED_WEIGHTS, weights_only=True)
    np.testing.assert_allclose(mean, state["normalize.mean"].double().numpy(), rtol=1e-12)  # float64 rounding
    np.testing.assert_allclose(std, state["normalize.std"].double().numpy(), rtol=1e-12)


def test_what_has_changed_since_birth_is_put_over_the_config(espnet: Path, tmp_path: Path) -> None:
    convert_owsm(espnet, tmp_path / "converted")
    folder = tmp_path / "converted"
    weights = load_file(folder / "model.safetensors")
    kept = {key: tensor for key, tensor in weights.items() if not key.startswith("model.decoder.layers.2.")}
    kept["model.feature_mean"] = kept["model.feature_mean"] + 5
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    record = json.loads((folder / "config.json").read_text())
    changes = {"decoder_layers": 2, "dropout": 0.25, "window_s": 20.0, "max_window_s": 20.0}
    (folder / "config.json").write_text(json.dumps(record | changes))
    convert_owsm(folder, tmp_path / "back", to="espnet")
    before, config = read_config(espnet), read_config(tmp_path / "back", EXPORTED_CONFIG)
    before["decoder_conf"] |= {"num_blocks": 2, "dropout_rate": 0.25, "positional_dropout_rate": 0.25}
    before["encoder_conf"] |= {"dropout_rate": 0.25, "positional_dropout_rate": 0.25}
    before["preprocessor_conf"]["speech_length"] = 20
    assert config == before
    assert not any("decoders.2." in key for key in torch.load(tmp_path / "back" / EXPORTED_WEIGHTS, weights_only=True))
    stats = np.load(tmp_path / "back" / STATS)
    np.testing.assert_allclose(stats["sum"] / stats["count"], kept["model.feature_mean"].double().numpy(), rtol=1e-12)


def test_paths_of_the_machine_it_was_trained_on_do_not_leave_the_folder(espnet: Path, tmp_path: Path) -> None:
    config = read_config(espnet)
    absolute = {"bpemodel": f"/somewhere/else/{BPE_MODEL}", "normalize_conf": {"stats_file": f"../up/{STATS}"}}
    write_config(espnet, config | absolute)
    convert_owsm(espnet, tmp_path / "converted")
    convert_owsm(tmp_path / "converted", tmp_path / "back", to="espnet")
    back = read_config(tmp_path / "back", EXPORTED_CONFIG)
    for file in (back["bpemodel"], back["normalize_conf"]["stats_file"]):
        assert (tmp_path / "back" / file).is_file() and not Path(file).is_absolute()
    assert (tmp_path / "back" / back["normalize_conf"]["stats_file"]).read_bytes() == (espnet / STATS).read_bytes()


# --- forms of the source


@pytest.mark.parametrize("form", ["pth", "config", "no meta.yaml", "zip", "tar.gz"])
def test_every_form_of_an_espnet_model_is_read(form: str, espnet: Path, tmp_path: Path) -> None:
    source = {"pth": espnet / WEIGHTS, "config": espnet / CONFIG}.get(form, espnet)
    if form == "no meta.yaml":
        (espnet / "meta.yaml").unlink()
    if form in ("zip", "tar.gz"):
        kind = {"zip": "zip", "tar.gz": "gztar"}[form]
        source = Path(shutil.make_archive(str(tmp_path / "packed"), kind, espnet))
    convert_owsm(source, tmp_path / "out" / "converted")
    expected = from_espnet_state(espnet_state_of("v3_tiny"))
    found = load_owsm(tmp_path / "out" / "converted").network.state_dict()
    assert all(torch.equal(tensor, expected[key].float()) for key, tensor in found.items())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["converted"]  # nothing unpacked stays


@pytest.mark.parametrize("form", ["legacy", "DeepSpeed", "links"])
def test_weights_in_older_and_other_files_are_the_same(form: str, espnet: Path) -> None:
    state = espnet_state_of("v3_tiny")
    if form == "legacy":
        torch.save(state, espnet / WEIGHTS, _use_new_zipfile_serialization=False)
        assert not zipfile.is_zipfile(espnet / WEIGHTS)
    elif form == "DeepSpeed":
        torch.save({"module": state}, espnet / WEIGHTS)
    else:
        (espnet / "meta.yaml").unlink()
        (espnet / WEIGHTS).with_name("valid.acc.best.pth").symlink_to((espnet / WEIGHTS).name)
    expected = from_espnet_state(state)
    found = load_owsm(espnet).network.state_dict()
    assert all(torch.equal(tensor, expected[key].float()) for key, tensor in found.items())


def test_a_token_list_may_be_a_file(espnet: Path, tmp_path: Path) -> None:
    config = read_config(espnet)
    (espnet / "data/tokens.txt").write_text("".join(f"{token}\n" for token in config["token_list"]), encoding="utf-8")
    write_config(espnet, config | {"token_list": "data/tokens.txt"})
    assert list(load_owsm(espnet).vocabulary.tokens) == config["token_list"]


def test_gates_beside_an_espnet_model_are_found(espnet: Path) -> None:
    network = load_owsm(espnet).network
    attach_random_gates(network).save_pretrained(espnet / "gates")
    attach(load_owsm(espnet).network, load_owsm(espnet).folder / "gates")


# --- what is written


def test_a_large_model_is_written_in_shards_that_transformers_reads(espnet: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = tmp_path / "sharded"
    convert_owsm(espnet, folder, max_shard_bytes=100_000, progress=lambda done, total: told.append((done, total)))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) == len(told) > 2 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert sorted(set(index["weight_map"].values())) == shards
    assert all((folder / shard).stat().st_size < 120_000 for shard in shards)
    assert told[-1] == (index["metadata"]["total_size"], index["metadata"]["total_size"])
    state = load_owsm(folder).network.state_dict()
    assert_same(state, load_owsm(espnet).network.state_dict())
    theirs = OwsmForConditionalGeneration.from_pretrained(folder).model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in state.items())


def test_weights_may_be_stored_in_half_but_not_the_statistics(espnet: Path, tmp_path: Path) -> None:
    convert_owsm(espnet, tmp_path / "half", dtype=torch.float16)
    with safe_open(tmp_path / "half" / "model.safetensors", framework="pt") as file:
        dtypes = {key: file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert {key for key, dtype in dtypes.items() if dtype != torch.float16} == {
        "model.feature_mean",
        "model.feature_std",
    }
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "float16"
    half, full = load_owsm(tmp_path / "half").network, load_owsm(espnet).network
    assert torch.equal(half.feature_mean, full.feature_mean)
    assert torch.equal(half.ctc_head.weight, full.ctc_head.weight.half().float())
    assert fingerprint(half) == fingerprint(full)


def test_the_folder_is_whole_for_transformers(espnet: Path, tmp_path: Path) -> None:
    convert_owsm(espnet, tmp_path / "converted")
    processor = cast(Any, AutoProcessor.from_pretrained(tmp_path / "converted"))
    assert len(processor.tokenizer) == len(espnet_config_of("v3_tiny")["token_list"])
    assert processor.feature_extractor.window_s == 30.0


def test_every_file_may_be_read_by_whom_any_new_file_may(espnet: Path, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    convert_owsm(espnet, tmp_path / "converted")
    attach_random_gates(load_owsm(espnet).network).save_pretrained(tmp_path / "converted" / "gates")
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "converted").rglob("*") if path.is_file()}
    assert len(modes) > 8 and set(modes.values()) == {(tmp_path / "new").stat().st_mode}, modes


def test_gates_stay_behind_with_a_warning(espnet: Path, tmp_path: Path) -> None:
    convert_owsm(espnet, tmp_path / "model")
    attach_random_gates(load_owsm(tmp_path / "model").network).save_pretrained(tmp_path / "model" / "gates")
    with pytest.warns(SkipwiseWarning, match=r"the gates in .*model/gates stay behind"):
        convert_owsm(tmp_path / "model", tmp_path / "there", to="espnet")
    assert not list((tmp_path / "there").rglob("gate*"))


# --- where it is written


def test_a_folder_with_files_is_replaced_only_when_asked(espnet: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    target.mkdir()
    convert_owsm(espnet, target)  # an empty one is free
    before = (target / "config.json").read_bytes()
    (target / "config.json").write_text("old")
    with pytest.raises(SkipwiseError, match=r"converted is not empty\..* with --overwrite"):
        convert_owsm(espnet, target)
    assert (target / "config.json").read_text() == "old"
    convert_owsm(espnet, target, overwrite=True)
    assert (target / "config.json").read_bytes() == before
    convert_owsm(target, tmp_path / "back", to="espnet")
    convert_owsm(target, tmp_path / "back", to="espnet", overwrite=True)


def test_what_is_no_conversion_is_never_replaced(espnet: Path, tmp_path: Path) -> None:
    target = tmp_path / "converted"
    convert_owsm(espnet, target)
    (target / "gates").mkdir()
    (target / "gates" / "gate_config.json").write_text("{}")
    with pytest.raises(SkipwiseError, match=r"would be lost: gates/gate_config\.json\. Move them away"):
        convert_owsm(espnet, target, overwrite=True)
    with pytest.raises(SkipwiseError, match="holds the source"):
        convert_owsm(espnet, espnet, overwrite=True)
    with pytest.raises(SkipwiseError, match="holds the source"):
        convert_owsm(target, tmp_path, to="espnet", overwrite=True)
    assert (target / "gates" / "gate_config.json").exists() and (espnet / WEIGHTS).exists()


@pytest.mark.parametrize("foreign", ["espnet/egs2/notes.py", "espnet/run.sh", "zoo/model.safetensors", "data/my.model"])
def test_what_only_looks_like_a_conversion_is_not_replaced(tmp_path: Path, espnet: Path, foreign: str) -> None:
    target = tmp_path / "target"
    convert_owsm(espnet, target)
    (target / foreign).parent.mkdir(parents=True, exist_ok=True)
    (target / foreign).write_text("precious")
    with pytest.raises(SkipwiseError, match=f"no conversion's, and would be lost: {foreign}"):
        convert_owsm(espnet, target, overwrite=True)
    assert (target / foreign).read_text() == "precious"


def test_the_working_directory_is_not_replaced(tmp_path: Path, espnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    convert_owsm(espnet, target)
    monkeypatch.chdir(target)
    with pytest.raises(SkipwiseError, match="holds the working directory: it cannot be replaced"):
        convert_owsm(espnet, ".", overwrite=True)


def test_a_conversion_that_fails_leaves_nothing(espnet: Path, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_owsm(espnet, tmp_path / "converted", progress=fail)
    convert_owsm(espnet, tmp_path / "converted")
    with pytest.raises(KeyboardInterrupt):
        convert_owsm(tmp_path / "converted", tmp_path / "back", to="espnet", progress=fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted", "espnet"]
