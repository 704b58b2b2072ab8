"""Recipes that come with the package, by name; what they leave open is read from the data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.rows import has_reference
from skipwise.training.config import TrainConfig, load_config, with_overrides

_ENDINGS = (".yaml", ".yml")


def load_recipe(named: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the run of a YAML file, or of a shipped recipe (`prune`), with overrides applied.

    Where a shipped recipe, or an override, names no languages or tasks, they are those of the training data: all
    languages there are, and each task for which every utterance has a reference.

    Raises:
        SkipwiseError: for an unknown name (tells the shipped ones), a wrong key or value, or data that cannot be read.
    """
    if Path(named).suffix in _ENDINGS or Path(named).is_file():
        return load_config(named, overrides)
    path = shipped_recipe(str(named))
    record = with_overrides(yaml.safe_load(path.read_text(encoding="utf-8")), overrides)
    return load_config(path, [*_open_choices(record), *overrides])


def shipped_recipe(name: str) -> Path:
    """Return the file of a recipe that comes with the package.

    Raises:
        SkipwiseError: if there is none of that name; tells those that there are.
    """
    folder = Path(str(files("skipwise"))) / "assets" / "recipes"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise SkipwiseError(f"no such recipe: {name}. Shipped are {', '.join(names)}; or give a YAML file (recipes/).")
    return folder / f"{name}.yaml"


def _open_choices(record: dict[str, Any]) -> list[str]:
    """Overrides for what is left open about languages and tasks."""
    data = record.get("data")
    if not isinstance(data, dict) or "root" not in data or {"languages", "tasks"} <= data.keys():
        return []
    bad_lines: list[str] | None = [] if data.get("skip_bad") is True else None
    utterances = read_data(str(data["root"]), "train", languages=data.get("languages"), bad_lines=bad_lines)
    found = {"languages": languages_of(utterances), "tasks": tasks_of(utterances)}
    return [f"data.{key}=[{', '.join(values)}]" for key, values in found.items() if key not in data]


def languages_of(utterances: Sequence[Utterance]) -> list[str]:
    """Return the languages of some speech."""
    return sorted({utterance.language for utterance in utterances})


def tasks_of(utterances: Sequence[Utterance]) -> list[str]:
    """Return the tasks that can be learned from utterances: every one has a reference for each.

    Raises:
        SkipwiseError: if there is none; CTC needs the transcripts in any case.
    """
    targets = sorted({f"st_{target}" for utterance in utterances for target in utterance.translations})
    tasks = [task for task in ("asr", *targets) if all(has_reference(utterance, task) for utterance in utterances)]
    if "asr" not in tasks:
        lacking = next(utterance for utterance in utterances if not has_reference(utterance, "asr"))
        raise SkipwiseError(
            f"utterance {lacking.id!r} has no transcript, and training needs one of each. Add them, or leave such "
            "utterances out."
        )
    return tasks
