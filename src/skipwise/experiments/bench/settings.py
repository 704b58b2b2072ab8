"""What a benchmark runs with, and on which machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, final, get_args

import torch

from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.timing import FEW_TOKENS
from skipwise.models.precision import DTYPES

Shape = Literal["reference", "base", "small", "medium", "whisper-base", "whisper-small"]
"""The shipped model; OWSM v3.1's sizes with random weights; and OWSMs of two Whispers' width and depth."""

_PACKAGES = ("skipwise", "torch", "transformers", "espnet", "ctranslate2")


@final
@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """One setting for all benchmarks of a call."""

    shape: str = "reference"
    """One of `Shape`."""
    model: str | None = None
    """Instead of a shape: a folder or a Hub name."""
    dtypes: tuple[str, ...] = ("fp32", "fp16-packed")
    """Precisions that are compared; the last one is that of benchmarks that take one."""
    beam_sizes: tuple[int, ...] = (1, 5)
    audio_s: tuple[int, ...] = (10, 30)
    num_tokens: int = 40
    """Tokens that are decoded, whatever is said."""
    threads: int = 1
    rounds: int = 5
    espnet: str | None = None
    """Virtual environment with ESPnet."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise SkipwiseError(f"shape must be one of {', '.join(get_args(Shape))}; got {self.shape!r}.")
        unknown = [dtype for dtype in self.dtypes if dtype not in DTYPES]
        if unknown or not self.dtypes:
            raise SkipwiseError(f"dtypes are of {', '.join(DTYPES)}; got {', '.join(self.dtypes) or 'none'}.")
        for name in ("threads", "rounds"):
            if getattr(self, name) < 1:
                raise SkipwiseError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.num_tokens <= FEW_TOKENS:
            raise SkipwiseError(f"num_tokens must be above {FEW_TOKENS}, got {self.num_tokens}.")
        if any(size < 1 for size in self.beam_sizes) or any(not 0 < seconds <= 30 for seconds in self.audio_s):
            raise SkipwiseError(
                f"beam sizes must be at least 1 and audio of 1 to 30 s; got {self.beam_sizes} and {self.audio_s}."
            )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> BenchSettings:
        """Return the settings of which `dataclasses.asdict` made JSON."""
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in record.items()}
        return cls(**values)

    @property
    def dtype(self) -> str:
        """The precision of benchmarks that take one."""
        return self.dtypes[-1]

    @property
    def label(self) -> str:
        """The model in a word."""
        return self.shape if self.model is None else Path(self.model).name

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as values for JSON."""
        return {"model": self.label, **{k: v for k, v in asdict(self).items() if k not in ("model", "espnet")}}


def describe_machine() -> dict[str, Any]:
    """Return what the numbers of this machine depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
