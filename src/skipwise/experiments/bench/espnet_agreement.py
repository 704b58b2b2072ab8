"""How many hypotheses of ESPnet's n-best lists ours are, token for token, from the same encoder states."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from skipwise.decoding import DecodeOptions, search
from skipwise.experiments.bench.espnet_works import TO_END, Window, as_encoded
from skipwise.experiments.bench.journal import Journal
from skipwise.experiments.bench.subject import Subject

Agreement = dict[str, int]


def compare_tokens(window: Window, journal: Journal, key: str) -> dict[str, Agreement]:
    """Return the agreement of every dense row; what a journal has of it under `key` is not searched again."""
    found: dict[str, Agreement] = {}
    for beam_size in window.subject.settings.beam_sizes:
        for name, compare in ((f"beam {beam_size}", _forced), (f"{TO_END}, beam {beam_size}", _natural)):
            found |= _noted(journal, f"{key}, tokens, {name}", partial(compare, window, beam_size))
    return found


def _noted(journal: Journal, key: str, compare: Callable[[], dict[str, Agreement]]) -> dict[str, Any]:
    noted = journal.entries(key)
    if not noted:
        journal.add(key, compare())
    return dict(journal.entries(key)[0])


@torch.inference_mode()
def _forced(window: Window, beam_size: int) -> dict[str, Agreement]:
    subject, settings = window.subject, window.subject.settings
    asked = {"beam_size": beam_size, "num_tokens": settings.num_tokens}
    expected, once = (
        [_text(tokens, subject) for tokens in window.peer.search(window.states, subject.prompt, once=once, **asked)]
        for once in (False, True)
    )
    found = {f"espnet once, beam {beam_size}": _compared(once, expected)}
    options = DecodeOptions(beam_size=beam_size, nbest=beam_size, max_length_ratio=-settings.num_tokens)
    for dtype in settings.dtypes:
        hypotheses = search(subject.engine(dtype), as_encoded(window.states), [subject.prompt], options=options)[0]
        ours = [list(hypothesis.tokens) for hypothesis in hypotheses]
        found[f"{dtype}, beam {beam_size}"] = _compared(ours, expected)
    return found


@torch.inference_mode()
def _natural(window: Window, beam_size: int) -> dict[str, Agreement]:
    expected, once = (
        [_text(tokens, window.subject) for tokens in window.peer_to_end(once=once, beam_size=beam_size)]
        for once in (False, True)
    )
    found = {f"espnet once, {TO_END}, beam {beam_size}": _compared(once, expected)}
    for dtype in window.subject.settings.dtypes:
        hypotheses = window.ours_to_end(dtype=dtype, beam_size=beam_size)
        ours = [list(hypothesis.tokens) for hypothesis in hypotheses]
        finished = sum(hypothesis.finished for hypothesis in hypotheses)
        found[f"{dtype}, {TO_END}, beam {beam_size}"] = {**_compared(ours, expected), "finished": finished}
    return found


def _compared(found: list[list[int]], expected: list[list[int]]) -> Agreement:
    """How many are the same at their place, out of the longer list; and how many of the best one's first tokens."""
    first = [a == b for a, b in zip(found[0], expected[0], strict=False)]
    return {
        "same": sum(a == b for a, b in zip(found, expected, strict=False)),
        "of": max(len(found), len(expected)),
        "first_tokens_of_best": first.index(False) if False in first else len(first),
        "tokens_of_best": len(expected[0]),
    }


def _text(tokens: list[int], subject: Subject) -> list[int]:
    """Without the prompt and `<eos>`."""
    text = tokens[len(subject.prompt) :]
    while text and text[-1] == subject.network.config.eos_token_id:
        text.pop()
    return text
