"""The CTC head's best path: what it hears, without the decoder.

Source: ESPnet 202511, `ctc.argmax` with repeats merged and blanks dropped (`Speech2Text._decode_interctc`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from skipwise.decoding.hypothesis import Hypothesis
from skipwise.features import SpeechStates
from skipwise.models.speech_engine import CtcHead


@torch.inference_mode()
def ctc_greedy(network: CtcHead, encoded: SpeechStates) -> list[Hypothesis]:
    """Return the best path of each row; its score is the path's log-probability."""
    blank = network.config.pad_token_id
    best, tokens = network.ctc_logits(encoded).float().log_softmax(dim=-1).max(dim=-1)
    scores = best.masked_fill(~encoded.mask(), 0.0).sum(dim=1).tolist()
    found = []
    for row, length, score in zip(tokens.tolist(), encoded.num_frames.tolist(), scores, strict=True):
        found.append(Hypothesis(tokens=tuple(best_path(row[:length], blank)), score=score, finished=True))
    return found


def best_path(path: Sequence[int], blank: int) -> list[int]:
    """Return what a path of one token a frame says: repeats merged, blanks dropped."""
    return [token for token, before in zip(path, [blank, *path], strict=False) if token not in (before, blank)]
