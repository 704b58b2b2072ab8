"""Gates on an ESPnet model that is about to be trained, from the section `gates_conf` of its config. Needs ESPnet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter
from skipwise.models.attach import attach, network_of
from skipwise.models.espnet.network import EspnetNetwork
from skipwise.training.espnet.model import GateTrainingModel
from skipwise.training.gates import gate_config, gated_objective_config
from skipwise.training.gates_section import GatesSection, for_our_trainer, read_section
from skipwise.training.hosted import GateTraining
from skipwise.training.vectors import ContextVectors


class EspnetGatesSection(GatesSection):
    """`gates_conf`: what `gates` is in a config of `skipwise train`, and how long ESPnet trains."""

    max_steps: int | None = Field(default=None, ge=1)
    """Batches of the run, which schedules go by: from `max_epoch` and `num_iters_per_epoch` if it is not given."""
    seed: int = 0
    """Seed of the gates' noise."""


def gates_section(record: Mapping[str, Any]) -> EspnetGatesSection:
    """Return the checked section.

    Raises:
        SkipwiseError: for an unknown key or value, or what ESPnet's trainer does not do.
    """
    section = read_section(EspnetGatesSection, record, name="gates_conf")
    if foreign := for_our_trainer(section):
        raise SkipwiseError(
            f"ESPnet's trainer takes neither embeddings as context nor distillation nor open_share nor init, got "
            f"{foreign}. "
            "Train with skipwise train, or leave it out of gates_conf."
        )
    return section


def train_gates(model: nn.Module, gates: Mapping[str, Any] | EspnetGatesSection) -> GateAdapter:
    """Put fresh gates on a live `ESPnetS2TModel`, in place, and make its `forward` train them; `detach` ends that.

    What is trained beside the gates is what requires gradients: all of the base, unless ESPnet's `freeze_param` says
    otherwise.

    Raises:
        SkipwiseError: if the model is no OWSM of ESPnet's or has gates, or the settings cannot be.
    """
    section = gates if isinstance(gates, EspnetGatesSection) else gates_section(gates)
    network = network_of(model)
    if not isinstance(network, EspnetNetwork):
        raise SkipwiseError(
            f"ESPnet trains gates on an ESPnetS2TModel, got a {type(model).__name__}. Use skipwise train for others."
        )
    varies = section.temperature_start != section.temperature_end or section.sparsity_warmup > 0
    if varies and section.max_steps is None:
        raise SkipwiseError(
            "temperature_end and sparsity_warmup go by the length of the run, which is not known. Set "
            "num_iters_per_epoch, or max_steps in gates_conf."
        )
    schedule = {"max_steps": section.max_steps or 1, "seed": section.seed}
    schedule |= {"ctc_weight_start": network.config.ctc_loss_weight, "ctc_warmup_steps": 0}
    base_learns = any(parameter.requires_grad for parameter in model.parameters())
    settings = gated_objective_config(section, schedule, base_learns=base_learns)
    adapter = attach(model, gate_config(section, network.config, network.gate_sites(), ContextVectors()))
    network.train_as(GateTrainingModel, GateTraining(settings).to(network.device))
    return adapter
