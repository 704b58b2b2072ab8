"""Gates that ESPnet's trainer trained: they lie in its checkpoint beside the base, and in its config. Torch only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating import GateAdapter, GateBase
from skipwise.gating.adapter_files import config_of
from skipwise.models.fingerprint import fingerprint_of
from skipwise.models.foreign import ADAPTER
from skipwise.models.owsm.architecture import OwsmArchitecture

SECTION: Final = "gates"
"""Where the config of an ESPnet run has what its gates are; what a user asked for is in `gates_conf`."""
TRAINING: Final = "gate_training"
"""The module of what is needed to train them."""


def without_gates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of a state dict that are the base's."""
    return {key: tensor for key, tensor in state.items() if key.partition(".")[0] not in (ADAPTER, TRAINING)}


def trained_gates(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    architecture: OwsmArchitecture,
    base_weights: Mapping[str, Tensor],
    where: Path,
) -> GateAdapter | None:
    """Return the gates in an ESPnet checkpoint, for the base in it; None if there are none.

    `base_weights` are under our names, as an adapter knows its base by them.

    Raises:
        SkipwiseError: if the config does not say what they are, or says something else.
    """
    weights = {
        key.removeprefix(f"{ADAPTER}."): tensor for key, tensor in state.items() if key.startswith(f"{ADAPTER}.")
    }
    if not weights:
        return None
    base = GateBase(
        family="owsm",
        fingerprint=fingerprint_of(base_weights),
        hidden_size=architecture.hidden_size,
        sites=architecture.gate_sites(),
        languages=architecture.languages,
        tasks=architecture.tasks,
    )
    try:
        adapter = GateAdapter(config_of(config[SECTION]), base, notes={"trained_by": "espnet"})
        adapter.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SkipwiseError(
            f"{where} has gates that its config does not describe ({reason}). Give the config.yaml that was written "
            "when they were trained."
        ) from error
    return adapter.eval()
