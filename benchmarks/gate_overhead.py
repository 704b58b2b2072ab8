"""What gates cost in training, beside a plain step: seconds and memory.

    python benchmarks/gate_overhead.py results/training/gate_overhead.json

A step is forward, backward and AdamW on random batches, the pruned pass alone: the dense pass that may go with it is
counted apart. "plain" has no gates. Systems take turns; the ratio is the median over the turns' own ratios. Memory is
the peak of the allocator on a GPU; on a CPU, which keeps no such count, the bytes that a step keeps for its backward.
With gates on the encoder and two tasks the encoder runs for each task: its plan may depend on it. So there are two
plain steps to compare with: "plain" encodes a window once for all tasks, "plain, a pass a task" as often as gates do,
and as training of OWSM does, where every task of a window is an example of its own. "one task" is
data.tasks_a_window: one.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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


Served = Literal["shared", "a pass a task", "one task"]
"""How a step serves the tasks of its windows."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One kind of training."""

    name: str
    scope: Scope | None = None
    predictor: PredictorConfig | None = None
    served: Served = "shared"
    beside: str = "plain"
    """The plain step with as many passes of the encoder."""


PLAIN = "plain"
SETTINGS = (
    Setting(name=PLAIN),
    Setting(name="mlp, decoder", scope="decoder", predictor=MlpPredictorConfig()),
    Setting(name="mlp, both", scope="both", predictor=MlpPredictorConfig(), beside="plain, a pass a task"),
    Setting(name="local, both", scope="both", predictor=LocalPredictorConfig(), beside="plain, a pass a task"),
    Setting(name="plain, a pass a task", served="a pass a task", beside="plain, a pass a task"),
    Setting(name="plain, one task", served="one task", beside="plain, one task"),
    Setting(
        name="mlp, both, one task",
        scope="both",
        predictor=MlpPredictorConfig(),
        served="one task",
        beside="plain, one task",
    ),
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


def make_batch(
    architecture: OwsmArchitecture, *, num_windows: int, num_tasks: int, audio_s: float, served: Served = "shared"
) -> TrainBatch:
    """Random windows of one length with their tasks; three tokens a second."""
    generator = torch.Generator().manual_seed(1)
    frames, length = round(100 * audio_s), round(3 * audio_s)
    tasks = TASKS[:num_tasks]
    rows = [(window, task) for task in tasks for window in range(num_windows)]
    if served == "one task":
        rows = [(window, tasks[window % num_tasks]) for window in range(num_windows)]
    tokens = torch.randint(1600, architecture.vocab_size, (len(rows), length), generator=generator)
    tokens[:, :3] = torch.tensor(architecture.prompt("deu", "asr")[:3])
    features = torch.randn(num_windows, frames, architecture.num_mel_bins, generator=generator)
    row_window = torch.tensor([window for window, _ in rows])
    if served == "a pass a task":  # each row is a window of its own
        features, row_window = features[row_window], torch.arange(len(rows))
    num_frames = torch.full((len(features),), frames)
    return TrainBatch(
        features=features,
        num_frames=num_frames,
        num_real_frames=num_frames.clone(),
        row_window=row_window,
        step_rows=list(range(len(rows))),
        contexts=[Context(language="deu", task=task) for _, task in rows],
        tokens=tokens,
        labels=tokens.roll(-1, dims=1),
        ctc_targets=tokens[: len(features), 4:],
        num_ctc_targets=torch.full((len(features),), length - 4),
        weight=1.0,
        num_step_windows=len(features),
        num_step_rows=len(rows),
        num_step_labels=len(rows) * length,
        num_step_ctc_targets=len(features) * (length - 4),
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


def measured(
    architecture: OwsmArchitecture, device: torch.device, *, num_tasks: int, turns: int, **sizes: Any
) -> dict[str, Any]:
    """Each setting's median step, and its ratios to the plain one and to the plain one with as many encoder passes."""
    settings = {one.name: one for one in SETTINGS if num_tasks > 1 or one.served == "shared"}
    batches = {
        name: to_device(make_batch(architecture, num_tasks=num_tasks, served=one.served, **sizes), device)
        for name, one in settings.items()
    }
    runs = {name: Run(one, architecture, device) for name, one in settings.items()}
    kept = {}
    for name, run in runs.items():
        run.step(batches[name])
        kept[name] = memory(run, batches[name], device)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        names = list(runs)[turn % len(runs) :] + list(runs)[: turn % len(runs)]
        for name in names:
            times[name].append(seconds(lambda name=name: runs[name].step(batches[name]), device))
    found = {}
    for name, one in settings.items():
        beside = one.beside if one.beside in runs else PLAIN
        found[name] = {
            "step_ms": round(1000 * statistics.median(times[name]), 2),
            **_ratio("time_ratio", times[name], times[PLAIN]),
            "memory_mb": round(kept[name] / 1e6, 2),
            "memory_ratio": round(kept[name] / kept[PLAIN], 3),
            **_ratio("same_passes_time_ratio", times[name], times[beside]),
            "same_passes_memory_ratio": round(kept[name] / kept[beside], 3),
        }
    return found


def _ratio(name: str, own: Sequence[float], beside: Sequence[float]) -> dict[str, Any]:
    """The median over the turns' own ratios, and its quartiles."""
    ratios = [one / other for one, other in zip(own, beside, strict=True)]
    cuts = [round(cut, 3) for cut in statistics.quantiles(ratios, n=4)[::2]]
    return {name: round(statistics.median(ratios), 3), f"{name}_quartiles": cuts}


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
            f"{num_tasks} task(s)": measured(architecture, device, num_tasks=num_tasks, turns=chosen.turns, **sizes)
            for num_tasks in (1, 2)
        },
    }
    with atomic_write(chosen.output) as file:
        json.dump(record, file, indent=1)
    Console().print_json(data=record)


if __name__ == "__main__":
    main()
