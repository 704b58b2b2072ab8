"""From planners to plans: the same for gates that are decided before a stack runs and for those decided on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from skipwise.features import SpeechStates
from skipwise.gating import Context, GatePlan, LayerPlanner, Planner
from skipwise.gating.steps import StepPlanner
from skipwise.models.registry import family_of

Encode = Callable[[SpeechStates, GatePlan | LayerPlanner], SpeechStates]
"""Runs an encoder over the output of its embedding."""


def encode_planned(
    encode: Encode, planner: Planner, contexts: Sequence[Context], embedded: SpeechStates
) -> tuple[SpeechStates, GatePlan]:
    """Return an encoder's states and the plan that it followed."""
    decided = planner.encoder(contexts, embedded.pooled())
    encoded = encode(embedded, decided)
    return encoded, decided.plan() if isinstance(decided, LayerPlanner) else decided


def decoder_gates(
    network: nn.Module,
    planner: Planner,
    contexts: Sequence[Context],
    encoded: SpeechStates,
    prompts: Sequence[Sequence[int]],
) -> GatePlan | StepPlanner:
    """Return what the decoder follows; gates of layers that decide for themselves are decided on the prompts.

    That costs such gates a run over the prompts before the decoding, which runs over them again.
    """
    decided = planner.decoder(contexts, encoded.pooled())
    if not isinstance(decided, LayerPlanner):
        return decided
    device = encoded.states.device
    padded = pad_sequence([torch.tensor(list(prompt), device=device) for prompt in prompts], batch_first=True)
    family_of(network).decode(network, padded, encoded, decided)
    return decided.plan()
