"""CTC prefix scores for joint CTC/attention search, without a loop over frames.

Shapes: B utterances, K beams, S candidate tokens of each beam, T encoder frames, V vocabulary.
Source: Algorithm 2 of Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", as
ESPnet 202511 computes it (`espnet.nets.ctc_prefix_score.CTCPrefixScoreTH`): tokens of the prompt count as output, so
that as many frames at the start cannot emit the first token, unless they are said not to count.

ESPnet goes through the frames one by one. With X[t] the sum of a token's log-probabilities up to t, its recursion
r[t] = logadd(r[t-1], phi[t-1]) + x[t] is r[t] - X[t] = logcumsumexp(phi[t-1] - X[t-1]): two running sums in fp64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.models.speech_engine import CtcHead

LOG_ZERO = -1e10


@final
@dataclass(frozen=True, eq=False)
class CtcState:
    """What is known of each beam's prefix."""

    ends_in_token: Float[Tensor, "batch beams time"]
    """Log-probability of the paths up to each frame that spell the prefix and end in its last token."""
    ends_in_blank: Float[Tensor, "batch beams time"]
    """Likewise, ending in a blank."""
    score: Float[Tensor, "batch beams"]
    """Log-probability of all that begins with the prefix."""

    def keep(self, utterances: Int[Tensor, " kept"]) -> CtcState:
        """Return the state of some utterances."""
        return CtcState(self.ends_in_token[utterances], self.ends_in_blank[utterances], self.score[utterances])


@final
@dataclass(frozen=True, eq=False)
class CtcStep:
    """The scores of one step, and the states that its candidates lead to."""

    scores: Float[Tensor, "batch beams vocab"]
    """What each next token adds to a prefix's score; next to nothing for tokens that are no candidates."""
    tokens: Int[Tensor, "batch beams tokens"]
    """The S candidates."""
    states: CtcState
    """Their states: `beams` is K * S."""

    def follow(self, parents: Int[Tensor, "batch new_beams"], chosen: Int[Tensor, "batch new_beams"]) -> CtcState:
        """Return the states of the beams that `parents` become by the tokens `chosen`."""
        num_candidates = self.tokens.shape[2]
        candidates = self.tokens.gather(1, parents[..., None].expand(-1, -1, num_candidates))
        # <eos> need not be a candidate; its beam has ended, so that any state will do
        at = parents * num_candidates + (candidates == chosen[..., None]).int().argmax(dim=-1)
        over_time = at[..., None].expand(-1, -1, self.states.ends_in_token.shape[2])
        return CtcState(
            self.states.ends_in_token.gather(1, over_time),
            self.states.ends_in_blank.gather(1, over_time),
            self.states.score.gather(1, at),
        )


