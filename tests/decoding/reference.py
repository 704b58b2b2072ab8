"""Beam search as ESPnet defines it, for one utterance, slowly: whole prefixes, loops over frames, no cache, no batch.

Written from what `espnet.nets.batch_beam_search` and `ctc_prefix_score` of ESPnet 202511 compute; tests/interop shows
that it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skipwise.decoding import DecodeOptions, Hypothesis
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.gating.steps import StepPlanner
from skipwise.models.owsm.network import OwsmNetwork

LOG_ZERO = -1e10


@dataclass(frozen=True)
class Running:
    """A hypothesis on the beam."""

    tokens: list[int]
    """The prompt too."""
    score: float
    ctc_paths: Tensor
    """[T, 2]: log-probability of what ends in the last token and in blank, up to each frame."""
    ctc_score: float


def beam_search(
    network: OwsmNetwork,
    encoded: SpeechStates,
    prompt: list[int],
    options: DecodeOptions,
    gates: GatePlan | StepPlanner | None = None,
    *,
    min_ratio: float | None = None,
) -> list[Hypothesis]:
    """All hypotheses of the one row of `encoded`, best first."""
    eos, num_frames = network.config.eos_token_id, int(encoded.num_frames)
    most = options.max_tokens(num_frames)
    min_ratio = options.min_length_ratio if min_ratio is None else min_ratio
    fewest = -int(min_ratio) if min_ratio < 0 else int(min_ratio * num_frames)
    ctc = network.ctc_logits(encoded)[0].double().log_softmax(dim=-1)
    empty = torch.stack([torch.full_like(ctc[:, 0], LOG_ZERO), ctc[:, 0].cumsum(dim=0)], dim=1)
    beam, ended = [Running(prompt, 0.0, empty, 0.0)], []
    for step in range(most):
        beam = best_of(beam, network, encoded, ctc, options, gates)
        for hypothesis in beam:
            is_over = hypothesis.tokens[-1] == eos
            length = len(hypothesis.tokens) + (step == most - 1)
            if (is_over or step == most - 1) and step >= fewest:
                text = tuple(hypothesis.tokens[len(prompt) : -1 if is_over else None])
                ended.append((Hypothesis(tokens=text, score=hypothesis.score, finished=is_over), length))
        beam = [] if step == most - 1 else [h for h in beam if h.tokens[-1] != eos]
        if not beam or (options.max_length_ratio == 0 and is_hopeless(ended, step)):
            break
    if not ended and min_ratio >= 0.1:
        return beam_search(network, encoded, prompt, options, gates, min_ratio=max(0.0, min_ratio - 0.1))
    rank = (lambda e: e[0].score / (e[1] - 1)) if options.normalize_length else (lambda e: e[0].score)
    return [hypothesis for hypothesis, _ in sorted(ended, key=rank, reverse=True)]


def is_hopeless(ended: list[tuple[Hypothesis, int]], step: int) -> bool:
    """Whether the best of each of three lengths is far below the best of all."""
    if not ended:
        return False
    best = max(hypothesis.score for hypothesis, _ in ended)
    of_length = [[h.score for h, length in ended if length == step - back] for back in range(3)]
    return all(scores and max(scores) - best < -10 for scores in of_length)


def best_of(
    beam: list[Running],
    network: OwsmNetwork,
    encoded: SpeechStates,
    ctc: Tensor,
    options: DecodeOptions,
    gates: GatePlan | StepPlanner | None,
) -> list[Running]:
    """The best continuations of all hypotheses by one token."""
    candidates: list[Running] = []
    for hypothesis in beam:
        log_probs = network.decode(torch.tensor([hypothesis.tokens]), encoded, gates)[0, -1].log_softmax(dim=-1)
        scores = (1 - options.ctc_weight) * log_probs + options.length_bonus + allowed(network, hypothesis.tokens)
        if options.ctc_weight == 0:
            extended = {
                int(i): (float(scores[i]), hypothesis.ctc_paths, 0.0) for i in scores.topk(options.beam_size).indices
            }
        else:
            extended = {}
            pre_beam = scores.topk(int(1.5 * options.beam_size)).indices.tolist()
            for token in {*pre_beam, network.config.eos_token_id} - {network.config.pad_token_id}:
                paths, total = ctc_extended(ctc, hypothesis, token, eos=network.config.eos_token_id)
                gain = options.ctc_weight * (total - hypothesis.ctc_score)
                extended[token] = (float(scores[token]) + gain, paths, total)
        candidates += [
            Running([*hypothesis.tokens, token], hypothesis.score + score, paths, total)
            for token, (score, paths, total) in extended.items()
            if score > -math.inf
        ]
    return sorted(candidates, key=lambda candidate: candidate.score, reverse=True)[: options.beam_size]


def ctc_extended(ctc: Tensor, hypothesis: Running, token: int, *, eos: int) -> tuple[Tensor, float]:
    """The paths and the prefix score of a hypothesis and one more token, frame by frame."""
    before = hypothesis.ctc_paths
    either = before.logsumexp(dim=1)
    if token == eos:
        return before, float(either[-1])
    phi = before[:, 1] if token == hypothesis.tokens[-1] else either
    start = max(len(hypothesis.tokens) - 1, 1)
    paths = torch.full_like(before, LOG_ZERO)
    total = torch.tensor(LOG_ZERO, dtype=ctc.dtype)
    for frame in range(start, len(ctc)):
        enters = torch.logaddexp(paths[frame - 1, 0], phi[frame - 1])
        paths[frame, 0] = enters + ctc[frame, token]
        paths[frame, 1] = paths[frame - 1].logsumexp(dim=0) + ctc[frame, 0]
        total = torch.logaddexp(total, phi[frame - 1] + ctc[frame, token])
    return paths, float(total)


def allowed(network: OwsmNetwork, tokens: list[int]) -> Tensor:
    """0 for tokens that may follow, minus infinity for the others."""
    config = network.config
    first, last, eos = config.first_timestamp_token_id, config.last_timestamp_token_id, config.eos_token_id
    times = [token for token in tokens if first <= token <= last]
    everything, every_time = set(range(config.vocab_size)), set(range(first, last + 1))
    if config.no_timestamps_token_id in tokens:
        may = everything - every_time
    elif tokens[-3] == config.bos_token_id:
        may = every_time
    elif len(times) % 2 == 1:
        may = everything - {eos} - set(range(first, times[-1] + 1))
    elif tokens[-1] in every_time:
        may = set(range(tokens[-1], last + 1)) | {eos}
    else:
        may = set()
    rule = torch.full((config.vocab_size,), -math.inf)
    rule[sorted(may)] = 0.0
    return rule
