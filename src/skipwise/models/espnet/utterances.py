"""What a caller says about a batch, for an ESPnet model that is called by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from skipwise.gating import Context
from skipwise.models.attach import network_of, planner_of
from skipwise.models.espnet.call import Decider, GatedCall, running


@contextmanager
def utterances(
    model: nn.Module, *, contexts: Sequence[Context], num_real_samples: Sequence[int], decider: Decider | None = None
) -> Iterator[GatedCall]:
    """Tell the gates of an ESPnet model about a batch, one context and one length a row, until the block ends.

    Lengths are in samples at 16 kHz, without padding. Encoder and decoder must be called inside of the same block; a
    `Speech2Text` with gates opens one itself. `decider` decides instead of the model's own gates.

    Raises:
        SkipwiseError: if the model can have no gates, or rows and lengths are not as many.
    """
    decider = planner_of(model) if decider is None else decider
    call = GatedCall(network_of(model).config, decider, contexts=contexts, num_real_samples=num_real_samples)
    with running(call):
        yield call
