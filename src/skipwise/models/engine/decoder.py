"""A decoder packed for inference: the weights of one model, read by any number of searches at once.

Shapes: B utterances, K beams of each, L new positions, D width, V vocabulary.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.gating.steps import StepPlanner
from skipwise.models.engine.branches import Norm, Source
from skipwise.models.engine.graphs import BufferPool, GraphedState
from skipwise.models.engine.state import DecoderState, PackedLayer, UtteranceState
from skipwise.models.engine.step_state import StepState
from skipwise.models.precision import Projection

DecoderGates = GatePlan | StepPlanner | None
"""One plan an utterance, one plan a position, or everything open."""


class PositionedEmbedding(ABC):
    """How a family turns token embeddings into what enters its first layer."""

    @abstractmethod
    def __call__(self, embedded: Float[Tensor, "rows new dim"], offset: int) -> Float[Tensor, "rows new dim"]:
        """Return `embedded` with the positions from `offset` on."""


@final
class PackedDecoder:
    """Immutable: what belongs to a call is in its `DecoderState`, so that threads may share a decoder."""

    def __init__(
        self,
        *,
        embedding: Float[Tensor, "vocab dim"],
        positions: PositionedEmbedding,
        layers: Sequence[PackedLayer],
        final_norm: Norm,
        output: Projection,
        start_token_id: int,
    ) -> None:
        self._embedding, self._positions = embedding, positions
        self.layers = tuple(layers)
        self._pool = BufferPool(layers)
        self._final_norm, self._output = final_norm, output
        self._start_token_id = start_token_id

    @property
    def num_output_bytes(self) -> int:
        """Bytes of weights that the output layer reads."""
        return self._output.num_weight_bytes

    def with_output(self, output: Projection) -> PackedDecoder:
        """Return a decoder with another output layer; all else is shared with this one."""
        other = copy.copy(self)
        other._output = output
        return other

    def start(self, encoded: SpeechStates, gates: DecoderGates = None) -> DecoderState:
        """Return the state of a new search over a batch of utterances, one hypothesis each.

        Raises:
            SkipwiseError: if a plan has several rows, but not one for each utterance.
        """
        source, num_layers = Source.of(encoded), len(self.layers)
        if isinstance(gates, StepPlanner):
            return StepState(source, gates, num_layers)
        if source.states.is_cuda and source.states.shape[0] == 1:
            return GraphedState(source, gates, self._pool, num_layers)
        return UtteranceState(source, gates, num_layers)

    def step(self, tokens: Int[Tensor, "batch beams new"], state: DecoderState) -> Float[Tensor, "batch beams vocab"]:
        """Return the logits after the last of `tokens`, which follow what each hypothesis has seen."""
        return self.logits(self.states(tokens, state)[:, :, -1])

    def states(
        self, tokens: Int[Tensor, "batch beams new"], state: DecoderState
    ) -> Float[Tensor, "batch beams new dim"]:
        """Return what the last layer says at each of `tokens`."""
        assert tokens.shape[1] == state.num_beams
        flat = tokens.flatten(0, 1)
        embedded = F.embedding(flat, self._embedding)
        hidden = self._positions(embedded, state.length)
        return state.run(self.layers, hidden, embedded, flat == self._start_token_id).unflatten(0, tokens.shape[:2])

    def logits(self, states: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows vocab"]:
        """Return the logits of the next token."""
        return self._output(self._final_norm(states))
