"""`skipwise convert` with a tiny model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from skipwise.cli.main import app, run
from tests.espnet_folder import write_espnet
from tests.tiny import tone

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["skipwise", *map(str, arguments)])
        code = run(app)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return called


def test_there_and_back_say_what_was_written_and_what_comes_next(call: Call, tmp_path: Path) -> None:
    espnet, converted, back = write_espnet(tmp_path / "espnet"), tmp_path / "converted", tmp_path / "back"
    code, out, err = call("convert", espnet, converted)
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(f"{converted}: 0.1 M parameters, ") and "2 + 3 layers of width 32, 60 tokens" in first
    assert second == f"Next: skipwise transcribe FILE --language LANGUAGE --model {converted}"
    code, out, err = call("convert", converted, back, "--to", "espnet")
    assert (code, err) == (0, "")
    assert "s2t_train_config='exp/s2t/config.yaml', s2t_model_file='exp/s2t/model.pth'" in out
    assert (back / "meta.yaml").is_file()


def test_all_three_are_transcribed_with_to_the_same_text(call: Call, tmp_path: Path) -> None:
    espnet, converted, back = write_espnet(tmp_path / "espnet"), tmp_path / "converted", tmp_path / "back"
    call("convert", espnet, converted)
    call("convert", converted, back, "--to", "espnet")
    soundfile.write(tmp_path / "a.wav", np.asarray(tone(1.0)), 16_000)
    texts = set()
    for model in (espnet, converted, back):
        code, out, _ = call("transcribe", tmp_path / "a.wav", "--language", "de", "--model", model, "--json")
        assert code == 0
        texts.add(out.split('"text": ')[1].split(', "language"')[0])
    assert len(texts) == 1


def test_options_reach_the_conversion(call: Call, tmp_path: Path) -> None:
    espnet, target = write_espnet(tmp_path / "espnet"), tmp_path / "converted"
    call("convert", espnet, target)
    full = (target / "model.safetensors").stat().st_size
    code, _, err = call("convert", espnet, target)
    assert code == 2 and "is not empty" in err and err.count("\n") == 1
    assert call("convert", espnet, target, "--overwrite", "--dtype", "float16")[0] == 0
    assert (target / "model.safetensors").stat().st_size < 0.6 * full


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "onnx"], "Error: --to must be one of transformers, espnet; got 'onnx'.\n"),
        (["--dtype", "int8"], "Error: --dtype must be one of float32, float16, bfloat16; got 'int8'.\n"),
    ],
)
def test_a_wrong_option_is_one_line(call: Call, tmp_path: Path, options: list[str], message: str) -> None:
    code, _, err = call("convert", write_espnet(tmp_path / "espnet"), tmp_path / "converted", *options)
    assert (code, err) == (2, message)
    assert not (tmp_path / "converted").exists()
