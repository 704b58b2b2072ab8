"""Sources that cannot be converted: each has one message, which names what is wrong."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
import yaml
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.convert import convert_owsm
from skipwise.models.owsm.loading import load_owsm
from tests.espnet_folder import BPE_MODEL, CONFIG, MEL_FILTERS, STATS, WEIGHTS, espnet_state_of, write_espnet


@pytest.fixture
def espnet(tmp_path: Path) -> Path:
    """A whole model in ESPnet's layout, to break."""
    return write_espnet(tmp_path / "espnet")


def change_config(root: Path, **changes: Any) -> None:
    record = yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))
    (root / CONFIG).write_text(yaml.safe_dump(record | changes), encoding="utf-8")


def refused(source: Path, message: str, **options: Any) -> None:
    target = source.parent / "refused"
    with pytest.raises(SkipwiseError, match=message):
        convert_owsm(source, target, **options)
    assert not target.exists()


# --- files


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (WEIGHTS, r"is not a whole ESPnet model: exp/.*till45epoch\.pth is missing"),
        (CONFIG, r"is not a whole ESPnet model: exp/s2t_train_tiny/config\.yaml is missing"),
        (BPE_MODEL, r"data/token_list/bpe_unigram50000/bpe\.model \(bpemodel in config\.yaml\) is missing"),
        (STATS, r"feats_stats\.npz \(normalize_conf\.stats_file in config\.yaml\) is missing"),
    ],
)
def test_a_missing_file_is_named(espnet: Path, file: str, message: str) -> None:
    (espnet / file).unlink()
    refused(espnet, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_list": "data/gone.txt"}, r"data/gone\.txt \(token_list in config\.yaml\) is missing"),
        ({"token_list": None}, "has no token_list"),
        ({"bpemodel": None}, r"bpemodel is missing in config\.yaml"),
        ({"normalize_conf": {}}, r"normalize_conf\.stats_file is missing in config\.yaml"),
        ({"token_list": ["<blank>", "<unk>", "a", "<sos/eos>"]}, "no OWSM's: it lacks <sos>, <eos>, <sop>, <notimest"),
        ({"encoder": "conformer"}, "encoder must be 'e_branchformer', got 'conformer'. Only E-Branchformer OWSMs"),
        ({"postencoder": "hugging_face_transformers"}, "postencoder must be None, got 'hugging_face_transformers'"),
        ({"normalize": "utterance_mvn"}, "normalize must be 'global_mvn', got 'utterance_mvn'"),
        ({"normalize_conf": {"norm_vars": False}}, r"normalize_conf\.norm_vars must be True, got False"),
    ],
)
def test_a_config_of_another_model_is_refused(espnet: Path, changes: dict[str, Any], message: str) -> None:
    change_config(espnet, **changes)
    refused(espnet, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", r"config\.yaml is not YAML"), ("- a", r"config\.yaml must hold a mapping, got a list")],
)
def test_a_damaged_config_is_named(espnet: Path, content: str, message: str) -> None:
    (espnet / CONFIG).write_text(content)
    refused(espnet, message)


def test_several_weights_are_listed_and_one_is_recommended(espnet: Path) -> None:
    (espnet / "meta.yaml").unlink()
    for name in ("1epoch.pth", "valid.acc.best.pth"):
        torch.save({}, espnet / "exp/s2t_train_tiny" / name)
    message = (
        r"more than one \.pth file: 1epoch\.pth, valid\.acc\.best\.pth, .*\. Name one of them, such as .*ave_5best"
    )
    refused(espnet, message)
    with pytest.raises(SkipwiseError, match=message):
        load_owsm(espnet)
    assert load_owsm(espnet / WEIGHTS).folder == (espnet / WEIGHTS).parent


def test_a_folder_without_a_model_says_what_is_not_there(espnet: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"no ESPnet model in .*empty: there is no config\.yaml in it")
    (espnet / "meta.yaml").unlink()
    (espnet / WEIGHTS).unlink()
    refused(espnet, r"no ESPnet model in .*: there is no \.pth file in it")
    torch.save({}, tmp_path / "alone.pth")
    refused(tmp_path / "alone.pth", r"no ESPnet model at .*alone\.pth: config\.yaml is missing beside it")
    refused(tmp_path / "nowhere", "no model at .*nowhere: not a folder")


def test_a_model_of_another_task_of_espnet_is_named(espnet: Path) -> None:
    meta = {"files": {"asr_model_file": "a.pth"}, "yaml_files": {"asr_train_config": "b.yaml"}}
    (espnet / "meta.yaml").write_text(yaml.safe_dump(meta))
    refused(espnet, "lacks s2t_model_file, s2t_train_config and names asr_model_file, asr_train_config")


