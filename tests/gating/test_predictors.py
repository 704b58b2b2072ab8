"""What each kind of predictor decides from, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GateAdapter, GateConfig, GateSample, Sampling
from skipwise.gating.adapter import GateBase
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.draws import RowDraws
from skipwise.gating.predictors import (
    LayerDropPredictorConfig,
    LocalPredictorConfig,
    MlpPredictorConfig,
    PredictorConfig,
    RandomPredictorConfig,
    StaticPredictorConfig,
    TablePredictorConfig,
    predictor_kinds,
)

DEU_ASR, FRA_ASR = Context(language="deu", task="asr"), Context(language="fra", task="asr")
DEU_ST = Context(language="deu", task="st_eng")
ELASTIC = (*HIDEABLE_PARTS, "budget")

SCATTERED: list[PredictorConfig] = [
    MlpPredictorConfig(open_bias=0.0, output_std=1.0),
    TablePredictorConfig(open_bias=0.0, init_std=1.0),
    StaticPredictorConfig(open_bias=0.0, init_std=1.0),
    RandomPredictorConfig(),
    LayerDropPredictorConfig(),
]
"""Every kind that decides before a stack runs, so initialised that its decisions vary."""


def _adapter(base: GateBase, predictor: PredictorConfig, **config) -> GateAdapter:
    torch.manual_seed(0)
    return GateAdapter(GateConfig(predictor=predictor, **config), base).eval()


def _differs(adapter: GateAdapter, context: Context, other: Context, pooled: Float[Tensor, "1 dim"]) -> bool:
    return not torch.equal(adapter.logits("decoder", [context], pooled), adapter.logits("decoder", [other], pooled))


def test_every_kind_has_a_short_name():
    assert predictor_kinds() == {
        "mlp": MlpPredictorConfig,
        "local": LocalPredictorConfig,
        "table": TablePredictorConfig,
        "static": StaticPredictorConfig,
        "random": RandomPredictorConfig,
        "layer_drop": LayerDropPredictorConfig,
    }


@pytest.mark.parametrize("predictor", SCATTERED, ids=lambda config: type(config).__name__)
def test_every_kind_is_saved_and_decides_the_same_when_it_is_back(base, tmp_path, predictor):
    adapter = _adapter(base, predictor, scope="both", context=ELASTIC)
    adapter.save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates")
    assert loaded.config == adapter.config
    contexts, pooled = [DEU_ASR, replace(DEU_ST, budget=0.7)], torch.randn(2, 8)
    for stack in ("encoder", "decoder"):
        assert torch.equal(loaded.logits(stack, contexts, pooled), adapter.logits(stack, contexts, pooled))


@pytest.mark.parametrize("predictor", SCATTERED, ids=lambda config: type(config).__name__)
def test_every_kind_follows_a_budget_if_it_is_part_of_the_context_and_not_if_it_is_not(base, predictor):
    low, high = (replace(DEU_ASR, budget=budget) for budget in (0.1, 0.9))
    pooled = torch.randn(1, 8)
    assert _differs(_adapter(base, predictor, context=ELASTIC), low, high, pooled)
    fixed = _adapter(base, predictor)
    assert fixed.plan("decoder", [low], pooled).key() == fixed.plan("decoder", [high], pooled).key()


@pytest.mark.parametrize(
    ("predictor", "by_language", "by_task", "by_speech"),
    [
        (SCATTERED[0], True, True, True),
        (SCATTERED[1], True, True, False),
        (SCATTERED[2], False, False, False),
        (SCATTERED[4], False, False, False),
    ],
    ids=("mlp", "table", "static", "layer_drop"),
)
def test_a_kind_depends_on_what_it_says_and_on_nothing_else(base, predictor, by_language, by_task, by_speech):
    adapter, pooled = _adapter(base, predictor), torch.randn(1, 8)
    assert _differs(adapter, DEU_ASR, FRA_ASR, pooled) == by_language
    assert _differs(adapter, DEU_ASR, DEU_ST, pooled) == by_task
    other = adapter.logits("decoder", [DEU_ASR], torch.randn(1, 8))
    assert (not torch.equal(adapter.logits("decoder", [DEU_ASR], pooled), other)) == by_speech


def test_a_table_is_a_line_between_learned_budgets(base):
    adapter, pooled = _adapter(base, TablePredictorConfig(init_std=1.0), context=ELASTIC), torch.randn(1, 8)
    at = [adapter.logits("decoder", [replace(DEU_ASR, budget=b)], pooled) for b in (0.3, 0.35, 0.4)]
    torch.testing.assert_close(at[1], (at[0] + at[2]) / 2)


def test_an_unknown_language_has_a_row_of_its_own_in_a_table(base):
    adapter, pooled = _adapter(base, SCATTERED[1]), torch.randn(1, 8)
    assert _differs(adapter, Context(task="asr"), DEU_ASR, pooled)
    assert not _differs(adapter, Context(task="asr"), Context(language="xho", task="asr"), pooled)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_a_random_plan_meets_its_budget_and_stays_with_its_utterance(base, sparsity):
    adapter, pooled = _adapter(base, RandomPredictorConfig(), sparsity=sparsity), torch.randn(64, 8)
    together = adapter.plan("decoder", [DEU_ASR] * 64, pooled)
    assert set(((~together.gates).sum(dim=1)).tolist()) == {int(9 * sparsity + 0.5)}
    nudged = pooled + 1e-6 * pooled.roll(1, 0)  # what another batch does to numbers
    alone = [adapter.plan("decoder", [DEU_ASR], row[None]).key() for row in nudged]
    assert sum(key == together.key(row) for row, key in enumerate(alone)) >= 63
    if 0 < sparsity < 1:
        assert len({together.key(row) for row in range(64)}) > 5
        other = _adapter(base, RandomPredictorConfig(seed=1), sparsity=sparsity)
        assert other.plan("decoder", [DEU_ASR] * 64, pooled).gates.ne(together.gates).any()


def test_training_draws_fresh_random_plans_by_the_runs_seed(base):
    adapter, pooled = _adapter(base, RandomPredictorConfig(), sparsity=0.5), torch.randn(4, 8)

    def drawn(seed: int) -> Tensor:
        draws = RowDraws.for_all(torch.Generator().manual_seed(seed), 4)
        sample = adapter.sample("decoder", [DEU_ASR] * 4, pooled, sampling=Sampling(), draws=draws)
        assert isinstance(sample, GateSample)
        assert torch.equal(sample.gates.bool(), sample.arg_max().gates), "no noise turns a drawn plan around"
        return sample.gates

    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))
    assert set((1 - drawn(0)).sum(dim=1).tolist()) == {5.0}


def test_layers_are_dropped_as_a_whole_evenly_at_inference_and_at_random_in_training(base):
    adapter, pooled = _adapter(base, LayerDropPredictorConfig(), sparsity=0.34), torch.randn(16, 8)
    [closed] = {adapter.plan("decoder", [DEU_ASR] * 16, pooled).closed(row) for row in range(16)}
    assert {str(site) for site in closed} == {f"decoder.2.{kind}" for kind in ("self_attn", "src_attn", "ffn")}
    draws = RowDraws.for_all(torch.Generator().manual_seed(0), 16)
    sample = adapter.sample("decoder", [DEU_ASR] * 16, pooled, sampling=Sampling(), draws=draws)
    assert isinstance(sample, GateSample)
    layers = [{site.layer for site in sample.arg_max().closed(row)} for row in range(16)]
    assert all(len(dropped) == 1 for dropped in layers) and len(set.union(*layers)) == 3
    assert set((1 - sample.gates).sum(dim=1).tolist()) == {3.0}


def test_an_exact_budget_is_met_by_every_kind(base):
    for predictor in SCATTERED:
        adapter = _adapter(base, predictor)
        plan = adapter.plan("decoder", [replace(DEU_ASR, budget=0.7)] * 3, torch.randn(3, 8), exact=True)
        assert set((~plan.gates).sum(dim=1).tolist()) == {6}, type(predictor).__name__


def test_soft_gates_are_between_open_and_closed_and_hard_ones_are_not(base):
    adapter, pooled = _adapter(base, SCATTERED[0]), torch.randn(4, 8)

    def gates(**how) -> Tensor:
        draws = RowDraws.for_all(torch.Generator().manual_seed(0), 4)
        sample = adapter.sample("decoder", [DEU_ASR] * 4, pooled, sampling=Sampling(**how), draws=draws)
        assert isinstance(sample, GateSample)
        return sample.gates.detach()

    hard, soft = gates(), gates(relaxation="soft")
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(soft > 0.5, hard.bool()) and bool(((soft > 0.01) & (soft < 0.99)).any())


def test_an_unknown_predictor_is_refused_by_name(base):
    class Crystal(PredictorConfig):
        pass

    with pytest.raises(SkipwiseError, match=r"unknown predictor config 'Crystal'. Known: .*TablePredictorConfig"):
        GateAdapter(GateConfig(predictor=Crystal()), base)
