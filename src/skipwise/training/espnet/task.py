"""ESPnet's S2T task with gates: one section more in its config, `gates_conf`. Needs ESPnet.

`python -m skipwise.training.espnet.train` runs it, as `espnet2.bin.s2t_train` runs ESPnet's; espnetez takes the class.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from espnet2.tasks.s2t import S2TTask
from espnet2.utils.nested_dict_action import NestedDictAction
from torch import nn

from skipwise.gating.adapter_files import config_record
from skipwise.models.foreign import ADAPTER
from skipwise.models.owsm.espnet_gates import SECTION
from skipwise.training.espnet.preprocessor import with_real_lengths
from skipwise.training.espnet.start import EspnetGatesSection, gates_section, train_gates


@final
class GatedS2TTask(S2TTask):
    """Trains an `ESPnetS2TModel` and its gates with ESPnet's trainer."""

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_task_arguments(parser)
        parser.add_argument(
            "--gates_conf",
            action=NestedDictAction,
            default={},
            help="Gates to train, as in the section `gates` of skipwise train: scope, sparsity, predictor, ...",
        )

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> nn.Module:
        model = super().build_model(args)
        gate_model(model, args)
        return model

    @classmethod
    def build_preprocess_fn(cls, args: argparse.Namespace, train: bool) -> Callable[..., Any] | None:
        preprocessor = super().build_preprocess_fn(args, train)
        return None if preprocessor is None else with_real_lengths(preprocessor)

    @classmethod
    def build_optimizers(cls, args: argparse.Namespace, model: nn.Module) -> list[torch.optim.Optimizer]:
        return with_gate_rate(super().build_optimizers(args, model), model, _section(args).learning_rate)


def gate_model(model: nn.Module, args: argparse.Namespace) -> None:
    """Put gates on the model of an ESPnet run, and write into its arguments, which ESPnet saves, what they are.

    Raises:
        SkipwiseError: as `train_gates` does.
    """
    frozen = tuple(getattr(args, "freeze_param", None) or ())
    for (
        name,
        parameter,
    ) in model.named_parameters():  # ESPnet freezes later; gates must know now whether the base learns
        if name in frozen or name.startswith(tuple(f"{part}." for part in frozen)):
            parameter.requires_grad = False
    adapter = train_gates(model, _section(args))
    setattr(args, SECTION, config_record(adapter.config))


def with_gate_rate(
    optimizers: Sequence[torch.optim.Optimizer], model: nn.Module, learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Return the optimisers with the gates of the model in a group of their own: another rate, no weight decay."""
    gates = {id(parameter) for name, parameter in model.named_parameters() if name.startswith(f"{ADAPTER}.")}
    for optimizer in optimizers:
        found = [p for group in optimizer.param_groups for p in group["params"] if id(p) in gates]
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in gates]
        if found:
            optimizer.add_param_group({"params": found, "lr": learning_rate, "weight_decay": 0.0})
    return list(optimizers)


def _section(args: argparse.Namespace) -> EspnetGatesSection:
    record = dict(getattr(args, "gates_conf", None) or {})
    num_iters = getattr(args, "num_iters_per_epoch", None)
    if num_iters is not None:
        record.setdefault("max_steps", args.max_epoch * num_iters)
    record.setdefault("seed", args.seed)
    return gates_section(record)