def test_another_type_of_transformers_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    for to in ("transformers", "espnet"):
        refused(tmp_path / "whisper", "describes a model of type 'whisper'; this reads 'owsm'", to=to)


@pytest.mark.parametrize("content", [b"neither", b""])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(content)
    refused(tmp_path / "model.zip", r"model\.zip is no packed ESPnet model: neither zip nor tar")
    with pytest.raises(SkipwiseError, match=r"a file, not a folder. `skipwise convert .*model\.zip DIR` unpacks"):
        load_owsm(tmp_path / "model.zip")


def test_an_archive_that_breaks_off_is_named(espnet: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.add(espnet, ".")
    whole = (tmp_path / "packed.tar").read_bytes()
    (tmp_path / "packed.tar").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "packed.tar", r"cannot unpack .*packed\.tar: .* Copy it again")
    assert not list(tmp_path.glob(".unpacked*"))


def test_an_archive_writes_nothing_outside_its_place(espnet: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.add(espnet, ".")
        for outside in ("../outside.pth", str(tmp_path / "outside.pth")):
            member = packed.gettarinfo(espnet / WEIGHTS)
            member.name = outside
            with (espnet / WEIGHTS).open("rb") as content:
                packed.addfile(member, content)
    convert_owsm(tmp_path / "packed.tar", tmp_path / "in" / "converted")
    assert not list(tmp_path.glob("outside*")) and not list((tmp_path / "in").glob("outside*"))


# --- weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("ctc.ctc_lo.bias"), r"lack keys: ctc\.ctc_lo\.bias \(1\)"),
        (lambda s: s.pop(MEL_FILTERS), r"lack keys: frontend\.logmel\.melmat \(1\)"),
        (lambda s: s.update({"encoder.embed.conv.4.bias": torch.zeros(1)}), r"unknown keys: encoder\.embed\.conv\.4"),
        (lambda s: s.update({"decoder.decoders.9.norm1.bias": torch.zeros(1)}), r"unknown keys: decoder\.decoders\.9"),
        (lambda s: s.update({"lm.weight": torch.zeros(1)}), r"1 keys that no OWSM has: lm\.weight"),
        (lambda s: s.update({"normalize.mean": torch.zeros(3)}), r"normalize\.mean in .* has shape \(3,\); .* \(80,\)"),
        (lambda s: s.update({MEL_FILTERS: torch.zeros(257, 80)}), "mel filters .* are not OWSM's"),
    ],
)
def test_weights_that_are_not_those_of_the_config_are_named(
    espnet: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = dict(espnet_state_of("v3_tiny"))
    change(state)
    torch.save(state, espnet / WEIGHTS)
    refused(espnet, message)


def test_the_trainers_checkpoint_is_refused(espnet: Path) -> None:
    torch.save({"model": espnet_state_of("v3_tiny"), "optimizers": [{}], "epoch": 3}, espnet / WEIGHTS)
    refused(espnet, "holds more or less than a model's weights: model, optimizers, epoch. Name the file of the weights")
    torch.save([1, 2], espnet / WEIGHTS)
    refused(espnet, "holds more or less than a model's weights: list")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_damaged_weights_are_named(espnet: Path, share: float) -> None:
    whole = (espnet / WEIGHTS).read_bytes()
    (espnet / WEIGHTS).write_bytes(whole[: int(share * len(whole))])
    refused(espnet, r"cannot read the weights .*\.pth: .* Copy the model again")


def test_code_in_a_weights_file_is_not_run(espnet: Path) -> None:
    torch.save({"weights": Path}, espnet / WEIGHTS)
    refused(espnet, "cannot read the weights")


# --- directions


def test_a_model_that_is_in_the_layout_already_is_refused(espnet: Path, tmp_path: Path) -> None:
    refused(espnet, "is in ESPnet's layout already. For transformers' leave out --to espnet", to="espnet")
    convert_owsm(espnet, tmp_path / "converted")
    refused(tmp_path / "converted", "is in transformers' layout already. For ESPnet's add --to espnet")
    refused(tmp_path / "converted", "dtype is for transformers' layout, got", to="espnet", dtype=torch.float16)


def test_a_token_id_that_is_not_in_the_token_list_is_refused(espnet: Path, tmp_path: Path) -> None:
    convert_owsm(espnet, tmp_path / "converted")
    record = json.loads((tmp_path / "converted" / "config.json").read_text())
    (tmp_path / "converted" / "config.json").write_text(json.dumps(record | {"bos_token_id": 5}))
    refused(tmp_path / "converted", "bos_token_id must be 57, as the token list says; .* has 5", to="espnet")


def test_an_unknown_layout_is_refused(espnet: Path) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # else the type check comes first
    try:
        refused(espnet, "to one of transformers, espnet; got 'onnx'", to="onnx")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
