"""Whole runs with each option of the method, on tones: what is saved works, and is of the kind that was asked for."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from skipwise.data.manifest import read_manifest, write_manifest
from skipwise.errors import SkipwiseError
from skipwise.features.vectors import LogMelStatistics
from skipwise.gating import GateAdapter
from skipwise.models.attach import attach, detach
from skipwise.models.extractors import with_vectors
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import Transcriber
from skipwise.training.objective import GatedObjective
from skipwise.training.run import train
from tests.tiny import tone

GATES = {"scope": "both", "sparsity": 0.5, "learning_rate": 0.05}
AUDIO = (tone(2.0), 16_000)
EMBEDDED = ["task", "speech", "speaker", "event"]


@pytest.fixture
def base(base_config) -> Path:
    return train(base_config())


@pytest.mark.parametrize(
    "predictor",
    [
        {"kind": "local", "hidden_size": 8},
        {"kind": "table"},
        {"kind": "static"},
        {"kind": "random"},
        {"kind": "layer_drop"},
    ],
    ids=lambda predictor: predictor["kind"],
)
def test_every_kind_of_predictor_can_be_trained_resumed_and_used(base, base_config, predictor):
    config = base_config("gated", model={"init": str(base)}, gates=GATES | {"predictor": predictor})
    gated = train(config)
    adapter = GateAdapter.from_pretrained(gated / "gates")
    assert type(adapter.config.predictor).__name__.lower().startswith(predictor["kind"].replace("_", ""))
    transcript = Transcriber(gated, sparsity=0.5, exact=True).transcribe(AUDIO, language="de", task="st_eng")
    # of 4 encoder sites 2 are half, of 6 decoder sites 3
    assert transcript.sparsity == pytest.approx({"encoder": 0.5, "decoder": 0.5})
    logged = {name for line in json.loads((config.output / "summary.json").read_text())["history"] for name in line}
    assert {"gate_entropy_decoder", "gate_flips_decoder", "gate_plans_encoder", "gate_collapse_encoder"} <= logged


def test_with_one_task_a_window_the_encoder_runs_once_a_window(base, base_config, monkeypatch):
    rows: dict[str, set[tuple[int, int]]] = {"all": set(), "one": set()}
    pruned_pass = GatedObjective._pruned_pass
    for tasks in ("all", "one"):

        def counted(self, batch, *rest, tasks=tasks):
            done = pruned_pass(self, batch, *rest)
            rows[tasks].add((len(done.encoded.states.states), batch["num_step_windows"]))
            return done

        monkeypatch.setattr(GatedObjective, "_pruned_pass", counted)
        gated = train(base_config(tasks, model={"init": str(base)}, gates=GATES, data={"tasks_a_window": tasks}))
        assert (gated / "gates").is_dir()
    assert all(encoded == 2 * windows for encoded, windows in rows["all"])
    assert rows["one"] and all(encoded == windows for encoded, windows in rows["one"])


def test_gates_of_every_step_can_be_trained_resumed_and_used(base, base_config):
    gates = GATES | {"granularity": "step", "sparsity_range": [0.1, 0.9], "context": ["task", "speech", "budget"]}
    config = base_config("steps", model={"init": str(base)}, gates=gates)
    gated = train(config)
    assert GateAdapter.from_pretrained(gated / "gates").config.granularity == "step"
    (segment,) = Transcriber(gated, sparsity=0.5, exact=True).transcribe(AUDIO, language="de").segments
    assert {site.stack for site in segment.plan.sites} == {"encoder"}
    assert segment.step_plan is not None and segment.predicting_plan is not None
    assert segment.predicting_plan.sparsity() == pytest.approx(0.5)
    assert segment.step_plan.gates.shape[1] >= segment.num_prompt_tokens + len(segment.tokens) - 1
    logged = {name for line in json.loads((config.output / "summary.json").read_text())["history"] for name in line}
    assert {"gate_entropy_decoder", "gate_plans_decoder", "sparsity_argmax_decoder"} <= logged


@pytest.mark.parametrize("gates", [None, GATES], ids=["without gates", "with gates"])
def test_a_decoder_can_be_trained_on_its_own(base, base_config, gates):
    config = base_config("decoder", model={"init": str(base), "base": "decoder"}, gates=gates)
    trained = train(config)
    assert trained.name == "model" and (trained / "gates").exists() == (gates is not None)
    before, after = (load_owsm(folder).network.state_dict() for folder in (base, trained))
    changed = {name.partition(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"decoder"}
    checkpoint = load_file(config.output / "checkpoints" / "checkpoint-6" / "model.safetensors")
    kept = {name.split(".")[1] for name in checkpoint} & {"encoder", "ctc_head"}
    assert not kept and any(name.startswith("network.decoder.") for name in checkpoint)
    shutil.rmtree(trained)
    shutil.rmtree(config.output / "checkpoints" / "checkpoint-6")
    resumed = load_owsm(train(config, resume=True)).network.state_dict()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in after.items())


def test_gates_on_a_frozen_base_are_an_adapter_for_that_base(base, base_config):
    frozen = train(base_config("frozen", model={"init": str(base), "base": "frozen"}, gates=GATES))
    assert frozen.name == "gates" and not (frozen.parent / "model").exists()
    adapter = GateAdapter.from_pretrained(frozen)
    assert adapter.lora is None and adapter.notes["base"] == str(base)
    attach(load_owsm(base).network, adapter)
    assert set(Transcriber(base, gates=frozen).transcribe(AUDIO, language="de").sparsity) == {"encoder", "decoder"}


def test_low_rank_changes_are_saved_with_the_gates_made_on_attach_and_taken_back(base, base_config):
    pytest.importorskip("peft")
    before = (base / "model.safetensors").read_bytes()
    model = {"init": str(base), "base": "lora", "lora": {"rank": 2, "layers": ["fc1", "q_proj"]}}
    config = base_config("lora", model=model, gates=GATES)
    tuned = train(config)
    assert (base / "model.safetensors").read_bytes() == before
    lora = GateAdapter.from_pretrained(tuned).lora
    assert lora is not None and lora.scaling == 8.0
    names = {name.rpartition(".")[2] for name in lora.layers}
    assert names == {"fc1", "q_proj"}
    assert all(name.startswith(("encoder.layers", "decoder.layers")) for name in lora.layers)
    assert any(float(change.up.abs().sum()) > 0 for change in lora.layers.values()), "nothing was learned"
    network = load_owsm(base).network
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    attach(network, tuned)
    changed = f"{next(iter(lora.layers))}.weight"
    assert not torch.equal(network.state_dict()[changed], own[changed])
    detach(network)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in own.items())
    assert Transcriber(base, gates=tuned).transcribe(AUDIO, language="de").segments
    logged = {name for line in json.loads((config.output / "summary.json").read_text())["history"] for name in line}
    assert {"eval_wer", "eval_pruned_wer"} <= logged


def test_checkpoints_on_a_kept_base_hold_what_is_trained_and_resume_to_the_same(base, base_config):
    pytest.importorskip("peft")
    model = {"init": str(base), "base": "lora", "lora": {"rank": 2, "layers": ["fc1", "q_proj"]}}
    config = base_config("lora", model=model, gates=GATES)
    whole = train(config)
    expected = load_file(whole / "gate_model.safetensors")
    checkpoints = config.output / "checkpoints"
    names = set(load_file(checkpoints / "checkpoint-3" / "model.safetensors"))
    assert any("lora_A" in name for name in names) and any("gate_adapter" in name for name in names)
    assert not any("base_layer" in name or "lm_head" in name for name in names)
    shutil.rmtree(whole)
    shutil.rmtree(checkpoints / "checkpoint-6")
    resumed = load_file(train(config, resume=True) / "gate_model.safetensors")
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())


def test_a_run_does_not_go_on_from_one_that_trained_something_else(base, base_config):
    config = base_config("gated", model={"init": str(base), "base": "frozen"}, gates=GATES)
    shutil.rmtree(train(config))
    config = base_config("gated", model={"init": str(base)}, gates=GATES)
    with pytest.raises(
        SkipwiseError, match=r"trained something else: it lacks \d+ \(.*\) tensors and has 0 \(none\) others"
    ):
        train(config, resume=True)


def test_layers_that_are_not_there_cannot_be_changed(base, base_config):
    pytest.importorskip("peft")
    model = {"init": str(base), "base": "lora", "lora": {"layers": ["fc9"]}}
    with pytest.raises(SkipwiseError, match=r"model.lora.layers must name linear layers, such as .*fc1.*; got fc9"):
        train(base_config("lora", model=model, gates=GATES))


def test_without_peft_the_error_names_the_extra(base, base_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SkipwiseError, match=r'pip install "skipwise\[peft\]"'):
        train(base_config("lora", model={"init": str(base), "base": "lora"}, gates=GATES))


def test_every_aid_at_once_runs_and_resumes_alike(base, base_config):
    aids = {
        "relaxation": "soft",
        "sparsity_warmup": 0.5,
        "sparsity_warmup_shape": "cubic",
        "temperature_end": 0.5,
        "distillation": {"weight": 0.5, "ctc_weight": 0.5, "temperature": 2.0},
        "cost": {"unit": "macs"},
    }
    config = base_config("aided", model={"init": str(base)}, gates=GATES | aids)
    gated = train(config)
    adapter = GateAdapter.from_pretrained(gated / "gates")
    assert adapter.config.unit == "macs" and len(adapter.config.site_weights) == len(adapter.base.sites)
    weights = load_file(gated / "model.safetensors")
    history = json.loads((config.output / "summary.json").read_text())["history"]
    assert any("distilled_attention" in line and "distilled_ctc" in line for line in history)
    shutil.rmtree(gated)
    shutil.rmtree(config.output / "checkpoints" / "checkpoint-6")
    for name, tensor in load_file(train(config, resume=True) / "model.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def test_costs_come_from_a_file_that_names_every_site(base, base_config, tmp_path):
    sites = load_owsm(base).network.config.gate_sites()
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({str(site): 1.0 + index for index, site in enumerate(sites)}))
    cost = {"unit": "ms", "file": str(costs)}
    gated = train(base_config("timed", model={"init": str(base)}, gates=GATES | {"cost": cost}))
    config = GateAdapter.from_pretrained(gated / "gates").config
    assert (config.unit, config.site_weights) == ("ms", tuple(1.0 + index for index in range(len(sites))))
    costs.write_text("[1, 2]")
    with pytest.raises(SkipwiseError, match=r"cannot read the costs of sites from .*costs.json"):
        train(base_config("broken", model={"init": str(base)}, gates=GATES | {"cost": cost}))


def test_embeddings_are_computed_from_the_features_and_again_at_inference(base, base_config):
    gated = train(base_config("embedded", model={"init": str(base)}, gates=GATES | {"context": EMBEDDED}))
    config = GateAdapter.from_pretrained(gated / "gates").config
    assert (config.speaker_size, config.event_size) == (160, 35)
    assert (config.speaker_extractor, config.event_extractor) == ("log_mel_statistics", "noise_statistics")
    assert Transcriber(gated).transcribe(AUDIO, language="de").segments


def test_embeddings_of_the_manifest_are_what_is_learned_from(base, base_config, spoken, tmp_path):
    manifest = tmp_path / "embedded.jsonl"
    write_manifest(manifest, with_vectors(read_manifest(spoken), {"speaker": LogMelStatistics(7)}))
    gates = GATES | {"context": ["task", "speaker"], "speaker": "manifest"}
    data = {"root": str(manifest), "languages": ["de", "fr"]}
    gated = train(base_config("given", model={"init": str(base)}, gates=gates, data=data))
    config = GateAdapter.from_pretrained(gated / "gates").config
    assert (config.speaker_size, config.speaker_extractor) == (14, "")
    with pytest.raises(SkipwiseError, match=r"gates.speaker is manifest, and no sentence .* skipwise embed DATA"):
        train(base_config("none", model={"init": str(base)}, gates=gates))
