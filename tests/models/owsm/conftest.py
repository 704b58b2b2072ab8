"""A tiny model's folder, the transformers model in it, and its inputs for three clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from skipwise.models.owsm.loading import save_owsm
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from skipwise.models.owsm.processing import OwsmProcessor
from tests.models.owsm.clips import AUDIO, inputs_of
from tests.tiny import tiny_network, tiny_vocabulary


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as `save_owsm` and the processor write it."""
    path = tmp_path_factory.mktemp("owsm") / "model"
    save_owsm(path, tiny_network(window_s=getattr(request, "param", None)), tiny_vocabulary())
    OwsmProcessor.for_model(path).save_pretrained(path)
    return path


@pytest.fixture
def model(folder: Path) -> OwsmForConditionalGeneration:
    return OwsmForConditionalGeneration.from_pretrained(folder)


@pytest.fixture
def inputs(folder: Path) -> dict[str, Any]:
    return inputs_of(folder, *AUDIO)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
