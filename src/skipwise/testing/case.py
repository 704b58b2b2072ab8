"""What a model family fills in for the conformance suite, and how runs are counted and compared.

Shapes: B rows, T frames, D width, L positions, V vocabulary, S sites.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from skipwise.features import SpeechStates
from skipwise.gating import (
    Context,
    GateAdapter,
    GateConfig,
    GatePlan,
    GateSample,
    GateSite,
    LayerPlanner,
    LayerwiseGates,
    MlpPredictorConfig,
)
from skipwise.gating.predictors import PredictorConfig
from skipwise.gating.steps import StepPlanner
from skipwise.models.attach import attach, planner_of

Gates = GatePlan | GateSample | LayerwiseGates | None
Run = tuple[SpeechStates, Tensor]
"""Encoder states, and teacher-forced logits [B, L, V]."""


@final
@dataclass(frozen=True)
class SharedModule:
    """A module that several sites feed: it runs on the rows where at least one of them is open."""

    module: nn.Module
    sites: tuple[GateSite, ...]


class FamilyCase(ABC):
    """One random model of a family, in eval mode and fp32 on the CPU, and a batch for it.

    The batch has `contexts` of different languages and tasks, and audio of different lengths, the first row longest.
    """

    contexts: tuple[Context, ...]
    """One a row."""
    tolerance: float
    """Largest difference that float32 may cause, in states and in logits; a family states what it measured."""

    @abstractmethod
    def build(self, *, seed: int = 0) -> nn.Module:
        """Return the model: the same weights for the same seed."""

    @abstractmethod
    def sites(self, model: nn.Module) -> tuple[GateSite, ...]:
        """Return all its sites."""

    @abstractmethod
    def modules(self, model: nn.Module, site: GateSite) -> tuple[nn.Module, ...]:
        """Return the modules that a closed site does not execute, its layer norm among them; each runs once."""

    @abstractmethod
    def shared_modules(self, model: nn.Module) -> list[SharedModule]:
        """Return the modules that run for more than one site: E-Branchformer's merge."""

    @abstractmethod
    def unconditional_modules(self, model: nn.Module) -> list[nn.Module]:
        """Return modules that run whatever the plan: final norms, output projection."""

    @abstractmethod
    def embed(self, model: nn.Module, rows: Sequence[int]) -> SpeechStates:
        """Return what the encoder's plan is decided from, for these rows of the batch."""

    @abstractmethod
    def encode(self, model: nn.Module, embedded: SpeechStates, gates: Gates) -> SpeechStates:
        """Return the encoder's states under a plan, or multiplied by drawn gates."""

    @abstractmethod
    def tokens(self, model: nn.Module, rows: Sequence[int]) -> Tensor:
        """Return decoder tokens [B, L] for these rows: prompt and text, of one length."""

    @abstractmethod
    def decode(self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, gates: Gates) -> Tensor:
        """Return the logits [B, L, V] of whole prefixes."""

    @abstractmethod
    def decode_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> Tensor:
        """Return the logits [B, L, V] of the same tokens, fed in chunks of these lengths to one cache."""

    @abstractmethod
    def executed_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> dict[GateSite, list[int]]:
        """Return on how many rows and positions each decoder site ran, call by call, in `decode_incrementally`."""

    @abstractmethod
    def search(
        self, model: nn.Module, encoded: SpeechStates, rows: Sequence[int], plan: GatePlan | None
    ) -> list[list[int]]:
        """Return the tokens of the family's own greedy search for these rows, prompt included."""

    @property
    def rows(self) -> range:
        return range(len(self.contexts))

    def run(self, model: nn.Module, gates: Gates, *, rows: Sequence[int] | None = None) -> Run:
        """Return encoder states and teacher-forced logits of these rows, all of them by default."""
        rows = self.rows if rows is None else rows
        encoded = self.encode(model, self.embed(model, rows), gates)
        return encoded, self.decode(model, self.tokens(model, rows), encoded, gates)

    def random_plan(self, model: nn.Module, *, seed: int = 0) -> GatePlan:
        """Return a plan with about half of the sites closed, others in each row.

        Every site is open in some row and closed in some row, and the open ones are not always the first.
        """
        sites, num_rows = self.sites(model), len(self.contexts)
        gates = torch.rand(num_rows, len(sites), generator=torch.Generator().manual_seed(seed)) < 0.5
        columns = torch.arange(len(sites))
        rows = (2 * columns + 2) % num_rows
        gates[rows, columns] = True
        gates[(rows + 1) % num_rows, columns] = False
        return GatePlan(sites, gates)

    def attach_random_gates(
        self, model: nn.Module, *, seed: int = 0, predictor: PredictorConfig | None = None
    ) -> GateAdapter:
        """Return an attached adapter under which the rows' plans differ."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            predictor = predictor or MlpPredictorConfig(open_bias=0.0, output_std=1.0)
            return attach(model, GateConfig(scope="both", predictor=predictor))

    def run_planned(self, model: nn.Module, rows: Sequence[int]) -> tuple[GatePlan, Run]:
        """Return plan, encoder states and logits of these rows, as the model's own gates decide."""
        contexts, planner = [self.contexts[row] for row in rows], planner_of(model)
        embedded = self.embed(model, rows)
        of_encoder = planner.encoder(contexts, embedded.pooled())
        encoded = self.encode(model, embedded, of_encoder)
        of_decoder = planner.decoder(contexts, encoded.pooled())
        assert not isinstance(of_decoder, StepPlanner)
        logits = self.decode(model, self.tokens(model, rows), encoded, of_decoder)
        return decided(of_encoder).join(decided(of_decoder)), (encoded, logits)


