"""The code of docs/whisper.md runs as it stands, one block after the other, on a tiny model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
from transformers import WhisperForConditionalGeneration

from skipwise.gating import GateAdapter
from tests.tiny import tone
from tests.tiny_whisper import save_tiny_whisper, tiny_generation_config, tiny_whisper

_DOCS = Path(__file__).parents[3] / "docs" / "whisper.md"


@pytest.mark.skipif(not _DOCS.is_file(), reason="a source distribution has no docs")
def test_the_code_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    model = tiny_whisper(max_target_positions=448)  # as the published ones: pipelines count on it
    model.generation_config = tiny_generation_config(max_length=20)
    save_tiny_whisper(tmp_path / "openai" / "whisper-base", model)
    soundfile.write(tmp_path / "speech.wav", tone(0.9, seed=1), 16_000)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", _DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(_DOCS), "exec"), names)
    assert len(names["sites"]) == 13 and names["plan"].closed()
    assert isinstance(names["model"], WhisperForConditionalGeneration)
    assert (tmp_path / "gates" / "gate_config.json").is_file()
    assert names["transcript"].language == "deu"
    trained, encoded = names["adapter"], names["encoded"]
    fresh = GateAdapter(trained.config, trained.base)
    before, after = (one.plan("decoder", names["contexts"], encoded.pooled()) for one in (fresh, trained))
    assert abs(after.sparsity() - 0.5) < 0.2 < abs(before.sparsity() - 0.5)
    assert len(capsys.readouterr().out.splitlines()) >= 3
