"""What WER compares."""

import os
import subprocess
import sys

import pytest

from skipwise.evaluation.normalise import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Herr Präsident, vielen Dank!", "herr präsident vielen dank"),
        ("L'Assemblée nationale – déjà là.", "l assemblée nationale déjà là"),
        ("Perché no?  Così…", "perché no così"),
        ("Maße (Beifall) <noise> 3,5 %", "maße 3 5"),
        ("  ", ""),
        ("...", ""),
    ],
)
def test_case_and_punctuation_go_and_diacritics_stay(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_importing_evaluation_imports_no_transformers_and_normalising_no_model_code() -> None:
    code = (
        "import sys, skipwise.evaluation.scores as scores;"
        "assert not any(name.startswith('transformers') for name in sys.modules);"
        "scores.normalise('a');"
        "assert 'transformers' in sys.modules and not any('modeling' in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "src"})
