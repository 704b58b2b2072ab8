"""docs/new_family.md holds what every family must: its Python is run as it stands, and broken, which the suite sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from skipwise import GateConfig, SkipwiseError, attach, gated, print_gate_summary
from skipwise.gating import Sampling
from skipwise.gating.draws import RowDraws
from skipwise.models import registry
from skipwise.testing.case import assert_same
from tests.conformance.new_family_page import CASE_CODE, FAMILY_CODE, PAGE, USE_CODE, case_of, murmur, registered

with murmur() as MURMUR:  # not known to the tests of other modules
    CASE = case_of()

TestMurmur, TestMurmurPadding = CASE["TestMurmur"], CASE["TestMurmurPadding"]


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with registered(MURMUR):
        yield


@pytest.fixture
def case() -> Any:
    return CASE["MurmurCase"]()


def test_the_page_has_fewer_than_80_lines_of_code() -> None:
    assert len(code_lines(FAMILY_CODE)) < 80
    assert max(len(line) for code in (FAMILY_CODE, USE_CODE, CASE_CODE) for line in code_lines(code)) <= 120


def code_lines(code: str) -> list[str]:
    """All but the blank lines."""
    return [line for line in code.splitlines() if line.strip()]


def test_the_page_puts_gates_on_trains_saves_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        exec(compile(USE_CODE, str(PAGE), "exec"), names)
    assert {path.name for path in Path("gates").iterdir()} >= {
        "gate_config.json",
        "gate_model.safetensors",
        "README.md",
    }
    assert Path("gate_map.png").stat().st_size > 1000
    assert names["adapter"].base.family == "murmur"
    assert names["logits"].shape == (2, 7, 24)
    assert not torch.equal(names["logits"], names["without_attention"])
    assert [len(names["plan"].closed(row)) for row in range(2)] == [2, 2]
    trained, encoded, contexts = names["adapter"], names["encoded"], names["contexts"]
    achieved = trained.plan("decoder", contexts, encoded.pooled()).sparsity()
    assert abs(achieved - 0.5) < 0.2


@torch.no_grad()
def test_its_own_pass_follows_what_is_put_on_it(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_our_engine_says_that_it_does_not_run_it(case: Any) -> None:
    with pytest.raises(SkipwiseError, match="a Murmur is decoded by its own library"):
        registry.family_of(case.build())


def test_gates_of_every_step_are_refused(case: Any) -> None:
    model = case.build()
    adapter = attach(model, GateConfig(scope="decoder", granularity="step"))
    features, tokens = case.features(case.rows), case.tokens(model, case.rows)
    with pytest.raises(SkipwiseError, match=r"gates of every step. Take .* \(granularity=\"utterance\"\)"):
        model(features, tokens, case.contexts)
    encoded = case.encode(model, case.embed(model, case.rows), None)
    draws = RowDraws.for_all(torch.Generator().manual_seed(0), len(case.contexts))
    drawn = adapter.sample("decoder", case.contexts, encoded.pooled(), sampling=Sampling(), draws=draws)
    with pytest.raises(SkipwiseError, match="gates of every step"):
        model.decode(tokens, encoded, drawn)
