"""Three short clips, and a model's folder to try them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipwise.models.owsm.processing import OwsmProcessor
from tests.tiny import tone

RATE = 16_000
AUDIO = (tone(1.3), tone(0.8, seed=1), tone(1.1, seed=2))

both_windows = pytest.mark.parametrize("folder", [None, 30.0], indirect=True, ids=["no window", "30 s window"])


def inputs_of(folder: Path, *audio: np.ndarray) -> dict[str, Any]:
    """What the folder's processor makes of some audio."""
    processor: Any = OwsmProcessor.from_pretrained(folder)
    return dict(processor(audio=list(audio), sampling_rate=RATE))
