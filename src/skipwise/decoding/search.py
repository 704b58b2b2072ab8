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
from skipwise.gating.steps import StepPlanner
from skipwise.models.engine.decoder import DecoderGates
from skipwise.models.speech_engine import SpeechEngine

_MIN_LENGTH_STEP = 0.1


@torch.inference_mode()
def search(
    engine: SpeechEngine,
    encoded: SpeechStates,
    prompts: Sequence[Sequence[int]],
    *,
    options: DecodeOptions,
    gates: DecoderGates = None,
) -> list[list[Hypothesis]]:
    """Return the `options.nbest` best hypotheses of each row of `encoded`, best first, as if each were alone.

    A row gets timestamps unless its prompt holds `<notimestamps>`. `gates` is a plan of one row for all or of one for
    each, or decides every position; sites that it does not name are open. A row has fewer hypotheses, or none, where
    fewer are longer than the least length. Prompts are decoded together with those of the same length. The CTC method
    passes prompts and gates over.

    Raises:
        SkipwiseError: if the beam is wider than the vocabulary, or `gates` has another number of rows.
    """
    assert encoded.states.shape[0] == len(prompts)
    if options.beam_size > engine.config.vocab_size:
        raise SkipwiseError(
            f"beam_size must be at most the vocabulary's {engine.config.vocab_size} tokens, got {options.beam_size}."
        )
    if isinstance(gates, GatePlan):
        gates = gates.expand(len(prompts))
    if engine.ctc is None and (options.method == "ctc" or options.ctc_weight > 0):
        raise SkipwiseError("this model has no CTC head: use the method attention, with ctc_weight 0.")
    if options.method == "ctc":
        assert engine.ctc is not None
        return [[hypothesis] for hypothesis in ctc_greedy(engine.ctc, encoded)]
    found: list[list[Hypothesis]] = [[] for _ in prompts]
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
        for row, hypotheses in zip(rows, _long_enough(engine, encoded, prompts, rows, options, gates), strict=True):
            found[row] = hypotheses[: options.nbest]
    return found


def _long_enough(
    engine: SpeechEngine,
    encoded: SpeechStates,
    prompts: Sequence[Sequence[int]],
    rows: list[int],
    options: DecodeOptions,
    gates: DecoderGates,
) -> list[list[Hypothesis]]:
    """The hypotheses of some rows; a row for which the least length is too much is searched again with less."""
    device = encoded.states.device
    chosen = encoded if len(rows) == len(prompts) else encoded.select(torch.tensor(rows, device=device))
    prompts_BP = torch.tensor([list(prompts[row]) for row in rows], device=device)
    found = BeamSearch(engine, chosen, prompts_BP, options, _of_rows(gates, rows)).run()
    empty = [place for place, hypotheses in enumerate(found) if not hypotheses]
    if empty and options.min_length_ratio >= _MIN_LENGTH_STEP:
        easier = replace(options, min_length_ratio=max(0.0, options.min_length_ratio - _MIN_LENGTH_STEP))
        again = _long_enough(engine, encoded, prompts, [rows[place] for place in empty], easier, gates)
        for place, hypotheses in zip(empty, again, strict=True):
            found[place] = hypotheses
    return found


def _of_rows(gates: DecoderGates, rows: list[int]) -> DecoderGates:
    match gates:
        case GatePlan():
            return gates.select(rows)
        case StepPlanner():
            return gates.keep(rows)
    return None
