"""One training run from its config to a saved model."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from skipwise.atomic import atomic_write
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.run import evaluate
from skipwise.models.attach import attach, describe_base
from skipwise.models.family import GATES_FOLDER
from skipwise.models.registry import held_gates
from skipwise.models.trainable import trainable_family_of
from skipwise.pipeline import Transcriber
from skipwise.training.augment import Augment
from skipwise.training.auxiliary_ctc import auxiliary_ctc
from skipwise.training.batches import StepDataset, TrainData
from skipwise.training.config import TrainConfig
from skipwise.training.gates import gate_config, gates_before, objective_config, take_gates
from skipwise.training.kept_base import as_used, keep_base
from skipwise.training.objective import GatedObjective
from skipwise.training.sources import WindowSource
from skipwise.training.start import AnyModel, starting_point, utterances_of
from skipwise.training.targets import TargetMaker, TargetShares
from skipwise.training.trainer import SkipwiseTrainer, StepReport, newest_checkpoint
from skipwise.training.vectors import ContextVectors, context_vectors

logger = logging.getLogger(__name__)

MODEL_FOLDER = "model"
SUMMARY_FILE = "summary.json"

_NEARLY_FULL_BYTES = 1 << 20
_DEV_BUDGETS = (0.3, 0.5, 0.7)


def train(config: TrainConfig, *, resume: bool = False, on_step: Callable[[int], None] | None = None) -> Path:
    """Return the folder of the trained model: base, tokens and, if the run has gates, the adapter in `gates/`.

    Where the base is kept as it is, that of the adapter alone. `on_step` is told how many steps were made.

    Raises:
        SkipwiseError: if there is nothing to train on, or the run's folder holds another run and `resume` is not set.
    """
    checkpoint = newest_checkpoint(config.output)
    if checkpoint is not None and not resume:
        raise SkipwiseError(
            f"{config.output} holds a run that reached {checkpoint.name}. Add --resume, or choose another output."
        )
    made = result_folder(config)
    if checkpoint is None and made.exists():  # its checkpoints were deleted: they are large
        raise SkipwiseError(
            f"{made} holds a trained model, which a new run would replace with its gates. "
            "Move it away, or choose another output."
        )
    if config.optimisation.threads is not None:
        torch.set_num_threads(config.optimisation.threads)
    torch.manual_seed(config.seed)
    # first: features take long, and without dev data, or gates to go on from, there is no run
    dev, before = _dev_utterances(config), gates_before(config.gates)
    model, source = starting_point(config)
    family = trainable_family_of(model.network)
    vectors = context_vectors(config.gates, source, family.front_end(model.network))
    if config.gates is not None:
        sites = family.describe(model.network).sites
        adapter = attach(model.network, gate_config(config.gates, model.network.config, sites, vectors))
        if before is not None:
            take_gates(adapter, before, said=f"gates.init: {config.gates.init}")
    keep_base(model.network, config.model)
    objective = GatedObjective(
        model.network, objective_config(config), auxiliary_ctc=auxiliary_ctc(config.model.auxiliary_ctc, model, source)
    )
    dataset = _steps(config, model, source, vectors)
    trainer = SkipwiseTrainer(
        objective,
        dataset,
        config,
        resumed_from=checkpoint,
        dev=dev,
        evaluate_dev=_dev_evaluation(config, model),
    )
    if on_step is not None:
        trainer.add_callback(StepReport(on_step))
    started = time.perf_counter()
    with _disk_errors_told(config.output):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.is_world_process_zero():
            _save(config, model, _last_evaluation(trainer))
            seconds = time.perf_counter() - started
            _write_summary(config, trainer, num_utterances=source.num_sentences, seconds=seconds)
    return made


@contextmanager
def _disk_errors_told(output: Path) -> Iterator[None]:
    """A full disk, which torch and safetensors report in ways of their own, as the error that it is."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left" not in str(error) and shutil.disk_usage(output).free > _NEARLY_FULL_BYTES:
            raise
        raise SkipwiseError(
            f"no space left on the disk of {output}. Free some space and go on with --resume: the last whole "
            "checkpoint is kept."
        ) from error


