"""docs/new_family.md holds what every family must: its one block of Python is run as it stands."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn

from skipwise import GateConfig, SkipwiseError, attach, gated, print_gate_summary
from skipwise.features import SpeechStates
from skipwise.features.speech import pad_features
from skipwise.gating import Context, GatePlan, GateSite, Sampling
from skipwise.gating.draws import RowDraws
from skipwise.models import registry
from tests.conformance.family import FamilyCase, Gates, SharedModule, assert_same, counted
from tests.conformance.suite import ConformanceSuite, PaddedBatchSuite

_PAGE = Path(__file__).parents[2] / "docs" / "new_family.md"
_MODULE = "murmur"
LENGTHS = (19, 9, 14)
NUM_MELS, VOCAB_SIZE, NUM_SEARCHED = 8, 24, 12

pytestmark = pytest.mark.skipif(not _PAGE.is_file(), reason="a source distribution has no docs")


def block() -> str:
    """The page's Python."""
    (found,) = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found


@pytest.fixture(scope="module", autouse=True)
def murmur() -> Iterator[ModuleType]:
    """The page's code, run once, as a module; afterwards its family is unknown again."""
    module = ModuleType(_MODULE)
    sys.modules[_MODULE] = module
    exec(compile(block(), str(_PAGE), "exec"), module.__dict__)
    yield module
    registry.unregister_family("murmur")
    del sys.modules[_MODULE]


@final
class MurmurCase(FamilyCase):
    """2 + 2 layers of width 32.

    Measured over three seeds, with logits up to 17: multiplied against skipped 3e-6, incremental against full 8e-6,
    batch against single 6e-6, and no ties.
    """

    contexts = (
        Context(language="deu", task="asr"),
        Context(language="fra", task="st_eng"),
        Context(language="eng", task="asr"),
    )
    tolerance = 5e-5

    def build(self, *, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = sys.modules[_MODULE].Murmur(num_mels=NUM_MELS, vocab_size=VOCAB_SIZE)
            with torch.no_grad():  # norms as after a training: a bias leaks where a mask is missing
                for name, parameter in model.named_parameters():
                    if "norm" in name:
                        parameter.add_(0.3 * torch.randn_like(parameter))
                model.output[1].weight.normal_()
        return model.eval()

    def sites(self, model: nn.Module) -> tuple[GateSite, ...]:
        return registry.gate_family_of(model).describe(model).sites

    def modules(self, model: nn.Module, site: GateSite) -> tuple[nn.Module, ...]:
        return (model.get_submodule(f"{site.stack}.{site.layer}.{site.kind}"),)

    def shared_modules(self, model: nn.Module) -> list[SharedModule]:
        return []

    def unconditional_modules(self, model: nn.Module) -> list[nn.Module]:
        return [model.get_submodule(name) for name in ("front", "encoder_norm", "embedding", "output")]

    def features(self, rows: Sequence[int]) -> SpeechStates:
        """Other sounds in each row, so that plans may differ."""
        drawn = [torch.randn(LENGTHS[row], NUM_MELS, generator=torch.Generator().manual_seed(row)) for row in rows]
        return pad_features([3 * row / 2 + (row.mean(dim=0) > 0) for row in drawn])

    def embed(self, model: Any, rows: Sequence[int]) -> SpeechStates:
        return model.embed(self.features(rows))

    def encode(self, model: Any, embedded: SpeechStates, gates: Gates) -> SpeechStates:
        return model.encode(embedded, gates)

    def tokens(self, model: nn.Module, rows: Sequence[int]) -> Tensor:
        text = torch.randint(3, VOCAB_SIZE, (len(self.contexts), 9), generator=torch.Generator().manual_seed(0))
        return torch.cat([torch.arange(len(self.contexts))[:, None], text], dim=1)[list(rows)]

    def decode(self, model: Any, tokens: Tensor, encoded: SpeechStates, gates: Gates) -> Tensor:
        return model.decode(tokens, encoded, gates)

    def decode_incrementally(
        self, model: Any, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> Tensor:
        memory: dict[int, Tensor] = {}
        parts = [model.decode(part, encoded, plan, memory) for part in tokens.split(list(chunks), dim=1)]
        return torch.cat(parts, dim=1)

    def executed_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> dict[GateSite, list[int]]:
        sites = [site for site in self.sites(model) if site.stack == "decoder"]
        with counted([self.modules(model, site)[0] for site in sites]) as calls:
            self.decode_incrementally(model, tokens, encoded, plan, chunks=chunks)
        return {
            site: [rows * chunk for rows, chunk in zip(call.rows, chunks, strict=True)] if call.rows else []
            for site, call in zip(sites, calls, strict=True)
        }

    def search(self, model: Any, encoded: SpeechStates, rows: Sequence[int], plan: GatePlan | None) -> list[list[int]]:
        memory: dict[int, Tensor] = {}
        tokens = new = self.tokens(model, rows)[:, :1]
        for _ in range(NUM_SEARCHED):
            new = model.decode(new, encoded, plan, memory)[:, -1:].argmax(dim=-1)
            tokens = torch.cat([tokens, new], dim=1)
        return tokens.tolist()


@final
class TestMurmur(ConformanceSuite):
    @pytest.fixture
    def case(self) -> MurmurCase:
        return MurmurCase()


@final
class TestMurmurPadding(PaddedBatchSuite):
    @pytest.fixture
    def case(self) -> MurmurCase:
        return MurmurCase()


def test_the_page_has_fewer_than_80_lines_of_code() -> None:
    lines = [line for line in block().splitlines() if line.strip()]
    assert len(lines) < 80 and max(map(len, lines)) <= 120


@torch.no_grad()
def test_its_own_pass_follows_what_is_put_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    case = MurmurCase()
    model = case.build()
    features, tokens, contexts = case.features(case.rows), case.tokens(model, case.rows), case.contexts
    base = model(features, tokens, contexts)
    case.attach_random_gates(model)
    _, ours = case.run_planned(model, case.rows)
    assert torch.equal(model(features, tokens, contexts), ours[1]) and not torch.equal(ours[1], base)
    plan = case.random_plan(model)
    with gated(model, plan):
        assert_same((ours[0], model(features, tokens, contexts)), (ours[0], case.run(model, plan)[1]), tolerance=0)
    print_gate_summary(model)
    assert "murmur: 10 sites" in capsys.readouterr().out


def test_our_engine_says_that_it_does_not_run_it() -> None:
    with pytest.raises(SkipwiseError, match="a Murmur is decoded by its own library"):
        registry.family_of(MurmurCase().build())


def test_gates_of_every_step_are_refused() -> None:
    case = MurmurCase()
    model: Any = case.build()
    adapter = attach(model, GateConfig(scope="decoder", granularity="step"))
    features, tokens = case.features(case.rows), case.tokens(model, case.rows)
    with pytest.raises(SkipwiseError, match=r"gates of every step. Take .* \(granularity=\"utterance\"\)"):
        model(features, tokens, case.contexts)
    encoded = case.encode(model, case.embed(model, case.rows), None)
    draws = RowDraws.for_all(torch.Generator().manual_seed(0), len(case.contexts))
    drawn = adapter.sample("decoder", case.contexts, encoded.pooled(), sampling=Sampling(), draws=draws)
    with pytest.raises(SkipwiseError, match="gates of every step"):
        model.decode(tokens, encoded, drawn)
