"""What a caller says about a batch of recordings, for an encoder-only model that is called by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.gating import Context
from skipwise.models.attach import network_of, planner_of
from skipwise.models.ctc.call import CtcCall, EncoderDecider, running
from skipwise.models.ctc.network import CtcNetwork

ASR = Context(task="asr")


def ctc_network_of(model: nn.Module) -> CtcNetwork:
    """Return the network of an encoder-only model.

    Raises:
        SkipwiseError: for any other.
    """
    network = network_of(model)
    if not isinstance(network, CtcNetwork):
        raise SkipwiseError(
            f"this is for wav2vec2, HuBERT, WavLM and Parakeet with a CTC head (ForCTC); got a {type(model).__name__}."
        )
    return network


@contextmanager
def recordings(
    model: nn.Module,
    *,
    lengths: Sequence[int],
    contexts: Sequence[Context] | None = None,
    decider: EncoderDecider | None = None,
) -> Iterator[CtcCall]:
    """Tell the gates of an encoder-only model about a batch until the block ends.

    `lengths` are how much of each row is real: samples at the model's rate, or feature frames (Parakeet). `contexts`
    are one a row, or none: transcription in an unknown language. `decider` decides instead of the model's own gates.

    Raises:
        SkipwiseError: if the model is no encoder-only one, or rows, contexts and lengths are not as many.
    """
    network = ctc_network_of(model)
    known = [ASR] * len(lengths) if contexts is None else contexts
    num_frames = network.num_frames(torch.tensor(list(lengths)))
    with running(CtcCall(planner_of(model) if decider is None else decider, known, num_frames)) as call:
        yield call
