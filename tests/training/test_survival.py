"""Training that is killed, runs out of memory or disk, or is shared by two processes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.training import trainer as trainer_module
from skipwise.training.batches import StepDataset
from skipwise.training.config import TrainConfig
from skipwise.training.objective import GatedObjective
from skipwise.training.run import train
from skipwise.training.trainer import newest_checkpoint

Config = Callable[..., TrainConfig]

RUN = """
import sys
from skipwise.training.config import load_config
from skipwise.training.run import train
train(load_config(sys.argv[1]), resume="--resume" in sys.argv)
"""


def weights(config: TrainConfig) -> dict[str, Tensor]:
    return load_file(config.output / "model" / "model.safetensors")


def losses(config: TrainConfig) -> list[float]:
    history = json.loads((config.output / "summary.json").read_text())["history"]
    return [line["loss"] for line in history if "loss" in line]


def run_apart(config: TrainConfig, *arguments: str, processes: int = 1) -> subprocess.Popen[str]:
    """The run in processes of its own."""
    path = config.output.parent / f"{config.output.name}.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    launcher = [sys.executable, "-c", RUN]
    if processes > 1:
        script = config.output.parent / "run.py"
        script.write_text(RUN)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launcher.append(str(script))
    return subprocess.Popen(
        [*launcher, str(path), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_killed_run_goes_on_as_if_nothing_had_been(base_config: Config) -> None:
    """SIGKILL right after the second checkpoint of four appeared: at most one save interval is lost."""
    optimisation = {"max_steps": 12, "save_steps": 3, "eval_utterances": 0, "threads": 1}
    whole, killed = (base_config(name, optimisation=optimisation) for name in ("whole", "killed"))
    train(whole)
    process = run_apart(killed)
    deadline = time.monotonic() + 120
    while not (killed.output / "checkpoints" / "checkpoint-6").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed.output / "model").exists(), "killed too late"
    checkpoint = newest_checkpoint(killed.output)
    assert checkpoint is not None and checkpoint.name in ("checkpoint-3", "checkpoint-6", "checkpoint-9")
    train(killed, resume=True)
    expected = weights(whole)
    for name, tensor in weights(killed).items():
        assert torch.equal(tensor, expected[name]), name
    assert losses(killed) == losses(whole)


def test_a_resumed_run_does_not_make_the_steps_before_it_again(
    base_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = base_config()
    train(config)
    shutil.rmtree(config.output / "model")
    shutil.rmtree(config.output / "checkpoints" / "checkpoint-6")
    made: list[int] = []
    usual = StepDataset.__getitem__
    monkeypatch.setattr(StepDataset, "__getitem__", lambda self, step: made.append(step) or usual(self, step))
    train(config, resume=True)
    assert made == [3, 4, 5]


def test_half_a_checkpoint_is_passed_over(base_config: Config) -> None:
    config = base_config()
    train(config)
    newest = newest_checkpoint(config.output)
    assert newest is not None and newest.name == "checkpoint-6"
    (newest / "trainer_state.json").write_text((newest / "trainer_state.json").read_text()[:40])
    before = newest_checkpoint(config.output)
    assert before is not None and before.name == "checkpoint-3"


def test_what_does_not_fit_into_memory_is_halved_and_comes_to_the_same(
    base_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, tight = base_config("whole"), base_config("tight")
    train(whole)
    usual = GatedObjective.losses
    seen: list[int] = []

    def losses_with_room_for_two(self: GatedObjective, batch: Any) -> dict[str, Tensor]:
        seen.append(len(batch["num_frames"]))
        if seen[-1] > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return usual(self, batch)

    monkeypatch.setattr(GatedObjective, "losses", losses_with_room_for_two)
    with pytest.warns(SkipwiseWarning, match=r"out of memory in step \d: from here on steps are computed in 2 pieces"):
        train(tight)
    assert max(seen) > 2 and seen.count(max(seen)) == 1, "once is enough to know"
    assert losses(tight) == pytest.approx(losses(whole), rel=1e-3)
    expected = weights(whole)
    for name, tensor in weights(tight).items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=2e-3)  # Adam: a tiny gradient's sign is noise


def test_a_run_in_pieces_from_the_start_learns_the_same_from_fewer_windows_at_once(
    base_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pieced = base_config("whole"), base_config("pieced", optimisation={"pieces": 3})
    usual = GatedObjective.losses
    seen: list[int] = []

    def counted(self: GatedObjective, batch: Any) -> dict[str, Tensor]:
        seen.append(len(batch["num_frames"]))
        return usual(self, batch)

    monkeypatch.setattr(GatedObjective, "losses", counted)
    train(whole)
    most, num_whole = max(seen), len(seen)
    seen.clear()
    train(pieced)
    assert max(seen) == -(-most // 3) < most and len(seen) > num_whole
    assert losses(pieced) == pytest.approx(losses(whole), rel=1e-3)


def test_one_window_that_does_not_fit_is_an_error_that_says_what_to_lower(
    base_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: GatedObjective, batch: Any) -> dict[str, Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GatedObjective, "losses", no_room)
    with (
        pytest.warns(SkipwiseWarning, match="out of memory"),
        pytest.raises(SkipwiseError, match=r"in step \d with 1 windows at once. Lower optimisation.batch_s or"),
    ):
        train(base_config())


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed: No space left")],
    ids=["os", "torch"],
)
def test_a_full_disk_is_told_and_the_last_checkpoint_is_kept(
    base_config: Config, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    config = base_config()
    usual = trainer_module.SkipwiseTrainer._save_checkpoint

    def full_at_the_second(self: Any, *arguments: Any, **named: Any) -> None:
        if self.state.global_step > 3:
            raise error
        usual(self, *arguments, **named)

    monkeypatch.setattr(trainer_module.SkipwiseTrainer, "_save_checkpoint", full_at_the_second)
    with pytest.raises(SkipwiseError, match=r"no space left on the disk of .*base. Free some space and go on with"):
        train(config)
    monkeypatch.undo()
    kept = newest_checkpoint(config.output)
    assert kept is not None and kept.name == "checkpoint-3"
    train(config, resume=True)


@pytest.mark.parametrize(("per_row", "pieces"), [(False, 1), (True, 2)], ids=["whole", "in pieces"])
def test_two_processes_learn_what_one_does(base_config: Config, per_row: bool, pieces: int) -> None:
    """In pieces some process has no window for the last one of them."""
    gates = {"scope": "both", "sparsity": 0.5, "learning_rate": 0.01, "per_row": per_row, "context_dropout": 0.2}
    optimisation = {"max_steps": 4, "save_steps": 4, "eval_utterances": 0, "threads": 1, "learning_rate": 2e-4}
    one = base_config("one", optimisation=optimisation, gates=gates)
    two = base_config("two", optimisation=optimisation | {"pieces": pieces}, gates=gates)
    train(one)
    process = run_apart(two, processes=2)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    # one learning rate is the most that Adam moves a weight in a step; where its gradient is next to nothing, noise
    expected, found = weights(one), weights(two)
    moved = {name: 4 * (0.01 if "gate" in name else 2e-4) for name in expected}
    for name, tensor in found.items():
        assert float((tensor - expected[name]).abs().mean()) < 0.02 * moved[name], name
    assert losses(two) == pytest.approx(losses(one), rel=2e-3)
    gates_of = [load_file(config.output / "model" / "gates" / "gate_model.safetensors") for config in (one, two)]
    for name, tensor in gates_of[0].items():
        assert float((gates_of[1][name] - tensor).abs().mean()) < 0.02 * 0.04, name
