"""What every section of a config has in common, and how a wrong one is explained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Section(BaseModel):
    """A section: unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def explained(
    error: ValidationError, path: str | Path, root: type[Section], nested: Mapping[str, type[Section]]
) -> str:
    """Return what is wrong with a file on one line: unknown keys with the allowed ones, missing ones, wrong values.

    `nested` are the sections below `root` by their keys.
    """
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            section = nested[str(problem["loc"][-2])] if len(problem["loc"]) > 1 else root
            lines.append(f"unknown key {where}; allowed there: {', '.join(sorted(section.model_fields))}")
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing")
        else:
            told = problem["msg"].removeprefix("Value error, ")
            got = "" if problem["type"] == "value_error" else f", got {problem['input']!r}"
            lines.append(f"{where}: {told[0].lower()}{told[1:]}{got}" if where else told)
    return f"{path}: " + "; ".join(lines) + "."
