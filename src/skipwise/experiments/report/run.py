"""A report from a sweep's folder: the page, its figures as PNG, and the claims as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from skipwise.atomic import atomic_write
from skipwise.experiments.report.claims import claims_of
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.load import load_sweep_data
from skipwise.experiments.report.verdicts import Claim

if TYPE_CHECKING:
    from skipwise.experiments.report.figures import Picture

PAGE_FILE = "report.html"
CLAIMS_FILE = "claims.json"
FOLDER = "report"


def write_report(root: Path, output: Path | None = None) -> tuple[Path, list[Claim]]:
    """Write the report of a sweep into `output`, by default `report/` in its folder; return the page and the claims.

    Raises:
        SkipwiseError: if `root` is no sweep, nothing of it is done, or the libraries for figures are not installed.
    """
    from skipwise.analysis.figure import save_png
    from skipwise.experiments.report.page import page

    folder = output or root / FOLDER
    finder = Finder(load_sweep_data(root))
    claims = claims_of(finder)
    pictures: list[tuple[Picture, Path | None]] = []
    for picture in _pictures(finder):
        path = folder / f"{picture.name}.png"
        if picture.figure is None:
            path.unlink(missing_ok=True)  # of a report before
        else:
            save_png(picture.figure, path)
        pictures.append((picture, None if picture.figure is None else path))
    with atomic_write(folder / CLAIMS_FILE) as file:
        json.dump([asdict(claim) | {"verdict": claim.verdict} for claim in claims], file, indent=1, ensure_ascii=False)
    with atomic_write(folder / PAGE_FILE) as file:
        file.write(page(finder, claims, pictures))
    return folder / PAGE_FILE, claims


def _pictures(finder: Finder) -> Iterator[Picture]:
    from skipwise.experiments.report import figures

    yield figures.quality_against_sparsity(finder)
    yield figures.quality_against_time(finder)
    yield from figures.gate_maps(finder)
    yield figures.use_by_layer(finder)
    yield figures.use_by_step(finder)
    yield figures.map_over_steps(finder)
    yield figures.plans_in_two_dimensions(finder)
