"""Folders of real audio, for the readers' tests."""

import json
from pathlib import Path
from typing import Any

import soundfile

from tests.tiny import tone

RATE = 16_000


def write_audio(path: Path, duration_s: float = 1.0, *, num_channels: int = 1) -> Path:
    """Write a tone; the ending says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tone(duration_s, seed=0)
    soundfile.write(path, samples if num_channels == 1 else samples[:, None].repeat(num_channels, axis=1), RATE)
    return path


def write_lines(path: Path, *lines: str | dict[str, Any]) -> Path:
    """Write lines, each a text or an object that becomes JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path
