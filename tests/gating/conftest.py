import jaxtyping
import pytest

from skipwise.gating import GateSite
from skipwise.gating.adapter import GateBase

LAYERS = 3


@pytest.fixture
def base() -> GateBase:
    encoder = [GateSite("encoder", i, kind) for i in range(LAYERS) for kind in ("ffn1", "self_attn", "cgmlp", "ffn2")]
    decoder = [GateSite("decoder", i, kind) for i in range(LAYERS) for kind in ("self_attn", "src_attn", "ffn")]
    return GateBase(
        family="toy",
        fingerprint="0123456789abcdef",
        hidden_size=8,
        sites=(*encoder, *decoder),
        languages=("deu", "fra"),
        tasks=("asr", "st_eng"),
    )


@pytest.fixture
def unchecked():
    """Types are not checked inside, so that a wrong value reaches our own message, as it does for a user."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
