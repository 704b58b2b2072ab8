"""Speech foundation models that skip, for each input, the modules this input does not need.

Nothing heavy is imported before its first use: `import skipwise` is free, `skipwise.Transcriber` loads torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipwise.audio import load_audio
    from skipwise.decoding.options import DecodeOptions
    from skipwise.decoding.result import Transcript
    from skipwise.errors import SkipwiseError, SkipwiseWarning
    from skipwise.gating import Budget, Context, GateAdapter, GateConfig, GatePlan, GateSite, Planner
    from skipwise.models import attach, detach, disable_gates, gated, print_gate_summary
    from skipwise.models.owsm.convert import convert_owsm
    from skipwise.pipeline import Transcriber

__version__ = "0.1.0"

_MODULE_OF = {
    "Budget": "skipwise.gating",
    "Context": "skipwise.gating",
    "DecodeOptions": "skipwise.decoding.options",
    "GateAdapter": "skipwise.gating",
    "GateConfig": "skipwise.gating",
    "GatePlan": "skipwise.gating",
    "GateSite": "skipwise.gating",
    "Planner": "skipwise.gating",
    "SkipwiseError": "skipwise.errors",
    "SkipwiseWarning": "skipwise.errors",
    "Transcriber": "skipwise.pipeline",
    "Transcript": "skipwise.decoding.result",
    "attach": "skipwise.models",
    "convert_owsm": "skipwise.models.owsm.convert",
    "detach": "skipwise.models",
    "disable_gates": "skipwise.models",
    "gated": "skipwise.models",
    "load_audio": "skipwise.audio",
    "print_gate_summary": "skipwise.models",
}

__all__ = [
    "Budget",
    "Context",
    "DecodeOptions",
    "GateAdapter",
    "GateConfig",
    "GatePlan",
    "GateSite",
    "Planner",
    "SkipwiseError",
    "SkipwiseWarning",
    "Transcriber",
    "Transcript",
    "attach",
    "convert_owsm",
    "detach",
    "disable_gates",
    "gated",
    "load_audio",
    "print_gate_summary",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_MODULE_OF))
