"""ESPnet's trainer trains gates, and the adapter that comes out serves ESPnet and, converted, the port."""

from __future__ import annotations

import argparse
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

pytest.importorskip("espnet2", reason="needs ESPnet: `make oracle`")

import espnetez
from espnet2.bin.s2t_inference import Speech2Text
from espnet2.tasks.s2t import S2TTask
from espnet2.train.preprocessor import S2TPreprocessor
from espnetez.dataset import ESPnetEZDataset
from espnetez.task import TASK_CLASSES

from skipwise import GateAdapter, SkipwiseError, Transcriber, attach, convert_owsm, detach
from skipwise.models.attach import describe_base
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import Request
from skipwise.training.espnet.preprocessor import RealLengthPreprocessor, with_real_lengths
from skipwise.training.espnet.start import gates_section, train_gates
from skipwise.training.espnet.task import GatedS2TTask, gate_model
from tests.interop.clips import RATE, clip
from tests.interop.espnet_side import EXP, WEIGHTS_FILE
from tests.interop.matrix import Options
from tests.interop.native.models import speech2text
from tests.interop.skipwise_side import decode_options

pytestmark = pytest.mark.parametrize("folder", ["tiny-4x"], indirect=True, scope="session")

WINDOW_S = 3
SECONDS = (1.0, 1.6, 2.1, 0.8, 2.6, 1.2, 3.4, 1.9)
GATES = {
    "scope": "both",
    "sparsity": 0.5,
    "learning_rate": 0.05,
    "predictor": {"kind": "mlp", "hidden_size": 16},
}
GREEDY = Options(maxlenratio=-20.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in OWSM's style: language, task and text in `text`."""
    folder = tmp_path_factory.mktemp("data")
    lines: dict[str, list[str]] = {name: [] for name in ("wav.scp", "text", "text.prev", "text.ctc", "shape")}
    for index, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{index}.wav", clip(seconds, seed=index), RATE)
        language, task = ("deu", "fra")[index % 2], ("asr", "st_eng")[index // 2 % 2]
        values = {
            "wav.scp": f"{folder}/{index}.wav",
            "text": f"<{language}><{task}><notimestamps> das Budget",
            "text.prev": "<na>",
            "text.ctc": "das Budget",
            "shape": str(int(seconds * RATE)),
        }
        for name, value in values.items():
            lines[name].append(f"utt{index} {value}\n")
    for name, own in lines.items():
        (folder / name).write_text("".join(own), encoding="utf-8")
    return folder


def _config(folder: Path, **more: Any) -> dict[str, Any]:
    """The config of the checkpoint, to be trained on: a short window, and no time for more than a few steps."""
    config = yaml.safe_load((folder / EXP / "config.yaml").read_text(encoding="utf-8"))
    config["preprocessor_conf"] |= {"speech_length": WINDOW_S, "text_prev_apply_prob": 0.0, "time_apply_prob": 0.0}
    training = {
        "optim": "adamw",
        "optim_conf": {"lr": 1e-4, "weight_decay": 0.01},
        "batch_type": "unsorted",
        "batch_size": 4,
        "num_iters_per_epoch": 15,
        "max_epoch": 2,
        "seed": 1,
        "num_workers": 0,
        "ngpu": 0,
        "log_interval": 5,
        "keep_nbest_models": 1,
        "best_model_criterion": [["valid", "loss", "min"]],
        "use_tensorboard": False,
        "use_matplotlib": False,
        "init_param": [str(folder / EXP / WEIGHTS_FILE)],
        "gates_conf": GATES,
    }
    return config | training | more


def _command(config: dict[str, Any], data: Path, output: Path) -> list[str]:
    tokens = output.parent / "tokens.txt"
    tokens.write_text("".join(f"{token}\n" for token in config["token_list"]), encoding="utf-8")
    path = output.parent / "train.yaml"
    path.write_text(yaml.safe_dump(config | {"token_list": str(tokens)}, allow_unicode=True), encoding="utf-8")
    command = ["--config", str(path), "--output_dir", str(output)]
    for part in ("train", "valid"):
        for file, name, kind in (
            ("wav.scp", "speech", "sound"),
            ("text", "text", "text"),
            ("text.prev", "text_prev", "text"),
            ("text.ctc", "text_ctc", "text"),
        ):
            command += [f"--{part}_data_path_and_name_and_type", f"{data / file},{name},{kind}"]
        command += [f"--{part}_shape_file", str(data / "shape")]
    return command


@pytest.fixture(scope="module")
def trained(folder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ESPnet's trainer, called as its recipes call it."""
    output = tmp_path_factory.mktemp("run") / "exp"
    GatedS2TTask.main(cmd=_command(_config(folder), data, output))
    return output


def _reported(run: Path) -> dict[int, dict[str, dict[str, float]]]:
    """What ESPnet's reporter kept, epoch by epoch."""
    return torch.load(run / "checkpoint.pth", weights_only=False)["reporter"]["stats"]


def test_the_trainer_reports_sparsity_and_penalty_and_they_move(trained: Path) -> None:
    first, last = (_reported(trained)[epoch] for epoch in (1, 2))
    for stack in ("encoder", "decoder"):
        assert last["train"][f"penalty_{stack}"] < first["train"][f"penalty_{stack}"]
        assert abs(last["valid"][f"sparsity_{stack}"] - 0.5) < 0.2
        assert 0 < last["train"][f"sampled_sparsity_{stack}"] < 1
    assert {"loss", "loss_ctc", "loss_att", "acc", "cer", "dense_loss_ctc", "dense_loss_att"} <= set(last["valid"])
    assert "sampled_sparsity_decoder" not in last["valid"]
    expected = 0.3 * first["train"]["loss_ctc"] + 0.7 * first["train"]["loss_att"]
    expected += 0.3 * first["train"]["dense_loss_ctc"] + 0.7 * first["train"]["dense_loss_att"]
    penalties = sum(first["train"][f"penalty_{stack}"] for stack in ("encoder", "decoder"))
    assert first["train"]["loss"] == pytest.approx(expected / 2 + penalties, rel=1e-4)


def test_base_and_gates_have_learned_at_rates_of_their_own(folder: Path, trained: Path) -> None:
    before = torch.load(folder / EXP / WEIGHTS_FILE)
    after = torch.load(trained / "valid.loss.best.pth")
    assert not torch.equal(before["decoder.output_layer.weight"], after["decoder.output_layer.weight"])
    assert int(after["gate_training.step"]) in (15, 30)
    groups = torch.load(trained / "checkpoint.pth", weights_only=False)["optimizers"][0]["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-4, 0.01), (0.05, 0.0)]


def test_what_was_trained_is_the_same_in_espnet_and_after_a_conversion(trained: Path, tmp_path: Path) -> None:
    weights = trained / "valid.loss.best.pth"
    convert_owsm(weights, tmp_path / "model")
    converted = load_owsm(tmp_path / "model")
    adapter = GateAdapter.from_pretrained(tmp_path / "model" / "gates")
    assert adapter.base == describe_base(converted.network) and adapter.config.scope == "both"
    s2t = Speech2Text(str(trained / "config.yaml"), str(weights), beam_size=1, maxlenratio=-20.0)
    assert describe_base(s2t) == adapter.base
    attach(s2t, tmp_path / "model" / "gates")
    transcriber = Transcriber(converted, options=decode_options(GREEDY), dtype="fp32")  # the gates beside it
    said, closed = [], []
    for index, seconds in enumerate(SECONDS):
        language, task = ("deu", "fra")[index % 2], ("asr", "st_eng")[index // 2 % 2]
        samples = clip(min(seconds, WINDOW_S), seed=index)
        (result,) = s2t(samples, lang_sym=f"<{language}>", task_sym=f"<{task}>")
        (transcript,) = transcriber.transcribe_many([Request((samples, RATE), language=language, task=task)])
        assert transcript.text == result[3].strip(), index
        said.append(result[3])
        closed.append(len(transcript.segments[0].plan.closed()))
    assert any(said) and min(closed) > 0
    assert detach(s2t) is not None


def test_a_run_is_resumed_where_it_was(folder: Path, data: Path, tmp_path: Path) -> None:
    config = _config(folder, max_epoch=1, num_iters_per_epoch=2, resume=True)
    for epochs in (1, 2):
        GatedS2TTask.main(cmd=_command(config | {"max_epoch": epochs}, data, tmp_path / "exp"))
    assert int(torch.load(tmp_path / "exp" / "latest.pth")["gate_training.step"]) == 4
    assert set(_reported(tmp_path / "exp")) == {1, 2}


def _windows(args: argparse.Namespace) -> ESPnetEZDataset:
    """A data set of somebody's own, as espnetez takes one: preprocessing is its own affair."""
    preprocess = GatedS2TTask.build_preprocess_fn(args, train=False)
    assert preprocess is not None
    texts = {"text": "<deu><asr><notimestamps> das Budget", "text_prev": "<na>", "text_ctc": "das Budget"}
    rows = [
        preprocess(str(index), {"speech": clip(seconds, seed=index), **texts}) for index, seconds in enumerate(SECONDS)
    ]
    return ESPnetEZDataset(rows, data_info={name: itemgetter(name) for name in rows[0]})


def test_espnetez_trains_gates(folder: Path, tmp_path: Path) -> None:
    config = S2TTask.get_default_config() | _config(folder, max_epoch=1, num_iters_per_epoch=3)
    config |= {"allow_variable_data_keys": True, "use_preprocessor": True, "gates_conf": GATES | {"scope": "decoder"}}
    windows = _windows(argparse.Namespace(**config))
    TASK_CLASSES["s2t_gated"] = GatedS2TTask
    trainer = espnetez.Trainer(
        task="s2t_gated",
        train_config=config,
        output_dir=str(tmp_path / "exp"),
        stats_dir=str(tmp_path / "stats"),
        train_dataset=windows,
        valid_dataset=windows,
    )
    trainer.collect_stats()
    trainer.train()
    stats = _reported(tmp_path / "exp")[1]
    assert "sparsity_decoder" in stats["valid"] and "sparsity_encoder" not in stats["valid"]
    convert_owsm(tmp_path / "exp" / "1epoch.pth", tmp_path / "model")
    assert GateAdapter.from_pretrained(tmp_path / "model" / "gates").config.scope == "decoder"


def _model(folder: Path) -> Any:
    return speech2text(folder).s2t_model.train()


def _batch(rows: int = 2, *, real: bool = True) -> dict[str, torch.Tensor]:
    speech = torch.zeros(rows, WINDOW_S * RATE)
    for row in range(rows):
        samples = torch.from_numpy(clip(1.0 + row, seed=row))
        speech[row, : len(samples)] = samples
    text = torch.tensor([[1512, 1513, 1514, 1515, 1516]] * rows)
    lengths = torch.full((rows,), text.shape[1])
    batch = {"speech": speech, "speech_lengths": torch.full((rows,), speech.shape[1])}
    batch |= {"text": text, "text_lengths": lengths, "text_prev": text, "text_prev_lengths": lengths}
    batch |= {"text_ctc": text, "text_ctc_lengths": lengths}
    return batch | ({"num_real_samples": torch.tensor([[RATE]] * rows)} if real else {})


def test_the_loss_reaches_gates_and_base(folder: Path) -> None:
    model = _model(folder)
    train_gates(model, GATES)
    loss, stats, weight = model(**_batch())
    loss.backward()
    assert int(weight) == 2 and float(stats["loss"]) == pytest.approx(float(loss))
    for part in (model.gate_adapter, model.encoder, model.decoder, model.ctc):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0
    drawn = [float(model(**_batch())[1]["sampled_sparsity_decoder"]) for _ in range(8)]
    assert len(set(drawn)) > 1  # other gates at each step


def test_processes_pull_together_as_one_would(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ESPnet weights the loss of a process by its share of the rows, and adds up: two must be what one is."""
    model = _model(folder)
    train_gates(model, GATES)
    rows = torch.tensor([0.9, 0.7, 0.1, 0.2, 0.8, 0.3], requires_grad=True)
    targets = torch.full((6,), 0.3)
    alone = model.gate_training._penalty("decoder", rows, targets)
    (expected,) = torch.autograd.grad(alone, rows)

    def mean_of_all(own: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
        return (own.sum() + (rows.sum() - own.sum()).detach()) / 6, targets.mean(), 6

    monkeypatch.setattr("skipwise.training.hosted.mean_over_processes", mean_of_all)
    penalty = model.gate_training._penalty
    shares = [len(part) / 6 * penalty("decoder", part, targets[:2]) for part in (rows[:2], rows[2:])]
    (found,) = torch.autograd.grad(sum(shares), rows)
    torch.testing.assert_close(found, expected)
    assert float(sum(shares)) == pytest.approx(float(alone))


def test_evaluation_follows_the_arg_max(folder: Path) -> None:
    model = _model(folder)
    train_gates(model, GATES)
    model.eval()
    with torch.no_grad():
        first, again = (model(**_batch()) for _ in range(2))
    assert float(first[0]) == float(again[0])
    assert int(model.gate_training.step) == 0


def test_a_frozen_base_has_no_dense_pass(folder: Path) -> None:
    model = _model(folder)
    args = argparse.Namespace(
        gates_conf=GATES, seed=0, num_iters_per_epoch=None, freeze_param=["encoder", "decoder", "ctc", "normalize"]
    )
    gate_model(model, args)
    _, stats, _ = model(**_batch())
    assert "dense_loss_att" not in stats
    assert all(p.requires_grad == name.startswith("gate_adapter.") for name, p in model.named_parameters())
    assert args.gates["scope"] == "both"


def test_detaching_ends_the_training(folder: Path) -> None:
    model = _model(folder)
    keys, own = list(model.state_dict()), type(model)
    train_gates(model, GATES)
    assert type(model) is not own and isinstance(model, own)
    detach(model)
    assert type(model) is own and list(model.state_dict()) == keys
    assert "sparsity_decoder" not in model(**_batch(real=False))[1]


def test_what_cannot_be_trained_is_one_clear_error(folder: Path) -> None:
    model = _model(folder)
    with pytest.raises(
        SkipwiseError, match=r"gates_conf\.sparsities: .*The keys of gates_conf: scope, init, default_scope, sparsity"
    ):
        gates_section({"sparsities": 0.5})
    with pytest.raises(
        SkipwiseError, match="neither embeddings as context nor distillation nor open_share nor init, got distillation"
    ):
        gates_section({"distillation": {}})
    with pytest.raises(SkipwiseError, match="nor open_share nor init, got open_share"):
        gates_section({"open_share": 0.4})
    with pytest.raises(SkipwiseError, match="the length of the run, which is not known"):
        train_gates(model, {"sparsity_warmup": 0.5})
    with pytest.raises(SkipwiseError, match="on an ESPnetS2TModel, got a OwsmNetwork"):
        train_gates(load_owsm(folder).network, GATES)
    train_gates(model, GATES)
    with pytest.raises(SkipwiseError, match="needs num_real_samples"):
        model(**_batch(real=False))
    with pytest.raises(SkipwiseError, match="need the preprocessor s2t, got Namespace"):
        with_real_lengths(argparse.Namespace())


def test_real_lengths_are_those_before_the_padding(folder: Path) -> None:
    config = S2TTask.get_default_config() | _config(folder)
    for train in (False, True):
        preprocess = GatedS2TTask.build_preprocess_fn(argparse.Namespace(**config), train)
        assert isinstance(preprocess, RealLengthPreprocessor) and isinstance(preprocess, S2TPreprocessor)
        found = []
        for seconds in (1.0, 2.5, 4.0):
            samples = np.ones(int(seconds * RATE), dtype=np.float32)
            done = preprocess("utt", {"speech": samples})
            assert len(done["speech"]) == WINDOW_S * RATE
            (num_real,) = done["num_real_samples"]
            assert num_real == np.flatnonzero(done["speech"])[-1] + 1  # silence in front of it counts
            found.append(int(num_real))
        if not train:
            assert found == [RATE, 2.5 * RATE, WINDOW_S * RATE]
