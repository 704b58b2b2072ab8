"""One tiny model with random gates and one corpus for all tests of the folder."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from skipwise.data.manifest import Utterance, read_manifest
from skipwise.decoding import DecodeOptions
from skipwise.gating import GateAdapter
from skipwise.models.attach import detach
from skipwise.pipeline import Transcriber
from tests.evaluation.corpus import write_corpus
from tests.tiny import attach_random_gates, tiny_model

OPTIONS = DecodeOptions(max_length_ratio=-6)


@pytest.fixture(scope="session")
def transcribers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Transcriber, Transcriber]:
    """The same tiny model, dense and with random gates on its decoder."""
    model = tiny_model(tmp_path_factory.mktemp("model"))
    adapter = attach_random_gates(model.network, scope="decoder")
    assert isinstance(detach(model.network), GateAdapter)
    return (
        Transcriber(model, gates="none", dtype="fp32", options=OPTIONS),
        Transcriber(model, gates=adapter, dtype="fp32", options=OPTIONS),
    )


@pytest.fixture(scope="session")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Utterance]:
    """Eight utterances, seven of them with a translation."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    return read_manifest(write_corpus(folder))
