"""Which tokens may follow, for all rows at once, against the rules one prefix at a time."""

from __future__ import annotations

import random

import torch

from skipwise.models.owsm.token_rules import OwsmTokenRules
from tests.decoding import reference
from tests.tiny import tiny_network


def test_the_rules_of_a_grid_of_prefixes_are_those_of_each() -> None:
    network = tiny_network()
    config = network.config
    first, last = config.first_timestamp_token_id, config.last_timestamp_token_id
    draw = random.Random(0)
    seen = set()
    for length in (3, 4, 5, 6, 9):
        kinds = [
            lambda: draw.randint(first, first + 5),
            lambda: draw.randint(last - 3, last),
            lambda: draw.randint(1510, 1520),
            lambda: draw.choice([config.no_timestamps_token_id, config.bos_token_id, config.sop_token_id, 1515, 1515]),
        ]
        prefixes = [[[draw.choice(kinds)() for _ in range(length)] for _ in range(3)] for _ in range(60)]
        prefixes[0][0][-3] = config.bos_token_id
        found = torch.zeros(60, 3, config.vocab_size)
        OwsmTokenRules(config, always_without_times=False).forbid(found, torch.tensor(prefixes))
        for row, beams in enumerate(prefixes):
            for beam, prefix in enumerate(beams):
                expected = reference.allowed(network, prefix)
                assert torch.equal(found[row, beam], expected), prefix
                seen.add(tuple(expected.isfinite().tolist()))
    assert len(seen) > 20, "else the prefixes are all alike"


def test_prompts_without_timestamps_need_no_look_at_the_prefix() -> None:
    network = tiny_network()
    prefix = torch.tensor([[network.config.prompt("deu", "asr")]])
    quick, general = torch.zeros(1, 1, network.config.vocab_size), torch.zeros(1, 1, network.config.vocab_size)
    OwsmTokenRules(network.config, always_without_times=True).forbid(quick, prefix)
    OwsmTokenRules(network.config, always_without_times=False).forbid(general, prefix)
    assert torch.equal(quick, general) and not quick.isfinite().all()
