"""What gates cost in training, beside a plain step: seconds and memory.

    python benchmarks/gate_overhead.py results/training/gate_overhead.json

A step is forward, backward and AdamW on random batches, the pruned pass alone: the dense pass that may go with it is
counted apart. "plain" has no gates. Systems take turns; the ratio is the median over the turns' own ratios. Memory is
the peak of the allocator on a GPU; on a CPU, which keeps no such count, the bytes that a step keeps for its backward.
With gates on the encoder and two tasks the encoder runs for each task: its plan may depend on it. That is told apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from skipwise.atomic import atomic_write
from skipwise.gating import Context, GateConfig, LocalPredictorConfig, MlpPredictorConfig, Scope
from skipwise.gating.predictors import PredictorConfig
from skipwise.models.attach import attach
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.pipeline import reference_model
from skipwise.training.batches import TrainBatch
from skipwise.training.objective import GatedObjective, ObjectiveConfig

TASKS = ("asr", "st_eng")
SHAPES: dict[str, dict[str, Any]] = {
    "reference": {
        "hidden_size": 128,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 512,
        "cgmlp_dim": 512,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 512,
    },
    "base": {},
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One kind of training."""

    name: str
    scope: Scope | None = None
    predictor: PredictorConfig | None = None


SETTINGS = (
    Setting(name="plain"),
    Setting(name="mlp, decoder", scope="decoder", predictor=MlpPredictorConfig()),
    Setting(name="mlp, both", scope="both", predictor=MlpPredictorConfig()),
    Setting(name="local, both", scope="both", predictor=LocalPredictorConfig()),
)


class Run:
    """A model in training."""

    def __init__(self, setting: Setting, architecture: OwsmArchitecture, device: torch.device) -> None:
        torch.manual_seed(0)
        network = OwsmNetwork(architecture).to(device).train()
        if setting.scope is not None and setting.predictor is not None:
            attach(network, GateConfig(scope=setting.scope, predictor=setting.predictor))
        settings = ObjectiveConfig(
            max_steps=1000, seed=0, ctc_weight_start=0.3, ctc_warmup_steps=0, target_sparsity=0.5, context_dropout=0.15
        )
        self.objective = GatedObjective(network, settings).to(device).train()
        self._optimiser = torch.optim.AdamW(self.objective.parameters(), lr=1e-5, fused=True)

    def step(self, batch: TrainBatch) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        self.objective.losses(batch)["loss"].backward()
        self._optimiser.step()

    def kept_bytes(self, batch: TrainBatch) -> int:
        """Bytes that a step keeps for its backward, each storage once, weights not counted."""
        own = {parameter.untyped_storage().data_ptr() for parameter in self.objective.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.objective.losses(batch)["loss"]
        total = sum(kept.values())
        loss.backward()
        return total


def make_batch(architecture: OwsmArchitecture, *, num_windows: int, num_tasks: int, audio_s: float) -> TrainBatch:
    """Random windows of one length, each with every task; three tokens a second."""
    generator = torch.Generator().manual_seed(1)
    frames, length, rows = round(100 * audio_s), round(3 * audio_s), num_windows * num_tasks
    tokens = torch.randint(1600, architecture.vocab_size, (rows, length), generator=generator)
    tokens[:, :3] = torch.tensor(architecture.prompt("deu", "asr")[:3])
    num_frames = torch.full((num_windows,), frames)
    return TrainBatch(
        features=torch.randn(num_windows, frames, architecture.num_mel_bins, generator=generator),
        num_frames=num_frames,
        num_real_frames=num_frames.clone(),
        row_window=torch.arange(num_windows).repeat(num_tasks),
        step_rows=list(range(rows)),
        contexts=[Context(language="deu", task=task) for task in TASKS[:num_tasks] for _ in range(num_windows)],
        tokens=tokens,
        labels=tokens.roll(-1, dims=1),
        ctc_targets=tokens[:num_windows, 4:],
        num_ctc_targets=torch.full((num_windows,), length - 4),
        weight=1.0,
        num_step_windows=num_windows,
        num_step_rows=rows,
        num_step_labels=rows * length,
        num_step_ctc_targets=num_windows * (length - 4),
        step=500,
    )


def to_device(batch: TrainBatch, device: torch.device) -> TrainBatch:
    moved: dict[str, Any] = {
        name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()
    }
    return TrainBatch(**moved)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def memory(run: Run, batch: TrainBatch, device: torch.device) -> int:
    if device.type != "cuda":
        return run.kept_bytes(batch)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run.step(batch)
    return torch.cuda.max_memory_allocated(device) - before


def measured(architecture: OwsmArchitecture, device: torch.device, drawn: TrainBatch, *, turns: int) -> dict[str, Any]:
    """Each setting's median step, and its ratio to the plain one."""
    batch = to_device(drawn, device)
    runs = {setting.name: Run(setting, architecture, device) for setting in SETTINGS}
    kept = {}
    for name, run in runs.items():
        run.step(batch)
        kept[name] = memory(run, batch, device)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        names = list(runs)[turn % len(runs) :] + list(runs)[: turn % len(runs)]
        for name in names:
            times[name].append(seconds(lambda run=runs[name]: run.step(batch), device))
    ratios = {
        name: [own / plain for own, plain in zip(took, times["plain"], strict=True)] for name, took in times.items()
    }
    return {
        name: {
            "step_ms": round(1000 * statistics.median(times[name]), 2),
            "time_ratio": round(statistics.median(ratios[name]), 3),
            "time_ratio_quartiles": [round(cut, 3) for cut in statistics.quantiles(ratios[name], n=4)[::2]],
            "memory_mb": round(kept[name] / 1e6, 2),
            "memory_ratio": round(kept[name] / kept["plain"], 3),
        }
        for name in runs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="reference")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--audio-s", type=float, default=10.0)
    parser.add_argument("--turns", type=int, default=15)
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    vocabulary = OwsmVocabulary.load(reference_model())
    architecture = OwsmArchitecture(**vocabulary.token_ids() | SHAPES[chosen.shape] | {"window_s": None})
    sizes = {"num_windows": chosen.windows, "audio_s": chosen.audio_s}
    record: dict[str, Any] = {
        "command": f"python benchmarks/gate_overhead.py {chosen.output} --shape {chosen.shape} --windows "
        f"{chosen.windows} --audio-s {chosen.audio_s:g} --turns {chosen.turns}",
        "shape": chosen.shape,
        **sizes,
        "turns": chosen.turns,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "memory": "peak of the allocator" if device.type == "cuda" else "bytes kept for backward",
        **{
            f"{num_tasks} task(s)": measured(
                architecture, device, make_batch(architecture, num_tasks=num_tasks, **sizes), turns=chosen.turns
            )
            for num_tasks in (1, 2)
        },
    }
    with atomic_write(chosen.output) as file:
        json.dump(record, file, indent=1)
    Console().print_json(data=record)


if __name__ == "__main__":
    main()