def result_folder(config: TrainConfig) -> Path:
    """Return where what is trained is written: a model, or an adapter for the base that it started from."""
    return config.output / (MODEL_FOLDER if config.model.writes_base else GATES_FOLDER)


def _steps(config: TrainConfig, model: AnyModel, source: WindowSource, vectors: ContextVectors) -> StepDataset:
    data, network, family = config.data, model.network, trainable_family_of(model.network)
    shares = TargetShares(timestamps=data.timestamps, previous_text=data.previous_text)
    train_data = TrainData(
        source=source,
        targets=TargetMaker(
            family.config(network),
            model.vocabulary,
            shares,
            lower_case=data.lower_case,
            max_positions=family.max_positions(network),
        ),
        tasks=data.tasks,
        one_task=data.tasks_a_window == "one",
        augment=Augment.of(**config.augment.model_dump()) if config.augment else None,
        front_end=family.front_end(network),
        fill=family.masking_value(network),
        seed=config.seed,
        vectors=vectors,
    )
    process, num_processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    return StepDataset(train_data, process=process, num_processes=num_processes)


def _dev_evaluation(config: TrainConfig, model: AnyModel) -> Callable[[Sequence[Utterance]], dict[str, float]]:
    """What to measure on the dev set: WER, BLEU and the achieved sparsity, dense and, with gates, pruned.

    Gates that follow budgets are asked for several.
    """

    def measure(dev: Sequence[Utterance]) -> dict[str, float]:
        used, adapter = as_used(model)
        metrics = _metrics(Transcriber(used, gates=None, dtype="fp32"), dev, config.data.tasks)
        if adapter is None:
            return metrics
        for budget in _DEV_BUDGETS if adapter.is_elastic else (None,):
            transcriber = Transcriber(used, gates=adapter, sparsity=budget, dtype="fp32")
            prefix = "pruned_" if budget is None else f"pruned_{round(100 * budget)}_"
            pruned = _metrics(transcriber, dev, config.data.tasks)
            metrics |= {f"{prefix}{name}": value for name, value in pruned.items()}
        return metrics

    return measure


def _metrics(transcriber: Transcriber, dev: Sequence[Utterance], tasks: Sequence[str]) -> dict[str, float]:
    result = evaluate(transcriber, dev, tasks).to_dict()["all"]
    sparsity = {f"sparsity_{stack}": value for stack, value in result["sparsity"].items()}
    return {name: result[name] for name in ("wer", "bleu") if result[name] is not None} | sparsity


def _dev_utterances(config: TrainConfig) -> list[Utterance]:
    """Evenly spaced dev utterances, so that every language has its share."""
    count = config.optimisation.eval_utterances
    if count == 0:
        return []
    dev = utterances_of(config.data, "dev")
    return [dev[i * len(dev) // count] for i in range(min(count, len(dev)))]


def _save(config: TrainConfig, model: AnyModel, results: Mapping[str, float]) -> None:
    """The base first, then the adapter, which names the base that it was trained with by its new fingerprint.

    A base that was kept is not written again: the adapter names the one that it started from.
    """
    if not config.model.writes_base:
        _, adapter = as_used(model)
        assert adapter is not None
        adapter.notes |= {"base": config.model.init, "results": results}
        adapter.save_pretrained(result_folder(config))
        return
    folder = result_folder(config)
    trainable_family_of(model.network).save(folder, model)
    adapter = held_gates(model.network).gate_adapter
    if adapter is not None:
        adapter.base = describe_base(model.network)
        adapter.notes["results"] = results
        adapter.save_pretrained(folder / GATES_FOLDER)


def _last_evaluation(trainer: SkipwiseTrainer) -> dict[str, float]:
    """What was measured last on the dev set, if anything was."""
    for line in reversed(trainer.state.log_history):
        found = {name.replace("eval_", "dev ", 1): value for name, value in line.items() if name.startswith("eval_")}
        if found:
            return found
    return {}


def _write_summary(
    config: TrainConfig, trainer: SkipwiseTrainer, *, num_utterances: int | None, seconds: float
) -> None:
    record: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "num_utterances": num_utterances,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__},
        "history": trainer.state.log_history,
    }
    with atomic_write(config.output / SUMMARY_FILE) as file:
        json.dump(record, file, indent=1)
