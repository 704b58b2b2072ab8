"""What happens to a batch that does not fit into memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipwise.audio import SAMPLE_RATE
from skipwise.decoding import DecodeOptions
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.features import SpeechStates
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.pipeline import Request, Transcriber
from tests.tiny import tiny_model, tone

SHORT = DecodeOptions(max_length_ratio=-6)


def requests() -> list[Request]:
    return [Request((tone(0.5 + 0.1 * i, seed=i), SAMPLE_RATE), "de") for i in range(5)]


def fitting(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """Let no more than `most` rows fit; return the sizes of the batches that did."""
    usual, fitted = OwsmEngine.encode, []

    def encode(engine: OwsmEngine, embedded: SpeechStates, plan: object) -> SpeechStates:
        if embedded.states.shape[0] > most:
            raise error
        fitted.append(embedded.states.shape[0])
        return usual(engine, embedded, plan)  # pyrefly: ignore[bad-argument-type]

    monkeypatch.setattr(OwsmEngine, "encode", encode)
    return fitted


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    transcriber = Transcriber(tiny_model(tmp_path / "model"), options=SHORT)
    expected = [transcript.text for transcript in transcriber.transcribe_many(requests())]
    fitted = fitting(monkeypatch, 2, error)
    with pytest.warns(SkipwiseWarning, match="out of memory with [53] windows at once: they are decoded in two halves"):
        found = [transcript.text for transcript in transcriber.transcribe_many(requests())]
    assert found == expected and len(set(found)) > 1
    assert fitted == [2, 1, 2]


def test_a_window_that_does_not_fit_alone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber(tiny_model(tmp_path / "model"), options=SHORT)
    fitting(monkeypatch, 0, MemoryError())
    with pytest.raises(SkipwiseError, match=r"out of memory with the given audio, 0\.0 to 0\.5 s, alone\. Use a"):
        transcriber.transcribe((tone(0.5), SAMPLE_RATE), language="de")


def test_other_errors_are_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber(tiny_model(tmp_path / "model"), options=SHORT)
    fitting(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(transcriber.transcribe_many(requests()))