@final
@dataclass
class Calls:
    """How often a module ran, and on how many rows each time."""

    rows: list[int] = field(default_factory=list)

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        self.rows.append(first.shape[0])


@contextmanager
def counted(modules: Sequence[nn.Module]) -> Iterator[list[Calls]]:
    """The calls of each module during the block."""
    calls = [Calls() for _ in modules]
    handles = [
        module.register_forward_pre_hook(call, with_kwargs=True) for module, call in zip(modules, calls, strict=True)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def decided(plan: GatePlan | LayerPlanner) -> GatePlan:
    """The plan, once the stack that may have decided it has run."""
    return plan.plan() if isinstance(plan, LayerPlanner) else plan


def within(states: SpeechStates, row: int) -> Tensor:
    """The frames of a row that take part [T, D]."""
    return states.states[row, : int(states.num_frames[row])]


def assert_same(found: Run, expected: Run, *, tolerance: float) -> None:
    """States within each row's end and all logits agree; a tolerance of 0 asks for the same bits."""
    for row in range(expected[1].shape[0]):
        torch.testing.assert_close(within(found[0], row), within(expected[0], row), rtol=0, atol=tolerance)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=tolerance)


def differs(found: Run, other: Run, *, by: float) -> bool:
    """Whether the logits of every row differ by more than `by` somewhere."""
    return bool(((found[1] - other[1]).abs().amax(dim=(1, 2)) > by).all())


def tied_at(found: Sequence[int], expected: Sequence[int], logits: Callable[[list[int]], Tensor], gap: float) -> bool:
    """Whether two hypotheses first differ where the two best tokens are nearer to each other than `gap`.

    `logits` returns those after a prefix [V].
    """
    at = next(i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1])
    best = logits(list(expected[:at])).topk(2).values
    return float(best[0] - best[1]) < gap


def as_sample(plan: GatePlan) -> GateSample:
    """The plan's decisions as gates that multiply."""
    gates = plan.gates.float()
    return GateSample(plan.sites, gates, torch.stack([-gates, gates], dim=-1))


def decoder_plans(case: FamilyCase, model: nn.Module) -> list[GatePlan]:
    """Each decoder site closed alone, each kind closed in every layer, all closed, and rows that differ."""
    sites = tuple(site for site in case.sites(model) if site.stack == "decoder")
    kinds = sorted({site.kind for site in sites})
    closed = [[site] for site in sites] + [[site for site in sites if site.kind == kind] for kind in kinds] + [sites]
    plans = [GatePlan.closing(sites, part, len(case.contexts)) for part in closed]
    return [*plans, case.random_plan(model).of_stack("decoder")]
