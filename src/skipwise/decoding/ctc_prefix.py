"""CTC prefix scores for joint CTC/attention search, without a loop over frames.

Shapes: B utterances, K beams, S candidate tokens of each beam, T encoder frames, V vocabulary.
Source: Algorithm 2 of Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", as
ESPnet 202511 computes it (`espnet.nets.ctc_prefix_score.CTCPrefixScoreTH`): tokens of the prompt count as output, so
that as many frames at the start cannot emit the first token.

ESPnet goes through the frames one by one. With X[t] the sum of a token's log-probabilities up to t, its recursion
r[t] = logadd(r[t-1], phi[t-1]) + x[t] is r[t] - X[t] = logcumsumexp(phi[t-1] - X[t-1]): two running sums in fp64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.models.owsm.network import OwsmNetwork

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

    network: OwsmNetwork
    encoded: SpeechStates
    log_norm: Float[Tensor, "batch time"]
    """`network.ctc_log_normalizer(encoded)`."""

    @classmethod
    def of(cls, network: OwsmNetwork, encoded: SpeechStates) -> CtcPrefixScorer:
        """Return the scorer of a batch."""
        return cls(network, encoded, network.ctc_log_normalizer(encoded))

    def start(self) -> CtcState:
        """Return the state of the empty prefix, for one beam an utterance."""
        ends_in_blank = self._blank_log_probs().cumsum(dim=-1)
        return CtcState(
            torch.full_like(ends_in_blank, LOG_ZERO), ends_in_blank, torch.zeros_like(ends_in_blank[..., 0])
        )

    def keep(self, utterances: Int[Tensor, " kept"]) -> CtcPrefixScorer:
        """Return the scorer of some utterances."""
        return CtcPrefixScorer(self.network, self.encoded.select(utterances), self.log_norm[utterances])

    def step(
        self, state: CtcState, prefix: Int[Tensor, "batch beams length"], tokens: Int[Tensor, "batch beams tokens"]
    ) -> CtcStep:
        """Return the scores of the candidates `tokens` and of `<eos>` after each prefix, which counts the prompt."""
        num_beams, num_candidates = tokens.shape[1:]
        config = self.network.config
        x_BKST = self._log_probs(tokens.flatten(1)).unflatten(1, (num_beams, num_candidates))
        either_BKT = torch.logaddexp(state.ends_in_token, state.ends_in_blank)
        repeats_BKS1 = (tokens == prefix[..., -1:])[..., None]  # needs a blank in between
        phi_BKST = torch.where(repeats_BKS1, state.ends_in_blank[:, :, None], either_BKT[:, :, None])

        start = max(prefix.shape[2] - 1, 1)
        in_token = torch.full_like(x_BKST, LOG_ZERO)
        in_blank = torch.full_like(x_BKST, LOG_ZERO)
        in_token[..., start:] = _summed(phi_BKST, x_BKST, start)
        in_blank[..., start:] = _summed(in_token, self._blank_log_probs()[:, None].expand_as(x_BKST), start)
        beyond_BT = ~self.encoded.mask()
        emitted = (phi_BKST[..., start - 1 : -1] + x_BKST[..., start:]).masked_fill(
            beyond_BT[:, None, None, start:], LOG_ZERO
        )
        nothing = emitted.new_full((*emitted.shape[:-1], 1), LOG_ZERO)
        psi_BKS = torch.cat([emitted, nothing], dim=-1).logsumexp(dim=-1)

        last_B = (self.encoded.num_frames - 1)[:, None, None].expand(-1, num_beams, -1)
        scores = x_BKST.new_full((*tokens.shape[:2], config.vocab_size), LOG_ZERO)
        scores.scatter_(2, tokens, psi_BKS)
        scores[..., config.eos_token_id] = either_BKT.gather(2, last_B)[..., 0]
        scores[..., config.pad_token_id] = LOG_ZERO
        states = CtcState(in_token.flatten(1, 2), in_blank.flatten(1, 2), psi_BKS.flatten(1))
        return CtcStep((scores - state.score[..., None]).float(), tokens, states)

    def _blank_log_probs(self) -> Float[Tensor, "batch 1 time"]:
        blank = self.network.config.pad_token_id
        return self._log_probs(self.encoded.num_frames.new_full((self.log_norm.shape[0], 1), blank))

    def _log_probs(self, tokens_BN: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens time"]:
        logits = self.network.ctc_logits_of(self.encoded, tokens_BN)
        # a frame beyond a row's end is a certain blank: it changes nothing
        return (logits - self.log_norm[:, None]).double().masked_fill(~self.encoded.mask()[:, None], 0.0)


def _summed(
    entering: Float[Tensor, "batch beams tokens time"], staying: Float[Tensor, "batch beams tokens time"], start: int
) -> Float[Tensor, "batch beams tokens rest"]:
    """Return r[start:] of r[t] = logadd(r[t-1], entering[t-1]) + staying[t], with nothing before `start`."""
    total = staying.cumsum(dim=-1)
    sums = (entering - total)[..., start - 1 : -1].logcumsumexp(dim=-1)
    return sums + total[..., start:]
