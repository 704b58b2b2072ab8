"""Beam search over a batch of utterances, with ESPnet's semantics and cached keys and values.

Shapes: B utterances, K beams of each, P prompt tokens, L tokens so far (prompt included), V vocabulary.
Source: ESPnet 202511, `espnet.nets.batch_beam_search.BatchBeamSearch`, which takes one utterance at a time.

Each utterance has K rows at every step. ESPnet drops the rows of hypotheses that have ended; here their score is minus
infinity, so that nothing follows from them, and the best K of all rows and tokens refill the beam in the same way.
"""

from __future__ import annotations

from itertools import count
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.decoding.ctc_prefix import CtcPrefixScorer, CtcStep
from skipwise.decoding.ended import EndedHypotheses
from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.options import DecodeOptions
from skipwise.features import SpeechStates
from skipwise.models.engine.decoder import DecoderGates
from skipwise.models.speech_engine import SpeechEngine

PRE_BEAM_RATIO = 1.5
"""Candidates that the CTC head scores, for each place in the beam: ESPnet's `pre_beam_ratio`."""

_DONE_SHARE = 0.25
"""Utterances that are done go on being computed until they are so many: forgetting them copies all caches."""


@final
class BeamSearch:
    """One search over utterances whose prompts are of one length; it is run once."""

    def __init__(
        self,
        engine: SpeechEngine,
        encoded: SpeechStates,
        prompts: Int[Tensor, "batch prompt"],
        options: DecodeOptions,
        gates: DecoderGates,
    ) -> None:
        self._decoder, self._options, self._eos = engine.decoder, options, engine.config.eos_token_id
        self._rules = engine.rules(prompts)
        most = None if engine.max_positions is None else max(1, engine.max_positions - prompts.shape[1])
        self._ended = [
            EndedHypotheses(options, num_frames=num_frames, prompt_length=prompts.shape[1], most_tokens=most)
            for num_frames in encoded.num_frames.tolist()
        ]
        # the rest belongs to the utterances that are still searched
        self._searched = list(self._ended)
        self._done: set[int] = set()
        self._state = engine.decoder.start(encoded, gates)
        self._prefix_BKL = self._new_BKL = prompts[:, None]
        self._scores_BK = torch.zeros(prompts.shape[0], 1, device=prompts.device)
        uncounted = prompts.shape[1] - 1 if options.ctc_skips_prompt else 0
        self._ctc = (
            CtcPrefixScorer.of(engine.ctc, encoded, uncounted) if engine.ctc and options.ctc_weight > 0 else None
        )
        self._ctc_state = None if self._ctc is None else self._ctc.start()

    def run(self) -> list[list[Hypothesis]]:
        """Return the hypotheses of each utterance, best first: none where all that ended was too short.

        The `nbest` of the options are exact; behind them some may be missing, as the search does not wait for them.
        """
        for step in count():
            scores_BKV, ctc_step = self._score()
            best = scores_BKV.flatten(1).topk(self._options.beam_size)
            parents, tokens = _split(best.indices.tolist(), scores_BKV.shape[2])
            self._follow(parents, tokens, best.values, ctc_step)
            self._collect(step, tokens, best.values.tolist())
            if len(self._done) == len(self._searched):
                break
            self._forget_done()
        return [ended.ranked() for ended in self._ended]

    def _score(self) -> tuple[Float[Tensor, "batch beams vocab"], CtcStep | None]:
        """The scores of every beam with every token after it."""
        options = self._options
        logits_BKV = self._decoder.step(self._new_BKL, self._state)
        scores_BKV = logits_BKV.float().log_softmax(dim=-1)
        if options.ctc_weight:
            scores_BKV *= 1 - options.ctc_weight
        if options.length_bonus:
            scores_BKV += options.length_bonus
        self._rules.forbid(scores_BKV, self._prefix_BKL)
        ctc_step = None
        if self._ctc is not None and self._ctc_state is not None:
            num_candidates = min(int(PRE_BEAM_RATIO * options.beam_size), scores_BKV.shape[2])
            candidates = scores_BKV.topk(num_candidates).indices
            ctc_step = self._ctc.step(self._ctc_state, self._prefix_BKL, candidates)
            scores_BKV += options.ctc_weight * ctc_step.scores
        scores_BKV += self._scores_BK[..., None]
        return scores_BKV, ctc_step

    def _follow(
        self, parents: list[list[int]], tokens: list[list[int]], scores_BK: Tensor, ctc_step: CtcStep | None
    ) -> None:
        """Make the beams what was chosen."""
        num_before, device = self._prefix_BKL.shape[1], scores_BK.device
        parents_BK, tokens_BK = torch.tensor(parents, device=device), torch.tensor(tokens, device=device)
        if num_before != self._options.beam_size or any(row != list(range(num_before)) for row in parents):
            self._state.reorder(parents_BK, unchanged=_num_shared(self._prefix_BKL))
            self._prefix_BKL = self._prefix_BKL.gather(
                1, parents_BK[..., None].expand(-1, -1, self._prefix_BKL.shape[2])
            )
        if ctc_step is not None:
            self._ctc_state = ctc_step.follow(parents_BK, tokens_BK)
        self._new_BKL = tokens_BK[..., None]
        self._prefix_BKL = torch.cat([self._prefix_BKL, self._new_BKL], dim=2)
        self._scores_BK = scores_BK.masked_fill(tokens_BK == self._eos, -torch.inf)

    def _collect(self, step: int, tokens: list[list[int]], scores: list[list[float]]) -> None:
        """Put away what ended at this step, and mark the utterances that are done."""
        eos, minus_infinity = self._eos, float("-inf")
        for place, ended in enumerate(self._searched):
            if place in self._done:
                continue
            is_last, best_live = ended.is_last(step), minus_infinity
            for beam, (token, score) in enumerate(zip(tokens[place], scores[place], strict=True)):
                if score == minus_infinity:  # nothing but forbidden tokens was left
                    continue
                if token == eos or is_last:
                    text = self._prefix_BKL[place, beam, -(step + 1) :].tolist()
                    ended.add(
                        step,
                        Hypothesis(
                            tokens=tuple(text[:-1] if token == eos else text),
                            score=score,
                            finished=token == eos,
                            gates=self._state.gates_of(place, beam),
                        ),
                    )
                else:
                    best_live = max(best_live, score)
            if best_live == minus_infinity or ended.is_enough(step) or ended.is_decided(best_live):
                self._done.add(place)
                self._scores_BK[place] = minus_infinity

    def _forget_done(self) -> None:
        """Drop the utterances that are done from all tensors, once they are many."""
        if len(self._done) < max(1, _DONE_SHARE * len(self._searched)):
            return
        kept = [place for place in range(len(self._searched)) if place not in self._done]
        self._searched, self._done = [self._searched[place] for place in kept], set()
        kept_B = torch.tensor(kept, device=self._scores_BK.device)
        self._prefix_BKL, self._new_BKL, self._scores_BK = (
            tensor[kept_B] for tensor in (self._prefix_BKL, self._new_BKL, self._scores_BK)
        )
        self._state.keep(kept_B)
        if self._ctc is not None and self._ctc_state is not None:
            self._ctc, self._ctc_state = self._ctc.keep(kept_B), self._ctc_state.keep(kept_B)


def _split(indices: list[list[int]], vocab_size: int) -> tuple[list[list[int]], list[list[int]]]:
    """The beam and the token that each index over beams x vocabulary stands for."""
    return [[i // vocab_size for i in row] for row in indices], [[i % vocab_size for i in row] for row in indices]


def _num_shared(prefix_BKL: Int[Tensor, "batch beams length"]) -> int:
    """How many first tokens the beams of each utterance have in common; 0 where asking would stall a GPU."""
    if prefix_BKL.is_cuda:
        return 0
    differs_L = (prefix_BKL != prefix_BKL[:, :1]).flatten(0, 1).any(dim=0)
    return int(differs_L.to(torch.uint8).argmax()) if bool(differs_L.any()) else prefix_BKL.shape[2]
