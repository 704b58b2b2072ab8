"""Live models of other libraries as families: gates go on them, and their own library decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from torch import Tensor

from skipwise.models.ctc.network import ctc_network
from skipwise.models.espnet.network import espnet_network
from skipwise.models.family import GateFamily, HeldGates, NetworkDescription
from skipwise.models.foreign import ForeignNetwork


@final
class ForeignFamily(GateFamily[object, ForeignNetwork]):
    """What `find` sees as a network; that swaps its classes as soon as something is put on it."""

    def __init__(self, name: str, find: Callable[[object], ForeignNetwork | None]) -> None:
        self._name, self._find = name, find

    @property
    def name(self) -> str:
        return self._name

    def network(self, model: object) -> ForeignNetwork:
        found = model if isinstance(model, ForeignNetwork) else self._find(model)
        assert found is not None
        return found

    def describe(self, network: ForeignNetwork) -> NetworkDescription:
        sizes: Any = network.config
        return NetworkDescription(
            hidden_size=sizes.hidden_size, sites=network.gate_sites(), languages=sizes.languages, tasks=sizes.tasks
        )

    def base_state(self, network: ForeignNetwork) -> dict[str, Tensor]:
        return network.base_state()

    def held(self, network: ForeignNetwork) -> HeldGates:
        return network  # pyrefly: ignore[bad-return] - what it holds are properties that can be set

    def settle(self, network: ForeignNetwork, held: HeldGates) -> None:
        """Do nothing: the network has settled when it was given what it holds."""


ESPNET = ForeignFamily("owsm", espnet_network)
"""ESPnet's OWSM; an adapter of one serves our port too, so it has that one's name."""

CTC = ForeignFamily("ctc", ctc_network)
"""transformers' wav2vec2, HuBERT, WavLM and Parakeet with a CTC head."""
