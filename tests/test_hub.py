"""Models and adapters by a name on the Hub: from its cache, without a network."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path

import pytest
import torch

from skipwise import Transcriber
from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter
from skipwise.hub import is_hub_name, local_folder
from skipwise.models.loading import load_model
from skipwise.models.owsm.convert import convert_owsm
from skipwise.models.owsm.loading import HUB_PATTERNS, load_owsm
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.models.whisper.vocabulary import WhisperVocabulary
from tests.espnet_folder import BPE_MODEL, CONFIG, STATS, WEIGHTS, write_espnet
from tests.tiny import attach_random_gates, tone
from tests.tiny_whisper import save_tiny_whisper

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in place of the user's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(cache: Path, name: str, files: Path) -> Path:
    """Lay files out as the Hub's client caches a repository: blobs, and a snapshot of links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for number, path in enumerate(path for path in sorted(files.rglob("*")) if path.is_file()):
        blob, link = repository / "blobs" / f"{number:040x}", snapshot / path.relative_to(files)
        for place in (blob, link):
            place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blob)
        link.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_published_espnet_model_loads_by_its_name_with_the_gates_beside_it(cache: Path, tmp_path: Path) -> None:
    local = write_espnet(tmp_path / "local")
    attach_random_gates(load_owsm(local).network).save_pretrained(local / "gates")
    snapshot = put(cache, "espnet/owsm_tiny", local)
    model = load_owsm("espnet/owsm_tiny")
    assert (model.folder, model.name) == (snapshot, "espnet/owsm_tiny")
    state, expected = model.network.state_dict(), load_owsm(local).network.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in state.items())
    audio = (tone(1.0), 16_000)
    gated, dense = (Transcriber("espnet/owsm_tiny", gates=gates) for gates in ("auto", "none"))
    assert gated.transcribe(audio, language="deu").sparsity != dense.transcribe(audio, language="deu").sparsity


def test_a_published_model_is_converted_by_its_name_and_loads_by_its_new_one(cache: Path, tmp_path: Path) -> None:
    put(cache, "espnet/owsm_tiny", write_espnet(tmp_path / "local"))
    convert_owsm("espnet/owsm_tiny", tmp_path / "converted")
    snapshot = put(cache, "somebody/converted", tmp_path / "converted")
    model = load_owsm("somebody/converted")
    assert model.folder == snapshot
    convert_owsm("somebody/converted", tmp_path / "back", to="espnet")
    for found in (model, load_owsm(tmp_path / "back")):
        state, expected = found.network.state_dict(), load_owsm("espnet/owsm_tiny").network.state_dict()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in state.items())


def test_a_model_of_any_family_loads_by_its_name(cache: Path, tmp_path: Path) -> None:
    snapshot = put(cache, "somebody/whisper", save_tiny_whisper(tmp_path / "whisper"))
    model = load_model("somebody/whisper")
    assert (model.name, model.folder) == ("somebody/whisper", snapshot)
    assert isinstance(model.vocabulary, WhisperVocabulary)
    put(cache, "espnet/owsm_tiny", write_espnet(tmp_path / "local"))
    other = load_model("espnet/owsm_tiny")
    assert other.name == "espnet/owsm_tiny" and isinstance(other.vocabulary, OwsmVocabulary)


def test_an_adapter_loads_by_its_name(cache: Path, tmp_path: Path) -> None:
    adapter = attach_random_gates(load_owsm(write_espnet(tmp_path / "local")).network)
    adapter.save_pretrained(tmp_path / "gates")
    put(cache, "somebody/gates", tmp_path / "gates")
    assert GateAdapter.from_pretrained("somebody/gates").base == adapter.base


@pytest.mark.usefixtures("cache")
def test_a_name_that_cannot_be_reached_says_how_to_bring_the_files() -> None:
    message = (
        r"no model at nobody/owsm: not a folder, and the Hub said: .*Where the Hub can be reached, run "
        r"`hf download nobody/owsm --local-dir DIR`, bring DIR here and name it; or set HF_HUB_CACHE"
    )
    with pytest.raises(SkipwiseError, match=message) as raised:
        load_owsm("nobody/owsm")
    assert "\n" not in str(raised.value)
    with pytest.raises(SkipwiseError, match="no gate adapter at nobody/gates: not a folder, and the Hub said"):
        GateAdapter.from_pretrained("nobody/gates")


def test_only_a_models_files_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert local_folder("espnet/owsm", what="model", needs="a", patterns=HUB_PATTERNS) == tmp_path
    assert asked == {"name": "espnet/owsm", "patterns": list(HUB_PATTERNS)}
    needed = [
        *("meta.yaml", CONFIG, WEIGHTS, BPE_MODEL, STATS),
        *("config.json", "model.safetensors", "model-00001-of-00005.safetensors", "model.safetensors.index.json"),
        *("tokens.txt", "bpe.model", "gates/gate_config.json", "gates/gate_model.safetensors", "espnet/config.yaml"),
        *("espnet/mel_filters.safetensors", "espnet/feats_stats.npz"),
    ]
    others = ["README.md", "exp/s2t/images/acc.png", "exp/s2t/train.log", "exp/s2t/RESULTS.md", ".gitattributes"]

    def is_asked_for(file: str) -> bool:
        return any(fnmatch.fnmatch(file, pattern) for pattern in HUB_PATTERNS)

    assert [file for file in needed if not is_asked_for(file)] == []
    assert [file for file in others if is_asked_for(file)] == []


def test_what_a_name_on_the_hub_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "model").mkdir(parents=True)
    assert is_hub_name("espnet/owsm_v3.1_ebf")
    for other in ("runs/model", Path("espnet/owsm"), "model", "a/b/c", "./a", "/a", "~/a", "a/"):
        assert not is_hub_name(other)
