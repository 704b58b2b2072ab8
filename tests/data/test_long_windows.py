"""Sentences of a recording, one behind the other, as the long windows that are evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.long_windows import main

from skipwise.data.manifest import Utterance, read_manifest, write_manifest


def said(name: str, start_s: float, end_s: float, audio: str = "one.wav", **translations: str) -> Utterance:
    return Utterance(
        id=name,
        audio=audio,
        start_s=start_s,
        end_s=end_s,
        language="de",
        speaker=audio,
        transcript=name.upper(),
        translations=translations,
    )


def test_windows_hold_what_fits_and_belongs_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = [
        said("a", 0.5, 10, eng="A"),
        said("b", 11, 22, eng="B", fra="b"),
        said("c", 22.5, 31, eng="C"),  # 30.5 s from the start of a
        said("d", 33, 45, eng="D"),
        said("e", 60, 85, eng="E"),  # a long pause before it
        said("f", 0, 12, audio="two.wav", eng="F"),  # too short by itself
    ]
    write_manifest(tmp_path / "test.jsonl", reversed(sentences))
    main(str(tmp_path / "test.jsonl"), "test", tmp_path / "windows.jsonl")
    first, second, third = read_manifest(tmp_path / "windows.jsonl")
    assert (first.start_s, first.end_s, first.transcript) == (0.5, 22, "A B")
    assert first.translations == {"eng": "A B"}, "b alone is translated into French"
    assert (second.start_s, second.end_s, second.transcript, second.speaker) == (22.5, 45, "C D", "one.wav")
    assert (third.start_s, third.end_s, third.transcript) == (60, 85, "E")
    assert "3 windows of 20 to 30 s" in capsys.readouterr().out
