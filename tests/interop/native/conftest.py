"""Gates on live ESPnet models: these tests run in ESPnet's environment (`make oracle`), and are skipped in ours."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HAS_ESPNET = find_spec("espnet2") is not None


def pytest_configure(config: pytest.Config) -> None:
    if HAS_ESPNET:  # it warns of torch's and numpy's deprecations, and of its own, wherever it is used
        config.addinivalue_line("filterwarnings", "ignore")
        config.addinivalue_line("filterwarnings", "error:::skipwise")
        logging.disable(logging.WARNING)


@pytest.fixture(scope="session", params=["tiny-4x", "tiny-8x"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that ESPnet's own code built: OWSM v3.1's anatomy, and v4's."""
    from tests.interop.checkpoints import TINY
    from tests.interop.espnet_side import build

    place = tmp_path_factory.mktemp("native") / request.param
    place.mkdir()
    with torch.inference_mode(False), torch.no_grad():
        build(next(checkpoint for checkpoint in TINY if checkpoint.name == request.param), place)
    return place
