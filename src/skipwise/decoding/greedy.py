"""Greedy search: the likeliest token at each step, with cached keys and values.

Shapes: B rows, V vocabulary.
Source: ESPnet 202511, `espnet.nets.beam_search` with a beam of 1 and a CTC weight of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.decoding.options import DecodeOptions
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.decoder import SourceStates
from skipwise.models.owsm.network import OwsmNetwork


@final
@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What was found for one row."""

    tokens: tuple[int, ...]
    """Without the prompt and without `<eos>`."""
    score: float
    """Sum of the log-probabilities of the tokens and, if it was predicted, of `<eos>`."""
    finished: bool
    """False where the length limit ended the row before `<eos>` did."""


@torch.inference_mode()
def greedy_search(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompts: Int[Tensor, "batch prompt"],
    *,
    options: DecodeOptions,
    gates: GatePlan | None = None,
) -> list[Hypothesis]:
    """Return one hypothesis a row of `encoded`, each decoded as if it were alone.

    A row whose prompt holds `<notimestamps>` gets no timestamps; the log-probabilities stay those of the whole
    vocabulary. `gates` has one row for all, or one for each; sites that it does not name are open.
    """
    num_rows = prompts.shape[0]
    assert encoded.states.shape[0] == num_rows
    layer_gates = None if gates is None else network.decoder_gates(gates.expand(num_rows))
    source, cache = SourceStates(encoded), network.decoder.start_cache()
    limits = [options.max_tokens(frames) for frames in encoded.num_frames.tolist()]
    limits_B = torch.tensor(limits, device=prompts.device)
    eos = network.config.eos_token_id
    no_time_B1 = (prompts == network.config.no_timestamps_token_id).any(dim=1, keepdim=True)
    times = slice(network.config.first_timestamp_token_id, network.config.last_timestamp_token_id + 1)

    ended_B = torch.zeros_like(no_time_B1[:, 0])
    scores_B = encoded.states.new_zeros(num_rows, dtype=torch.float32)
    tokens, chosen = prompts, []
    for step in range(max(limits)):
        logits_BV = network.decoder(tokens, source, layer_gates, cache)[:, -1].float()
        norm_B = logits_BV.logsumexp(dim=-1)
        logits_BV[:, times].masked_fill_(no_time_B1, -torch.inf)
        best_B, token_B = logits_BV.max(dim=-1)
        # a row that has ended goes on being fed <eos>, which costs nothing more until all have
        scores_B += (best_B - norm_B).masked_fill(ended_B, 0.0)
        token_B = token_B.masked_fill(ended_B, eos)
        chosen.append(token_B)
        ended_B = ended_B | (token_B == eos) | (limits_B <= step + 1)
        if bool(ended_B.all()):
            break
        tokens = token_B[:, None]
    return _hypotheses(torch.stack(chosen, dim=1).tolist(), limits, scores_B, eos)


def _hypotheses(
    rows: Sequence[Sequence[int]], limits: Sequence[int], scores_B: Float[Tensor, " batch"], eos: int
) -> list[Hypothesis]:
    """Cut each row at its first `<eos>` or at its limit."""
    found = []
    for row, limit, score in zip(rows, limits, scores_B.tolist(), strict=True):
        within = list(row[:limit])
        finished = eos in within
        tokens = within[: within.index(eos)] if finished else within
        found.append(Hypothesis(tokens=tuple(tokens), score=score, finished=finished))
    return found
