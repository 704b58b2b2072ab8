"""From encoder states to hypotheses, by the method that the options name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from skipwise.decoding.beam_search import BeamSearch
from skipwise.decoding.ctc_greedy import ctc_greedy
from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.options import DecodeOptions
from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.network import OwsmNetwork

_MIN_LENGTH_STEP = 0.1


@torch.inference_mode()
def search(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Sequence[Sequence[int]],
    *,
    options: DecodeOptions,
    gates: GatePlan | None = None,
) -> list[list[Hypothesis]]:
    """Return the `options.nbest` best hypotheses of each row of `encoded`, best first, as if each were alone.

    A row gets timestamps unless its prompt holds `<notimestamps>`. `gates` has one row for all, or one for each; sites
    that it does not name are open. A row has fewer hypotheses, or none, where fewer are longer than the least length.
    Prompts are decoded together with those of the same length. The CTC method passes prompts and gates over.

    Raises:
        SkipwiseError: if the beam is wider than the vocabulary, or `gates` has another number of rows.
    """
    assert encoded.states.shape[0] == len(prompts)
    if options.beam_size > network.config.vocab_size:
        raise SkipwiseError(
            f"beam_size must be at most the vocabulary's {network.config.vocab_size} tokens, got {options.beam_size}."
        )
    if gates is not None:
        gates = gates.expand(len(prompts))
    if options.method == "ctc":
        return [[hypothesis] for hypothesis in ctc_greedy(network, encoded)]
    found: list[list[Hypothesis]] = [[] for _ in prompts]
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
        for row, hypotheses in zip(rows, _long_enough(network, encoded, prompts, rows, options, gates), strict=True):
            found[row] = hypotheses[: options.nbest]
    return found


def _long_enough(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Sequence[Sequence[int]],
    rows: list[int],
    options: DecodeOptions,
    gates: GatePlan | None,
) -> list[list[Hypothesis]]:
    """The hypotheses of some rows; a row for which the least length is too much is searched again with less."""
    device = encoded.states.device
    chosen = encoded if len(rows) == len(prompts) else encoded.select(torch.tensor(rows, device=device))
    prompts_BP = torch.tensor([list(prompts[row]) for row in rows], device=device)
    found = BeamSearch(network, chosen, prompts_BP, options, gates and gates.select(rows)).run()
    empty = [place for place, hypotheses in enumerate(found) if not hypotheses]
    if empty and options.min_length_ratio >= _MIN_LENGTH_STEP:
        easier = replace(options, min_length_ratio=max(0.0, options.min_length_ratio - _MIN_LENGTH_STEP))
        again = _long_enough(network, encoded, prompts, [rows[place] for place in empty], easier, gates)
        for place, hypotheses in zip(empty, again, strict=True):
            found[place] = hypotheses
    return found
