"""The examples of docs/data.md are what is read."""

import re
from pathlib import Path

import pytest

from skipwise.data.layouts import read_data
from tests.data.spoken import write_audio, write_lines

_DOCS = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\n(.*?)```", _DOCS.read_text(encoding="utf-8"), re.DOTALL):
        path = write_lines(tmp_path / name, *text.splitlines())
        for clip in ("a.wav", "b.wav"):
            write_audio(path.parent / "clips" / clip, 2.0)
    return tmp_path


@pytest.mark.skipif(not _DOCS.is_file(), reason="a source distribution has no docs")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("manifest", [("deu", 0.5, 1.5, "Guten Tag.", "Good day."), ("fra", 0.0, None, "Bonjour.", None)]),
        ("nemo", [("deu", 0.0, 2.0, "Guten Tag.", "Good day."), ("fra", 0.5, 1.5, "Bonjour.", None)]),
        ("kaldi", [("deu", 0.5, 1.5, "Guten Tag.", None), ("deu", 0.0, 2.0, "Ja.", None)]),
        ("owsm", [("deu", 0.0, 2.0, "Guten Tag. Wir danken.", "Good day. We thank.")]),
        (
            "audiofolder",
            [
                ("deu", 0.0, 2.0, "Guten Tag, Herr Präsident.", "Good day, Mr President."),
                ("fra", 0.0, 2.0, "Bonjour.", None),
            ],
        ),
        ("lhotse", [("deu", 0.5, 1.5, "Guten Tag.", "Good day.")]),
    ],
)
def test_examples_are_read_as_they_stand(folder: Path, name: str, expected: list[tuple[object, ...]]) -> None:
    found = [
        (u.language, u.start_s, u.end_s, u.transcript, u.translations.get("eng"))
        for u in read_data(folder / name, "test")
    ]
    assert found == expected
