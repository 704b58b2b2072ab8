"""What is evaluated of a cell: its weights dense and pruned, and the controls that need no training of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from skipwise.data.languages import to_iso639_3
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.knock_out import LossHarm, knock_out_order, plan_of_order
from skipwise.evaluation.rows import spread
from skipwise.experiments.sweep.cells import Cell
from skipwise.gating import Budget, GateAdapter, Planner, RecordingPlanner, ShuffledPlanner, ShuffleLevel
from skipwise.gating.shuffle import Donors
from skipwise.gating.sites import sites_in
from skipwise.models.owsm.loading import GATES_FOLDER, OwsmModel, load_owsm
from skipwise.models.planners import Gates, planner_for
from skipwise.pipeline import REFERENCE, Transcriber, reference_model
from skipwise.training.run import result_folder
from skipwise.training.start import utterances_of


@final
@dataclass(frozen=True)
class System:
    """One way to use a cell's weights."""

    condition: str
    """`open`: everything runs; `pruned`: what the gates say; `shuffle_speech`, ...; `knock_out`; `yardstick`."""
    asked: float | None = None
    """Sparsity that was asked for, if one was."""


Systems = dict[System, Transcriber]

OPEN, YARDSTICK = System("open"), System("yardstick")


@final
class CellSystems:
    """The systems of a trained cell."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._device = _device(cell.evaluation.device)
        self.model = self._load(_trained(cell))
        self._donors: dict[System, Donors] = {}  # what the gates of a system saw, once it has decoded

    def main(self) -> Systems:
        """Return what is decoded in turns: dense first, then every pruned system."""
        found = {OPEN: self._following(None)}
        if self._cell.training.gates is None:
            return found | self._knocked_out() | self._yardstick()
        asked, gates = self._cell.evaluation, _adapter(self._cell)
        budgets: Sequence[float | None] = (None,)
        if asked.sparsities and gates.is_elastic:
            budgets = asked.sparsities
        elif asked.exact:
            budgets = (gates.config.sparsity,)
        for budget in budgets:
            system, planner = System("pruned", budget), self._planner(gates, budget)
            if self._levels(gates):
                planner = RecordingPlanner(planner)
                self._donors[system] = planner.donors
            found[system] = self._following(planner)
        return found

    def shuffled(self) -> Systems:
        """Return the shuffle tests, once the pruned systems have decoded."""
        found: Systems = {}
        for system, donors in self._donors.items():
            gates = _adapter(self._cell)
            for level in self._levels(gates):
                planner = self._planner(gates, system.asked)
                shuffled = ShuffledPlanner(planner, donors, level, seed=self._cell.evaluation.seed)
                found[System(f"shuffle_{level}", system.asked)] = self._following(shuffled)
        return found

    def _levels(self, gates: GateAdapter) -> list[ShuffleLevel]:
        """What can be shuffled: for gates that see it and decide before a stack runs, where there are two of a kind."""
        labels, data = self._cell.labels(), self._cell.training.data
        if labels["predictor"] not in ("mlp", "table") or labels["granularity"] != "utterance":
            return []
        alone = {"language"} if len(data.languages) < 2 else set()
        alone |= {"task"} if len(data.tasks) < 2 else set()
        return [
            level for level in self._cell.evaluation.shuffle if level in gates.config.context and level not in alone
        ]

    def _planner(self, gates: GateAdapter, budget: float | None) -> Planner:
        exact = self._cell.evaluation.exact and budget is not None
        return planner_for(self.model, gates, Budget(sparsity=budget, exact=exact))

    def _following(self, gates: Gates, model: OwsmModel | None = None) -> Transcriber:
        asked = self._cell.evaluation
        return Transcriber(model or self.model, gates=gates, dtype=asked.dtype, options=asked.options())

    def _knocked_out(self) -> Systems:
        asked = self._cell.evaluation.knock_out
        if asked is None:
            return {}
        data = self._cell.training.data
        dev = spread(utterances_of(data, "dev"), asked.utterances)
        sites = sites_in(asked.scope, self.model.network.config.gate_sites())
        most = int(max(asked.sparsities) * len(sites) + 0.5)
        order = knock_out_order(sites, LossHarm(self.model, dev, data.tasks), num_closed=most)
        return {
            System("knock_out", share): self._following(plan_of_order(sites, order, int(share * len(sites) + 0.5)))
            for share in asked.sparsities
        }

    def _yardstick(self) -> Systems:
        asked = self._cell.evaluation
        if asked.yardstick is None:
            return {}
        return {YARDSTICK: self._following(None, self._load(asked.yardstick))}

    def _load(self, name: str | Path) -> OwsmModel:
        return load_owsm(reference_model() if name == REFERENCE else name, device=self._device)


def utterances_to_evaluate(cell: Cell) -> list[Utterance]:
    """Return what a cell is evaluated on."""
    asked = cell.evaluation
    assert asked.data is not None
    languages = [to_iso639_3(language) for language in cell.training.data.languages]
    return spread(read_data(asked.data, asked.split, languages=languages), asked.limit)


def check_data(cells: Sequence[Cell]) -> None:
    """Raise a SkipwiseError if a cell could not be evaluated: before hours of training, not after."""
    seen = set()
    for cell in cells:
        asked, data = cell.evaluation, cell.training.data
        assert asked.data is not None
        if not asked.data.exists():
            raise SkipwiseError(f"there is no data {asked.data} to evaluate on. Set evaluation.data, or make it first.")
        needs_dev = asked.knock_out is not None and cell.training.gates is None
        key = (asked.data, asked.split, data.languages, data.root, data.dev_root, needs_dev)
        if key not in seen:
            seen.add(key)
            utterances_to_evaluate(cell)
            if needs_dev:
                utterances_of(data, "dev")


def _trained(cell: Cell) -> str | Path:
    """The base that a cell's gates run on."""
    return result_folder(cell.training) if cell.training.model.writes_base else cell.training.model.init


def _adapter(cell: Cell) -> GateAdapter:
    folder = result_folder(cell.training)
    return GateAdapter.from_pretrained(folder / GATES_FOLDER if cell.training.model.writes_base else folder)


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