@final
@dataclass(frozen=True, eq=False)
class CtcPrefixScorer:
    """Scores the next tokens of a batch of prefixes by the CTC head."""

    network: CtcHead
    encoded: SpeechStates
    log_norm: Float[Tensor, "batch time"]
    """`network.ctc_log_normalizer(encoded)`."""
    blank: Float[Tensor, "batch 1 time"]
    """Log-probability of the blank."""
    num_uncounted: int
    """Tokens after the first of a prefix that are no output of the CTC head: none in ESPnet."""

    @classmethod
    def of(cls, network: CtcHead, encoded: SpeechStates, num_uncounted: int = 0) -> CtcPrefixScorer:
        """Return the scorer of a batch."""
        log_norm = network.ctc_log_normalizer(encoded)
        blank = encoded.num_frames.new_full((log_norm.shape[0], 1), network.config.pad_token_id)
        return cls(network, encoded, log_norm, _log_probs(network, encoded, log_norm, blank), num_uncounted)

    def start(self) -> CtcState:
        """Return the state of the empty prefix, for one beam an utterance."""
        ends_in_blank = self.blank.cumsum(dim=-1)
        return CtcState(
            torch.full_like(ends_in_blank, LOG_ZERO), ends_in_blank, torch.zeros_like(ends_in_blank[..., 0])
        )

    def keep(self, utterances: Int[Tensor, " kept"]) -> CtcPrefixScorer:
        """Return the scorer of some utterances."""
        return replace(
            self,
            encoded=self.encoded.select(utterances),
            log_norm=self.log_norm[utterances],
            blank=self.blank[utterances],
        )

    def step(
        self, state: CtcState, prefix: Int[Tensor, "batch beams length"], tokens: Int[Tensor, "batch beams tokens"]
    ) -> CtcStep:
        """Return the scores of the candidates `tokens` and of `<eos>` after each prefix, which counts the prompt."""
        num_beams, num_candidates = tokens.shape[1:]
        config = self.network.config
        x_BKST = _log_probs(self.network, self.encoded, self.log_norm, tokens.flatten(1))
        x_BKST = x_BKST.unflatten(1, (num_beams, num_candidates))
        either_BKT = torch.logaddexp(state.ends_in_token, state.ends_in_blank)
        repeats_BKS1 = (tokens == prefix[..., -1:])[..., None]  # needs a blank in between
        phi_BKST = torch.where(repeats_BKS1, state.ends_in_blank[:, :, None], either_BKT[:, :, None])

        num_output = prefix.shape[2] - 1 - self.num_uncounted
        start = max(num_output, 1)
        in_token = torch.full_like(x_BKST, LOG_ZERO)
        in_blank = torch.full_like(x_BKST, LOG_ZERO)
        if num_output == 0:
            in_token[..., 0] = x_BKST[..., 0]
        begun_BKS1 = in_token[..., start - 1 : start].clone()
        in_token[..., start:] = _summed(torch.logaddexp(phi_BKST, in_token), x_BKST, start)
        in_blank[..., start:] = _summed(in_token, self.blank[:, None].expand_as(x_BKST), start)
        beyond_BT = ~self.encoded.mask()
        emitted = (phi_BKST[..., start - 1 : -1] + x_BKST[..., start:]).masked_fill(
            beyond_BT[:, None, None, start:], LOG_ZERO
        )
        nothing = emitted.new_full((*emitted.shape[:-1], 1), LOG_ZERO)
        psi_BKS = torch.cat([emitted, begun_BKS1, nothing], dim=-1).logsumexp(dim=-1)

        last_B = (self.encoded.num_frames - 1)[:, None, None].expand(-1, num_beams, -1)
        before_BK1 = state.score[..., None]
        scores = (LOG_ZERO - before_BK1).float().repeat(1, 1, config.vocab_size)
        scores.scatter_(2, tokens, (psi_BKS - before_BK1).float())
        scores[..., config.eos_token_id] = (either_BKT.gather(2, last_B) - before_BK1).float()[..., 0]
        scores[..., config.pad_token_id] = LOG_ZERO
        states = CtcState(in_token.flatten(1, 2), in_blank.flatten(1, 2), psi_BKS.flatten(1))
        return CtcStep(scores, tokens, states)


def _log_probs(
    network: CtcHead, encoded: SpeechStates, log_norm: Tensor, tokens: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch tokens time"]:
    """The log-probabilities of some tokens; a frame beyond a row's end is a certain blank: it changes nothing."""
    log_probs = network.ctc_logits_of(encoded, tokens) - log_norm[:, None]
    precise = torch.float32 if log_probs.device.type == "mps" else torch.float64  # Apple's GPUs know no fp64
    return log_probs.to(precise).masked_fill(~encoded.mask()[:, None], 0.0)


def _summed(
    entering: Float[Tensor, "batch beams tokens time"], staying: Float[Tensor, "batch beams tokens time"], start: int
) -> Float[Tensor, "batch beams tokens rest"]:
    """Return r[start:] of r[t] = logadd(r[t-1], entering[t-1]) + staying[t], with nothing before `start`."""
    total = staying.cumsum(dim=-1)
    sums = (entering - total)[..., start - 1 : -1].logcumsumexp(dim=-1)
    return sums + total[..., start:]
