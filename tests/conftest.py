"""Every test checks shapes and types at each call; JAXTYPING_DISABLE=1 turns that off, as torch.compile needs."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hypothesis
import jaxtyping
import pytest
import torch

import tests.typechecker  # noqa: F401 the hook below names it, but imports `tests` alone

if os.environ.get("JAXTYPING_DISABLE", "0").lower() not in ("1", "true"):
    jaxtyping.install_import_hook("skipwise", "tests.typechecker.checked")  # before anything imports skipwise

torch.set_num_threads(1)

# One set of examples for everyone; the first call of a checked function is slow.
hypothesis.settings.register_profile("skipwise", deadline=None, derandomize=True)
hypothesis.settings.load_profile("skipwise")


@pytest.fixture(params=["fused", "products"])
def either_attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Source attention as it is over few frames, and as over many."""
    from skipwise.models.engine import branches  # not before the hook

    monkeypatch.setattr(branches, "_MANY_FRAMES", 1 if request.param == "products" else 10_000)
