"""Gates that every position of the decoder decides."""

from dataclasses import replace

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    AdapterPlanner,
    Budget,
    Context,
    GateAdapter,
    GateConfig,
    GatePlan,
    MlpPredictorConfig,
    Sampling,
    StepPlanner,
    StepSampler,
    TablePredictorConfig,
)
from skipwise.gating.budget import closed_share
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.draws import RowDraws

CONTEXTS = [Context(language="deu", task="asr"), Context(language="fra", task="st_eng")]


@pytest.fixture
def adapter(base) -> GateAdapter:
    """Gates that depend on all that they may depend on."""
    torch.manual_seed(0)
    config = GateConfig(
        scope="both",
        granularity="step",
        context=(*HIDEABLE_PARTS, "budget"),
        predictor=MlpPredictorConfig(open_bias=0.3, output_std=1.0),
    )
    adapter = GateAdapter(config, base).eval()
    for name, parameter in adapter.named_parameters():
        if name.endswith(("token.weight", "mean.weight")):
            torch.nn.init.normal_(parameter)
    return adapter


def states(*positions: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(CONTEXTS), *positions, 8)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def decided(adapter: GateAdapter, *, exact: bool = False, budget: float | None = None) -> StepPlanner:
    planner = AdapterPlanner(adapter, Budget(sparsity=budget, exact=exact))
    found = planner.decoder(CONTEXTS, states()[0])
    assert isinstance(found, StepPlanner)
    return found


def test_the_encoder_keeps_one_plan_an_utterance(adapter):
    assert isinstance(AdapterPlanner(adapter).encoder(CONTEXTS, states()[0]), GatePlan)


def test_fresh_gates_are_the_same_at_every_position(base):
    fresh = GateAdapter(GateConfig(granularity="step"), base)
    gates = decided(fresh).gates(*states(3, 5))
    assert gates.shape == (2, 3, 5, 9)
    assert bool((gates == gates[:, :1, :1]).all())


def test_gates_follow_token_prefix_context_and_speech(adapter):
    tokens, means = states(1, 40)
    usual = decided(adapter).gates(tokens, means)
    assert 0.1 < float(usual.float().mean()) < 0.9
    assert (decided(adapter).gates(tokens, means.flip(2)) != usual).any()
    assert (decided(adapter).gates(tokens.flip(2), means) != usual).any()
    for contexts, pooled in ((CONTEXTS[::-1], states()[0]), (CONTEXTS, states(seed=2)[0])):
        other = AdapterPlanner(adapter).decoder(contexts, pooled)
        assert isinstance(other, StepPlanner)
        assert (other.gates(tokens, means) != usual).any()


def test_utterances_that_are_kept_decide_as_before(adapter):
    tokens, means = states(2, 6)
    for exact in (False, True):
        planner = decided(adapter, exact=exact, budget=0.4)
        kept = planner.keep([1]).gates(tokens[1:], means[1:])
        assert torch.equal(kept, planner.gates(tokens, means)[1:])


@pytest.mark.parametrize("budget", [0.0, 0.3, 0.5, 0.8])
def test_an_exact_budget_is_met_at_every_position(adapter, budget):
    gates = decided(adapter, exact=True, budget=budget).gates(*states(2, 6))
    assert set((~gates).sum(dim=-1).flatten().tolist()) == {int(budget * 9 + 0.5)}


def test_a_budget_moves_the_gates_of_every_position(adapter):
    low, high = (decided(adapter, budget=budget).gates(*states(1, 40)) for budget in (0.1, 0.9))
    assert (low != high).any()


def _sampler(adapter: GateAdapter, rows: list[int]) -> StepSampler:
    draws = RowDraws(torch.Generator().manual_seed(3), 2, rows)
    contexts, pooled = [CONTEXTS[row] for row in rows], states()[0][rows]
    sampler = adapter.sample("decoder", contexts, pooled, sampling=Sampling(dropout=0.3), draws=draws)
    assert isinstance(sampler, StepSampler)
    return sampler


def test_a_row_draws_the_same_in_a_shorter_batch_of_its_own(adapter):
    tokens, means = states(9)
    together = _sampler(adapter, [0, 1]).draw(tokens, means)
    alone = _sampler(adapter, [1]).draw(tokens[1:, :6], means[1:, :6])
    assert torch.equal(alone.gates[0], together.gates[1, :6])
    assert set(together.gates.unique().tolist()) == {0.0, 1.0}


def test_positions_that_do_not_count_have_no_part_in_sparsity_nor_in_its_gradient(adapter):
    sample = _sampler(adapter, [0, 1]).draw(*states(5))
    counted = torch.tensor([[False, True, True, True, False], [False, False, True, False, False]])
    sample = replace(sample, counted=counted)
    gates = sample.gates.detach()
    expected = torch.stack([1 - gates[0, 1:4].mean(), 1 - gates[1, 2].mean()])
    torch.testing.assert_close(sample.row_sparsity().detach(), expected)
    torch.testing.assert_close(sample.sparsity().detach(), expected.mean())
    weights = torch.arange(1.0, 10.0) / 45
    shares = torch.stack([closed_share(gates[0, 1:4], weights).mean(), closed_share(gates[1, 2], weights)])
    torch.testing.assert_close(sample.closed_share(weights).detach(), shares)
    (gradient,) = torch.autograd.grad(sample.row_sparsity().sum(), sample.gates)
    assert torch.equal(gradient.abs().sum(dim=-1) > 0, counted)


def test_saved_gates_decide_as_before(adapter, tmp_path):
    adapter.save_pretrained(tmp_path / "gates")
    again = GateAdapter.from_pretrained(tmp_path / "gates")
    assert again.config == adapter.config
    tokens, means = states(2, 6)
    assert torch.equal(decided(again).gates(tokens, means), decided(adapter).gates(tokens, means))


def test_what_cannot_decide_at_every_step_says_so(base, unchecked):
    with pytest.raises(SkipwiseError, match="granularity must be one of utterance, step; got 'token'"):
        GateConfig(granularity="token")  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(SkipwiseError, match="scope encoder has none"):
        GateConfig(granularity="step", scope="encoder")
    with pytest.raises(SkipwiseError, match=r"predictors of kind mlp; got table.*Use another kind"):
        GateConfig(granularity="step", predictor=TablePredictorConfig())
