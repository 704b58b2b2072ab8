"""`skipwise train` hands its options to the run."""

import sys
from pathlib import Path

import pytest

from skipwise.cli.main import app, run
from skipwise.training.config import TrainConfig
from tests.data.spoken import write_lines


@pytest.mark.parametrize(("options", "skip_bad"), [([], False), (["--skip-bad"], True)])
def test_skip_bad_is_a_setting_of_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], skip_bad: bool
) -> None:
    started: list[TrainConfig] = []

    def begin(config: TrainConfig, *, resume: bool) -> Path:
        started.append(config)
        return config.output

    monkeypatch.setattr("skipwise.training.run.train", begin)
    recipe = write_lines(tmp_path / "r.yaml", "output: out", "data: {root: data}", "optimisation: {max_steps: 1}")
    monkeypatch.setattr(sys, "argv", ["skipwise", "train", str(recipe), "seed=7", *options])
    assert run(app) == 0
    assert [(config.data.skip_bad, config.seed) for config in started] == [(skip_bad, 7)]
