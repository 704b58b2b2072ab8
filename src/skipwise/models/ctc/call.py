"""What an encoder-only model is not told: how much of each row is real, what is known of it, and what decides.

Shapes: B rows, N samples, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, final, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GatePlan, GateSample, LayerPlanner, LayerSampler
from skipwise.gating.layerwise import StackGates, followed
from skipwise.models.running import RunningCall, pooled_over


@runtime_checkable
class EncoderDecider(Protocol):
    """What decides the gates of a call: a `Planner`, or what draws gates in training."""

    def encoder(
        self, contexts: Sequence[Context], pooled: Tensor, /
    ) -> GatePlan | GateSample | LayerPlanner | LayerSampler | None:
        """Return the encoder's gates from the mean projected feature [B, D]."""
        ...


@final
class CtcCall:
    """One batch on its way through a gated encoder."""

    def __init__(self, decider: EncoderDecider, contexts: Sequence[Context], num_real_frames: Tensor) -> None:
        """Know a batch: one context, and one number of frames that stem from real samples, a row.

        Raises:
            SkipwiseError: if these are not as many.
        """
        if len(contexts) != len(num_real_frames):
            raise SkipwiseError(
                f"each row needs one context and one length, got {len(contexts)} and {len(num_real_frames)}."
            )
        self._decider = decider
        self._contexts = tuple(contexts)
        self._num_real_frames = num_real_frames
        self.on_projected: Callable[[Tensor], None] = _nothing_waits
        """What waits for the projected features, in encoders that make them themselves."""
        self._decided: GatePlan | GateSample | LayerPlanner | LayerSampler | None = None

    def gates(self, projected: Float[Tensor, "batch time dim"], num_layers: int) -> StackGates:
        """Return the gates, decided from the projected features before positions."""
        self._decided = decided = self._decider.encoder(self._contexts, self.pooled(projected))
        if isinstance(decided, GatePlan):
            decided = decided.expand(len(projected))
        if isinstance(decided, GatePlan | GateSample):
            return decided.layer_gates("encoder", num_layers, projected.device)
        return decided

    def decided(self) -> GatePlan | GateSample | None:
        """Return what the encoder followed, once it has run."""
        return followed(self._decided)

    def pooled(self, states: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch dim"]:
        """Return the mean over the frames of real samples, in fp32."""
        return pooled_over(states, self._num_real_frames)


def _nothing_waits(_: Tensor) -> None:
    """Stands for nobody."""


_RUNNING = RunningCall[CtcCall](
    "skipwise_ctc_call",
    missing="gates need to know how much of each row is real, which the model is not told. Call it inside of `with "
    "recordings(model, lengths=...):` of skipwise.models.ctc.recordings, or use recognise.",
)
running = _RUNNING.running
running_call = _RUNNING.now
