"""skipwise against ESPnet 202511 itself: `make oracle` (all), `make oracle ORACLE=tiny` (what CI asks).

ESPnet builds the checkpoints, packs them and decodes one clip at a time; skipwise reads the packed folder and decodes a
group in one batch. The counts go into pytest's summary; those of the full run also into results/oracle, and ESPnet's
answers to the tiny checkpoints become the golden file of test_golden.py.
"""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
from safetensors.torch import load_file

from skipwise.models.owsm.loading import OwsmModel, load_owsm
from tests.interop.agreement import Tally
from tests.interop.conftest import Answer, Oracle
from tests.interop.golden import keep, nbest_lists
from tests.interop.matrix import Matrix, clips_of, matrix
from tests.interop.skipwise_side import decode, encode, hidden_states

STATES_TOLERANCE = 1e-4


@pytest.mark.parametrize("name", ["tiny", "full", "random", "base"])
def test_nbest_lists_are_those_of_espnet(oracle: Oracle, name: str) -> None:
    answer, asked = oracle.answer(name), matrix(name)
    models = {checkpoint.name: load_owsm(answer.folder / checkpoint.name) for checkpoint in asked.checkpoints}
    lists = nbest_lists(asked, answer.record, models[asked.checkpoints[0].name].network.config)
    if name == "full":
        keep(answer.record, lists)
    start = time.perf_counter()
    tally = _compared(asked, answer, models)
    seconds = {"espnet_s": answer.seconds, "skipwise_s": round(time.perf_counter() - start, 1)}
    oracle.report(name, tally, answer.record["versions"], checkpoints=len(asked.checkpoints), **seconds)
    tally.check()


def _compared(asked: Matrix, answer: Answer, models: dict[str, OwsmModel]) -> Tally:
    tally = Tally()
    encoded = {c.name: encode(models[c.name].network, clips_of(c)) for c in asked.checkpoints}
    lists = nbest_lists(asked, answer.record, models[asked.checkpoints[0].name].network.config)
    for group, answers, nbest in zip(asked.groups, answer.record["groups"], lists, strict=True):
        name = group.checkpoint.name
        assert answers["checkpoint"] == name
        assert answers["options"] == asdict(group.options)
        found = decode(models[name], encoded[name], group.options, group.rows)
        for row, ours, theirs, said in zip(group.rows, found, nbest, answers["rows"], strict=True):
            tally.add(f"{name} {group.options} {row}", ours, theirs)
            by_tokens = {hypothesis.tokens: models[name].vocabulary.decode(hypothesis.tokens) for hypothesis in ours}
            for other, written in zip(theirs, said["nbest"], strict=False):
                if other.tokens in by_tokens and by_tokens[other.tokens] != written["text_nospecial"]:
                    tally.differences.append(
                        f"{by_tokens[other.tokens]!r}, ESPnet writes {written['text_nospecial']!r}"
                    )
    return tally


def test_hidden_states_of_random_sizes_are_those_of_espnet(oracle: Oracle) -> None:
    answer, found = oracle.answer("random"), dict[str, float]()
    for checkpoint in matrix("random").states:
        network = load_owsm(answer.folder / checkpoint.name).network
        tensors = load_file(answer.folder / f"{checkpoint.name}.safetensors")
        for index, samples in enumerate(clips_of(checkpoint)[1:3]):
            for name, tensor in hidden_states(network, samples, tensors[f"{index}.tokens"]).items():
                expected = tensors[f"{index}.{name}"]
                assert tensor.shape == expected.shape
                found[f"{checkpoint} {index} {name}"] = float((tensor - expected).abs().max())
    worst = max(found, key=found.__getitem__)
    oracle.lines.append(f"oracle random: hidden states differ by up to {found[worst]:.1e}")
    assert found[worst] <= STATES_TOLERANCE, worst
