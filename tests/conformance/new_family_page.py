"""The Python of docs/new_family.md, and how it runs: as the modules that the page says it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from skipwise.models.registry import register_family, unregister_family

PAGE = Path(__file__).parents[2] / "docs" / "new_family.md"
if not PAGE.is_file():
    pytest.skip("a source distribution has no docs", allow_module_level=True)

FAMILY_CODE, USE_CODE, CASE_CODE = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@contextmanager
def murmur(code: str = FAMILY_CODE) -> Iterator[ModuleType]:
    """The module `murmur`, there and registered during the block."""
    module = ModuleType("murmur")
    sys.modules["murmur"] = module
    try:
        exec(compile(code, str(PAGE), "exec"), module.__dict__)
        yield module
    finally:
        unregister_family("murmur")
        del sys.modules["murmur"]


@contextmanager
def registered(module: ModuleType) -> Iterator[None]:
    """The family of a module that `murmur` has made, registered again."""
    register_family(module.MurmurFamily(), module.Murmur)
    sys.modules["murmur"] = module
    try:
        yield
    finally:
        unregister_family("murmur")
        del sys.modules["murmur"]


def case_of(code: str = CASE_CODE) -> dict[str, Any]:
    """The names of `test_murmur.py`; asked inside of a `murmur` block."""
    names: dict[str, Any] = {"__name__": "test_murmur"}
    exec(compile(code, str(PAGE), "exec"), names)
    return names
