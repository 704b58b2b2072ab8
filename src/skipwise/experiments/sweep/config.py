"""What `skipwise sweep` reads: a training recipe, what varies over the runs, and how each is evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from skipwise.decoding import DecodeOptions
from skipwise.errors import SkipwiseError
from skipwise.gating import Scope, ShuffleLevel
from skipwise.training.section import Section, explained

Overrides = dict[str, Any]
"""Dotted key of a training recipe -> its value, or a list of values to vary over."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class KnockOutSection(Section):
    """Sites closed one by one, the least harmful on dev first: the control that nobody trains."""

    sparsities: tuple[float, ...] = (0.5,)
    """Shares of the sites of `scope` to close."""
    scope: Scope = "decoder"
    """Sites that are tried."""
    utterances: int = Field(default=24, ge=1)
    """Dev utterances that judge, with every task."""


class SearchSection(Section):
    """Values of some keys tried for every run at its first seed, and the best on dev taken for all its seeds."""

    keys: dict[str, list[Any]] = Field(min_length=1)
    """Dotted key of a recipe -> its candidates: every combination of those that change something for a run."""
    metric: Literal["mean_error", "wer", "bleu"] = "mean_error"
    """What decides: `mean_error` is the mean over tasks of WER and of 100 - BLEU, lower is better; `wer` and `bleu` are
    those of the tasks that they score."""
    limit: int | None = Field(default=90, ge=1)
    """So many dev utterances, spread evenly over the data; None for all."""

    @model_validator(mode="after")
    def _there_is_a_choice(self) -> SearchSection:
        for key, values in self.keys.items():
            if len(values) < 2 or any(value in values[:place] for place, value in enumerate(values)):
                raise ValueError(f"keys.{key} must have at least two different values, got {values}")
        return self


class EvaluationSection(Section):
    """How every run is evaluated: all its systems on the same batches, taking turns."""

    data: Path | None = None
    """File or folder; None: the recipe's `data.root`."""
    split: str = "test"
    """Split of a folder."""
    limit: int | None = Field(default=None, ge=1)
    """So many utterances, spread evenly over the data; None for all."""
    sparsities: tuple[float, ...] = ()
    """What to ask of gates that follow budgets; empty: what they follow by default."""
    exact: bool = False
    """Meet these, or what gates were trained for, to within a module: systems that are compared skip equally much."""
    shuffle: tuple[ShuffleLevel, ...] = ()
    """Shuffle tests of gates that see their input: docs/gating.md."""
    knock_out: KnockOutSection | None = None
    """For runs without gates."""
    yardstick: str | None = None
    """Dense model whose time counts as 1 for runs without gates: `reference`, a folder or a Hub name. With gates the
    run's own weights with everything open do."""
    decoding: dict[str, Any] = Field(default_factory=dict)
    """Fields of `DecodeOptions`: beam_size, max_length_ratio, ..."""
    batch_s: float = Field(default=120.0, gt=0)
    """Seconds of audio decoded together; 0.1 for one utterance at a time."""
    dtype: Literal["auto", "fp32", "fp16-packed", "int8", "bf16"] = "fp32"
    """Precision."""
    device: str = "auto"
    """`auto`: a GPU where there is one."""
    seed: int = Field(default=0, ge=0)
    """Seed of batch order, shuffles and intervals."""

    @model_validator(mode="after")
    def _decoding_is_known(self) -> EvaluationSection:
        unknown = sorted(set(self.decoding) - set(DecodeOptions.__dataclass_fields__))
        if unknown:
            raise ValueError(
                f"unknown key decoding.{unknown[0]}; allowed there: "
                f"{', '.join(sorted(DecodeOptions.__dataclass_fields__))}"
            )
        self.options()
        return self

    def options(self) -> DecodeOptions:
        """Return the decoding options."""
        return DecodeOptions(**self.decoding)

    def changed(self, changes: Mapping[str, Any]) -> EvaluationSection:
        """Return the same with some fields changed.

        Raises:
            SkipwiseError: for a wrong key (naming the allowed ones) or a wrong value.
        """
        try:
            return EvaluationSection(**self.model_dump(exclude_unset=True) | dict(changes))
        except ValidationError as error:
            raise SkipwiseError(explained(error, "evaluation", EvaluationSection, _NESTED)) from error


class SweepConfig(Section):
    """A whole sweep."""

    output: Path
    """Folder of the sweep: a folder a run in `runs/`, and the results of all."""
    base: Path
    """Training recipe that every run changes; relative to the sweep's own file."""
    overrides: Overrides = Field(default_factory=dict)
    """Changes for all runs."""
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    """Seeds of each run; a run with a `seed` of its own has that."""
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    """Dotted key -> values: every combination is a run."""
    runs: dict[str, Overrides] = Field(default_factory=dict)
    """More runs by name; where a value is a list of a scalar key, each is a run. Keys that begin with `evaluation.`
    change how a run is evaluated."""
    search: SearchSection | None = None
    """Choices on dev, made before anything is evaluated on test."""
    evaluation: EvaluationSection = EvaluationSection()

    @model_validator(mode="after")
    def _names_are_folders(self) -> SweepConfig:
        if not self.grid and not self.runs:
            raise ValueError("there is nothing to run: give grid, runs, or both")
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{key} has no values: leave it out, or name some")
        for name in self.runs:
            if not _NAME.fullmatch(name):
                raise ValueError(f"a run's name may have letters, digits, '.', '_' and '-', got {name!r}")
        return self

    @model_validator(mode="after")
    def _what_is_searched_is_not_fixed(self) -> SweepConfig:
        for key in self.search.keys if self.search is not None else ():
            fixed = [name for name, run in {"grid": self.grid, **self.runs}.items() if key in run]
            if fixed:
                raise ValueError(f"search.keys.{key} is also in {fixed[0]}: leave it out of one of them")
        return self


def load_sweep(path: str | Path) -> SweepConfig:
    """Return the sweep that a YAML file describes, with `base` as a path from here.

    Raises:
        SkipwiseError: for a missing file, a wrong key (naming the allowed ones) or a wrong value.
    """
    path = Path(path)
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SkipwiseError(f"no such sweep: {path}. See recipes/parliament/sweep.yaml for an example.") from error
    except yaml.YAMLError as error:
        raise SkipwiseError(f"{path} is not YAML: {error}") from error
    if not isinstance(record, dict):
        raise SkipwiseError(f"{path} must hold output, base, grid or runs, got a {type(record).__name__}.")
    try:
        config = SweepConfig(**record)
    except ValidationError as error:
        raise SkipwiseError(explained(error, path, SweepConfig, _NESTED)) from error
    return config.model_copy(update={"base": path.parent / config.base})


_NESTED: Mapping[str, type[Section]] = {
    "evaluation": EvaluationSection,
    "knock_out": KnockOutSection,
    "search": SearchSection,
}
