"""transformers' Trainer with our objective, order of batches, learning rates and dev evaluation."""

from __future__ import annotations

import json
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.memory import is_out_of_memory
from skipwise.training.batches import StepDataset, TrainBatch, only_item
from skipwise.training.config import TrainConfig
from skipwise.training.gate_health import GateHealth
from skipwise.training.objective import GatedObjective
from skipwise.training.optimiser import make_optimiser


class SkipwiseTrainer(Trainer):
    """Steps through a planned run; logs every part of the loss."""

    def __init__(
        self,
        objective: GatedObjective,
        dataset: StepDataset,
        config: TrainConfig,
        *,
        resumed_from: Path | None = None,
        dev: Sequence[Utterance],
        evaluate_dev: Callable[[Sequence[Utterance]], dict[str, float]],
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run = config
        self._resumed_from = resumed_from
        self._first_step = step_of(resumed_from)
        self._objective = objective
        self._steps = dataset
        self._dev = dev
        self._evaluate_dev = evaluate_dev
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._steps_seen: set[int] = set()
        self._num_pieces = config.optimisation.pieces
        self._health: GateHealth | None = None
        super().__init__(
            model=objective,
            args=_arguments(config, has_dev=bool(dev)),
            train_dataset=dataset,
            eval_dataset=list(dev) or None,
            data_collator=only_item,
            callbacks=[TensorBoardCallback(SummaryWriter(str(config.output / "tensorboard")))],
        )
        self.model_accepts_loss_kwargs = False

    def get_train_dataloader(self) -> DataLoader:
        """Return the steps that are left in their order; they are shuffled, and shared out over processes, already."""
        # windows that are spoken are made by processes beside the training; those on disk are but read
        spoken = self._run.data.on_the_spot is not None
        return DataLoader(
            self._steps,
            batch_size=1,
            sampler=range(self._first_step, len(self._steps)),
            collate_fn=only_item,
            num_workers=self._run.data.jobs if spoken else 0,
            multiprocessing_context="spawn" if spoken else None,
            persistent_workers=spoken,
        )

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Return a step's loss, its gradients computed; what does not fit into memory is halved and accumulated."""
        if self._resumed_from is not None:  # once the loader, which draws from it too, is there
            self._load_rng_state(str(self._resumed_from))
            self._resumed_from = None
        step = int(inputs["step"])
        places = self._steps.places(step)
        multipliers = self._objective.penalty.multipliers.clone()
        most = self._steps.most_places(step)  # as many pieces in every process: they wait for each other
        while True:
            num_pieces = min(self._num_pieces, most)
            pieces = [places[i::num_pieces] for i in range(num_pieces)]
            try:
                return self._in_pieces(model, inputs, step, pieces)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if num_pieces >= most or self.args.world_size > 1:
                    raise SkipwiseError(
                        f"out of memory in step {step} with {len(pieces[0])} windows at once. Lower "
                        "optimisation.batch_s or data.max_window_s, or raise optimisation.pieces, and go on with "
                        "--resume."
                    ) from error
            model.zero_grad(set_to_none=True)
            self._objective.penalty.multipliers.copy_(multipliers)
            self._num_pieces *= 2
            warnings.warn(
                f"out of memory in step {step}: from here on steps are computed in {self._num_pieces} pieces.",
                SkipwiseWarning,
                stacklevel=2,
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _in_pieces(
        self, model: nn.Module, inputs: dict[str, Any], step: int, pieces: Sequence[Sequence[int]]
    ) -> Tensor:
        if len(pieces) <= 1:
            return super().training_step(model, inputs)
        parts: list[dict[str, Any]] = [dict(self._steps.share(step, piece)) for piece in pieces]
        losses = [super(SkipwiseTrainer, self).training_step(model, part) for part in parts]
        return torch.stack(losses).sum()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the optimiser with one learning rate for the base and one for the gates."""
        if self.optimizer is None:
            gate_rate = self._run.gates.learning_rate if self._run.gates else 0.0
            self.optimizer = make_optimiser(self._objective, self._run.optimisation, gate_rate)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        # on a CPU the fused attention kernel is slower than the plain one, backward in bfloat16 above all
        with sdpa_kernel([SDPBackend.MATH] if self.args.device.type == "cpu" else list(_GPU_BACKENDS)):
            parts = model(**inputs)
        for name, value in parts.items():
            if name != "loss":
                self._sums[name] += float(value)
        self._steps_seen.add(int(inputs["step"]))
        # gradients are averaged over processes, and each has its share of the loss
        return parts["loss"] * self.args.world_size

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each part of the loss since the last line."""
        if "loss" in logs and self._steps_seen:
            names = sorted(self._sums)
            sums = torch.tensor([self._sums[name] for name in names], dtype=torch.float64)
            if self.args.world_size > 1:
                sums = sums.to(self.args.device)
                torch.distributed.all_reduce(sums)
            means = (sums / len(self._steps_seen)).tolist()
            logs |= {name: round(mean, 4) for name, mean in zip(names, means, strict=True)}
            if self._objective.adapter is not None and self.is_world_process_zero():
                logs |= self._gate_health().measure(self.state.global_step / self.state.max_steps)
            self._sums.clear()
            self._steps_seen.clear()
        super().log(logs, start_time)

    def _gate_health(self) -> GateHealth:
        """What watches the gates, on some windows of the first step."""
        if self._health is None:
            probe: Any = dict(self._steps.part(0, list(self._steps.places(0))[:_PROBED] or [0]))
            moved: Any = self._prepare_inputs(probe)
            self._health = GateHealth(self._objective.network, TrainBatch(**moved))
        return self._health

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write what is trained and what counts steps; the weights of a base that is kept are where it came from."""
        fixed = {name for name, parameter in self._objective.named_parameters() if not parameter.requires_grad}
        state = self._objective.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, {name: tensor for name, tensor in state.items() if name not in fixed})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse the checkpoint of a run that trained something else; what is kept is the base's, and not in it."""
        trained = {name for name, parameter in self._objective.named_parameters() if parameter.requires_grad}
        missing, foreign = sorted(trained & set(load_result.missing_keys)), sorted(load_result.unexpected_keys)
        if missing or foreign:
            lacks, has = (f"{len(names)} ({', '.join(names[:1]) or 'none'})" for names in (missing, foreign))
            raise SkipwiseError(
                f"the checkpoint is of a run that trained something else: it lacks {lacks} tensors and has {has} "
                "others. Go on with the config that began it, or choose another output."
            )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return and log quality on the dev set: of what was trained, so under its gates where it has some."""
        self._objective.eval()
        metrics = {f"eval_{name}": value for name, value in self._evaluate_dev(self._dev).items()}
        self._objective.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class StepReport(TrainerCallback):
    """Tells of each step that was made."""

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self._on_step = on_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._on_step(state.global_step)


_PROBED = 4
"""Windows, each with every task, that gates are watched on."""

_GPU_BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def _arguments(config: TrainConfig, *, has_dev: bool) -> TrainingArguments:
    chosen = config.optimisation
    decay_steps = round(chosen.max_steps * chosen.decay_share)
    decay_steps = min(decay_steps, max(0, chosen.max_steps - chosen.warmup_steps))
    return TrainingArguments(
        output_dir=str(config.output / "checkpoints"),
        max_steps=chosen.max_steps,
        per_device_train_batch_size=1,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": decay_steps, "decay_type": "cosine", "min_lr_ratio": 0.01},
        warmup_steps=min(chosen.warmup_steps, chosen.max_steps),
        max_grad_norm=chosen.max_grad_norm,
        bf16=_gains_by_bf16() if chosen.bf16 == "auto" else chosen.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        logging_steps=chosen.log_steps,
        logging_first_step=True,
        eval_strategy="steps" if has_dev else "no",
        eval_steps=chosen.eval_steps,
        save_strategy="steps",
        save_steps=chosen.save_steps,
        save_total_limit=2,
        remove_unused_columns=False,
        ignore_data_skip=True,  # a resumed run begins at its step: the steps before it are not made again
        label_names=["labels"],
        report_to="none",
        dataloader_pin_memory=False,
        ddp_backend="gloo" if _num_processes() > 1 and not torch.cuda.is_available() else None,
        ddp_find_unused_parameters=False if _num_processes() > 1 else None,
    )


def _gains_by_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16"))  # torch < 2.13 does not tell


def _num_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def newest_checkpoint(output: Path) -> Path | None:
    """Return the latest checkpoint of a run that Trainer finished writing, or None."""
    checkpoints = sorted(
        (path for path in (output / "checkpoints").glob("checkpoint-*") if _is_whole(path)),
        key=step_of,
    )
    return checkpoints[-1] if checkpoints else None


def _is_whole(checkpoint: Path) -> bool:
    """Whether its last file is there and whole: a killed run may leave half a checkpoint."""
    try:
        return "global_step" in json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def step_of(checkpoint: Path | None) -> int:
    """Return the step that a run goes on with from a checkpoint: 0 from none."""
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
