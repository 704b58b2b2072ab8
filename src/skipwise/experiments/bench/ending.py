"""When a subject says `<eos>`: never, where all must decode as many tokens; as it was trained to; or where we choose.

Random weights have no end of their own. For a search that ends by itself, the row of their output layer that says
`<eos>` is made so that greedy search ends after so many tokens. Both engines get the same row.

Shapes: L steps, D width.
"""

from __future__ import annotations

import copy

import torch

from skipwise.decoding import DecodeOptions, search
from skipwise.experiments.bench.subject import Ending, Subject
from skipwise.features import SpeechStates
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.precision import pack

_MARGIN = 1.0
"""How far `<eos>` is above the best token where it is to be said, and below it everywhere before."""

_SHORTEST = 4
_LARGEST_FACTOR = 100.0


@torch.inference_mode()
def ending_after(subject: Subject, encoded: SpeechStates, num_tokens: int) -> Ending:
    """Return an ending for greedy search over one utterance: after `num_tokens` tokens, or fewer.

    It points from the mean of the steps before to the last one.
    """
    engine, prompt = subject.engine("fp32"), subject.prompt
    options = DecodeOptions(max_length_ratio=-(num_tokens + 1))
    (hypothesis,) = search(engine, encoded, [prompt], options=options)[0]
    said_L = torch.tensor(hypothesis.tokens)
    fed = torch.tensor([[[*prompt, *hypothesis.tokens[:-1]]]])
    states = engine.decoder.states(fed, engine.decoder.start(encoded))[0, 0, len(prompt) - 1 :]
    best_L = engine.decoder.logits(states).gather(1, said_L[:, None])[:, 0]
    normed_LD = subject.network.decoder.final_norm(states)
    for last in range(len(best_L) - 1, _SHORTEST - 1, -1):
        direction = normed_LD[last] - normed_LD[:last].mean(dim=0)
        scores_L = normed_LD[: last + 1] @ direction
        ahead_L = scores_L[last] - scores_L[:last]
        needed_L = best_L[last] - best_L[:last] + 2 * _MARGIN
        factor = float((needed_L / ahead_L).max().clamp_min(0))
        if bool((ahead_L > 0).all()) and factor * float(direction.abs().max()) < _LARGEST_FACTOR:
            bias = best_L[last] + _MARGIN - factor * scores_L[last]
            return Ending((factor * direction).clone(), float(bias))
    raise AssertionError("no step of a random model differs from those before it")


def ending_engine(subject: Subject, dtype: str, ending: Ending) -> OwsmEngine:
    """Return the subject's engine of a precision with another ending; all but its output layer is shared."""
    engine, layer = copy.copy(subject.engine(dtype)), copy.deepcopy(subject.network.decoder.lm_head)
    ending.write(layer, subject.network.config.eos_token_id)
    engine.decoder = engine.decoder.with_output(pack([layer], engine.dtype))
    return engine
