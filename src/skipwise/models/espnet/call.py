"""What ESPnet's signatures have no place for: who speaks in a batch, how much of it is real, and what its gates are.

ESPnet calls its encoder and decoder with tensors alone. A `GatedCall` stands around such calls, and belongs to the
thread, or task, that made it.

Shapes: B rows, R rows that the decoder is fed (hypotheses of a row, or the rows), T frames, D width, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.features.log_mel import num_feature_frames
from skipwise.gating import Context, GatePlan, GateSample, LayerPlanner, LayerSampler, LayerwiseGates
from skipwise.gating.layerwise import StackGates, followed
from skipwise.gating.sites import Stack
from skipwise.gating.steps import StepPlanner
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.prompt import mean_over, prompt_positions
from skipwise.models.running import RunningCall, pooled_over

Decided = GatePlan | GateSample | LayerPlanner | LayerSampler | None
"""The gates of a stack: a plan, drawn gates, what makes either while the stack runs, or none: all open."""


@runtime_checkable
class Decider(Protocol):
    """What decides the gates of a call: a `Planner`, or what draws gates in training."""

    def encoder(self, contexts: Sequence[Context], pooled: Tensor, /) -> Decided:
        """Return the encoder's gates from the mean conv embedding [B, D]."""
        ...

    def decoder(self, contexts: Sequence[Context], pooled: Tensor, /) -> Decided | StepPlanner:
        """Return the decoder's gates from the mean encoder state [B, D]."""
        ...


@final
class GatedCall:
    """One batch on its way through a gated ESPnet model."""

    def __init__(
        self,
        architecture: OwsmArchitecture,
        decider: Decider,
        *,
        contexts: Sequence[Context],
        num_real_samples: Sequence[int],
    ) -> None:
        """Know a batch, one of `contexts` and of `num_real_samples` a row: samples at 16 kHz before any padding.

        Raises:
            SkipwiseError: if these are not as many.
        """
        if len(contexts) != len(num_real_samples):
            raise SkipwiseError(
                f"each row needs one context and one number of real samples, got {len(contexts)} and "
                f"{len(num_real_samples)}."
            )
        self._architecture = architecture
        self._decider = decider
        self._contexts = tuple(contexts)
        self._num_real_frames = [_subsampled(n, architecture.subsampling_factor) for n in num_real_samples]
        self._decided: dict[Stack, Decided] = {}
        self._ready: dict[int, StackGates] = {}
        self._device = torch.device("cpu")

    def encoder_gates(self, embedded: Float[Tensor, "batch time dim"]) -> StackGates:
        """Return the encoder's gates, decided from its embedding before scaling and positions."""
        self._device = embedded.device
        self._decided = {"encoder": self._decider.encoder(self._contexts, self.pooled(embedded))}
        self._ready = {}
        return self._layers("encoder", len(embedded))

    def finish_encoder(self, encoded: Float[Tensor, "batch time dim"]) -> None:
        """Decide the decoder's gates, once for all steps, from the encoder's output.

        Raises:
            SkipwiseError: if each step would have its own.
        """
        self._device = encoded.device
        decided = self._decider.decoder(self._contexts, self.pooled(encoded))
        if isinstance(decided, StepPlanner):
            raise SkipwiseError(
                "ESPnet's decoder has no plans for single steps. Decode with skipwise, or use gates that decide once "
                "an utterance."
            )
        self._decided["decoder"] = decided

    def decoder_gates(self, num_rows: int) -> StackGates:
        """Return the decoder's gates for as many rows: those of the batch, or all hypotheses of its only one.

        Raises:
            SkipwiseError: if no speech was encoded in this call.
        """
        if "decoder" not in self._decided:
            raise SkipwiseError(
                "gates of a decoder are decided from the encoder's output, and nothing was encoded in this call. "
                "Encode and decode inside of the same one."
            )
        if num_rows not in self._ready:
            self._ready[num_rows] = self._layers("decoder", num_rows)
        return self._ready[num_rows]

    def decided_on_prompt(self) -> None:
        """Keep what the decoder's layers decided on the prompt for all further steps."""
        decided = self._decided["decoder"]
        if isinstance(decided, LayerPlanner):
            self._decided["decoder"], self._ready = decided.plan(), {}

    def decided(self, stack: Stack) -> GatePlan | GateSample | None:
        """Return what a stack followed, once it has run; None if it has no gates."""
        return followed(self._decided.get(stack))

    def pooled(self, states: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch dim"]:
        """Return the mean over the frames of real samples, in fp32 whatever the model computes in."""
        return pooled_over(states, torch.tensor(self._num_real_frames))

    def prompt_mean(
        self, tokens: Int[Tensor, "rows length"], hidden: Float[Tensor, "rows length dim"]
    ) -> Float[Tensor, "rows dim"]:
        """Return the mean over the positions that decide: `<sos>`, language and task."""
        return mean_over(hidden, prompt_positions(tokens, self._architecture.bos_token_id))

    def _layers(self, stack: Stack, num_rows: int) -> StackGates:
        decided = self._decided[stack]
        if decided is None or isinstance(decided, LayerwiseGates):
            return decided
        if isinstance(decided, GatePlan):
            decided = decided.expand(num_rows)
        architecture = self._architecture
        num_layers = architecture.encoder_layers if stack == "encoder" else architecture.decoder_layers
        return decided.layer_gates(stack, num_layers, self._device)


_RUNNING = RunningCall[GatedCall](
    "skipwise_espnet_call",
    missing="gates need to know the language, the task and how much of the audio is real, which ESPnet does not pass. "
    "Attach them to the Speech2Text, train with skipwise.training.espnet, or call the model inside of "
    "`with utterances(model, contexts=..., num_real_samples=...):`.",
)
running = _RUNNING.running
running_call = _RUNNING.now


def _subsampled(num_samples: int, factor: int) -> int:
    num_frames = num_feature_frames(num_samples)
    for _ in range(factor.bit_length() - 1):
        num_frames = (num_frames - 1) // 2
    return max(1, num_frames)
