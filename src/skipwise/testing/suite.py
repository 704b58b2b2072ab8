"""What every model family must hold: the contract of a skipped branch (docs/new_family.md), as tests.

A family writes one `FamilyCase` and one subclass of `ConformanceSuite`, whose name begins with `Test` and whose `case`
fixture returns it; and one of `PaddedBatchSuite`, if it pads a batch to its longest row.

Five identities: all open == base and detached == base (bit-equal), closed == not executed (counted calls), multiplied
== skipped, incremental == full, batch == single (fp32 tolerance, and the same tokens but for ties). Beside each stands
the test that it differs where it must.

Shapes: T frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import (
    GatePlan,
    GateSample,
    GateSite,
    LocalPredictorConfig,
)
from skipwise.gating.sites import STACKS
from skipwise.models.attach import attach, detach, gated
from skipwise.testing.case import (
    FamilyCase,
    as_sample,
    assert_same,
    counted,
    decoder_plans,
    differs,
    tied_at,
    within,
)

LOCAL = LocalPredictorConfig(open_bias=0.0, output_std=1.0)
"""Layers that decide for themselves, and not all the same."""


class ConformanceSuite(ABC):
    """The tests. Everything runs without gradients but for those that ask for them."""

    @abstractmethod
    def case(self) -> FamilyCase:
        """The family's case: a fixture."""

    @pytest.fixture
    def model(self, case: FamilyCase) -> nn.Module:
        return case.build()

    @pytest.fixture(autouse=True)
    def _no_gradients(self, request: pytest.FixtureRequest) -> None:
        # no `yield`: pytest would not see it behind jaxtyping's import hook, which our own suite runs under
        request.addfinalizer(partial(torch.set_grad_enabled, torch.is_grad_enabled()))  # noqa: PT021
        torch.set_grad_enabled(False)

    def test_nothing_here_is_differentiated(self) -> None:
        assert not torch.is_grad_enabled()

    # --- all open is base, detached is base

    def test_all_open_is_the_base_model_bit_for_bit(self, case: FamilyCase, model: nn.Module) -> None:
        base, sites = case.run(model, None), case.sites(model)
        for plan in (GatePlan.all_open(sites, len(case.contexts)), GatePlan.all_open((), len(case.contexts))):
            assert_same(case.run(model, plan), base, tolerance=0)

    def test_detached_is_the_base_model_bit_for_bit(self, case: FamilyCase, model: nn.Module) -> None:
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        _, base = case.run_planned(model, case.rows)
        adapter = case.attach_random_gates(model)
        plan, pruned = case.run_planned(model, case.rows)
        assert 0.1 < plan.sparsity() < 0.9
        assert not torch.equal(pruned[1], base[1])
        assert [key for key in model.state_dict() if key in before] == list(before)
        assert detach(model) is adapter
        _, again = case.run_planned(model, case.rows)
        assert_same(again, base, tolerance=0)
        assert list(model.state_dict()) == list(before)
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())

    def test_a_gated_block_ends_with_the_base_model(self, case: FamilyCase, model: nn.Module) -> None:
        _, base = case.run_planned(model, case.rows)
        plan = case.random_plan(model)
        with pytest.raises(RuntimeError, match="on purpose"), gated(model, plan):
            followed, pruned = case.run_planned(model, case.rows)
            assert all(torch.equal(followed.of_stack(stack).gates, plan.of_stack(stack).gates) for stack in STACKS)
            with gated(model, GatePlan.all_open(case.sites(model))):
                _, inner = case.run_planned(model, case.rows)
            assert_same(inner, base, tolerance=0)
            raise RuntimeError("on purpose")
        _, after = case.run_planned(model, case.rows)
        assert_same(after, base, tolerance=0)
        assert differs(pruned, base, by=10 * case.tolerance)

    # --- closed is not executed

    def test_a_closed_site_is_not_executed_and_the_others_are(self, case: FamilyCase, model: nn.Module) -> None:
        sites, base = case.sites(model), case.run(model, None)
        tops = [(site, module) for site in sites for module in case.modules(model, site)]
        for site in sites:
            inside = [module for top in case.modules(model, site) for module in top.modules()]
            with counted(inside) as inner, counted([module for _, module in tops]) as outer:
                run = case.run(model, GatePlan.closing(sites, [site], len(case.contexts)))
            assert not any(call.rows for call in inner), site
            for (other, _), call in zip(tops, outer, strict=True):
                assert call.rows == ([] if other == site else [len(case.contexts)]), other
            assert differs(run, base, by=10 * case.tolerance), f"closing {site} changes nothing"

    def test_closed_everywhere_nothing_gateable_runs(self, case: FamilyCase, model: nn.Module) -> None:
        sites = case.sites(model)
        gateable = [module for site in sites for module in case.modules(model, site)]
        gateable += [shared.module for shared in case.shared_modules(model)]
        inside = [module for top in gateable for module in top.modules()]
        with counted(inside) as closed, counted(case.unconditional_modules(model)) as always:
            states, logits = case.run(model, GatePlan.closing(sites, sites, len(case.contexts)))
        assert not any(call.rows for call in closed)
        assert [call.rows for call in always] == [[len(case.contexts)]] * len(always)
        assert bool(states.states.isfinite().all()) and bool(logits.isfinite().all())

    def test_a_fully_closed_layer_is_not_the_identity_where_its_norm_remains(
        self, case: FamilyCase, model: nn.Module
    ) -> None:
        sites = case.sites(model)
        embedded = case.embed(model, case.rows)
        encoded = case.encode(model, embedded, GatePlan.closing(sites, sites, len(case.contexts)))
        assert not torch.allclose(encoded.states, embedded.states)

    def test_with_mixed_rows_a_site_runs_on_its_open_rows_only(self, case: FamilyCase, model: nn.Module) -> None:
        plan = case.random_plan(model)
        tops = [(site, module) for site in plan.sites for module in case.modules(model, site)]
        with counted([module for _, module in tops]) as calls:
            case.run(model, plan)
        open_rows = plan.gates.sum(dim=0).tolist()
        rows_of = dict(zip(plan.sites, open_rows, strict=True))
        for (site, _), call in zip(tops, calls, strict=True):
            assert call.rows == [rows_of[site]], site
        assert set(open_rows) <= set(range(1, len(case.contexts)))

    def test_a_shared_module_runs_where_one_of_its_sites_is_open(self, case: FamilyCase, model: nn.Module) -> None:
        shared = case.shared_modules(model)
        plan = case.random_plan(model, seed=1)
        columns = {site: column for column, site in enumerate(plan.sites)}
        with counted([part.module for part in shared]) as calls:
            case.run(model, plan)
        for part, call in zip(shared, calls, strict=True):
            rows = int(plan.gates[:, [columns[site] for site in part.sites]].any(dim=1).sum())
            assert call.rows == ([rows] if rows else [])
            for closed in (*((site,) for site in part.sites), part.sites):
                with counted([part.module]) as alone:
                    case.run(model, GatePlan.closing(plan.sites, closed, len(case.contexts)))
                assert alone[0].rows == ([] if closed == part.sites else [len(case.contexts)]), closed

    def test_in_cached_decoding_a_closed_site_never_runs(self, case: FamilyCase, model: nn.Module) -> None:
        sites = [site for site in case.sites(model) if site.stack == "decoder"]
        tokens = case.tokens(model, case.rows)
        encoded = case.encode(model, case.embed(model, case.rows), None)
        chunks = [2, *[1] * (tokens.shape[1] - 2)]
        everywhere = [len(case.contexts) * chunk for chunk in chunks]
        dense = case.executed_incrementally(model, tokens, encoded, None, chunks=chunks)
        assert dense == dict.fromkeys(sites, everywhere)
        for site in sites:
            plan = GatePlan.closing(sites, [site], len(case.contexts))
            ran = case.executed_incrementally(model, tokens, encoded, plan, chunks=chunks)
            assert ran == {**dense, site: []}, site

    # --- multiplied is skipped

    @pytest.mark.parametrize("seed", range(2))
    def test_multiplied_by_hard_gates_is_skipped(self, case: FamilyCase, model: nn.Module, seed: int) -> None:
        plan = case.random_plan(model, seed=seed)
        skipped = case.run(model, plan)
        assert_same(case.run(model, as_sample(plan)), skipped, tolerance=case.tolerance)
        other = GatePlan(plan.sites, plan.gates.roll(1, 0))  # each row follows its neighbour's
        assert differs(case.run(model, as_sample(other)), skipped, by=10 * case.tolerance)

    def test_multiplied_is_skipped_for_every_site_closed_in_all_rows(self, case: FamilyCase, model: nn.Module) -> None:
        sites = case.sites(model)
        for site in sites:
            plan = GatePlan.closing(sites, [site], len(case.contexts))
            assert_same(case.run(model, as_sample(plan)), case.run(model, plan), tolerance=case.tolerance)

    def test_multiplied_by_ones_is_the_base_model_and_by_zeros_all_closed(
        self, case: FamilyCase, model: nn.Module
    ) -> None:
        sites = case.sites(model)
        every, none = (make(sites, len(case.contexts)) for make in (GatePlan.all_open, _all_closed))
        assert_same(case.run(model, as_sample(every)), case.run(model, None), tolerance=case.tolerance)
        assert_same(case.run(model, as_sample(none)), case.run(model, none), tolerance=case.tolerance)

    def test_every_gate_has_a_gradient_open_or_closed(self, case: FamilyCase, model: nn.Module) -> None:
        plan = case.random_plan(model)
        with torch.enable_grad():
            gates = plan.gates.float().requires_grad_()
            sample = GateSample(plan.sites, gates, torch.zeros(*gates.shape, 2))
            case.run(model, sample)[1].square().mean().backward()
        assert gates.grad is not None
        # a site can be cut off from the loss in a row only by another gate that is closed: in some row it is not
        assert bool((gates.grad.abs().amax(dim=0) > 0).all())
        assert bool((gates.grad[~plan.gates] != 0).any())

    # --- incremental is full

    @pytest.mark.parametrize("chunking", ["one by one", "prompt, then one by one", "in threes"])
    def test_incremental_is_full(
        self, case: FamilyCase, model: nn.Module, chunking: str, record_property: Callable[[str, object], None]
    ) -> None:
        tokens = case.tokens(model, case.rows)
        length = tokens.shape[1]
        chunks = {"one by one": [1] * length, "prompt, then one by one": [4, *[1] * (length - 4)]}.get(chunking)
        chunks = chunks or [3] * (length // 3) + ([length % 3] if length % 3 else [])
        encoded = case.encode(model, case.embed(model, case.rows), None)
        ties = 0
        for plan in (None, *decoder_plans(case, model)):
            full = case.decode(model, tokens, encoded, plan)
            stepped = case.decode_incrementally(model, tokens, encoded, plan, chunks=chunks)
            torch.testing.assert_close(stepped, full, rtol=0, atol=case.tolerance)
            best = full.topk(2, dim=-1).values
            clear = best[..., 0] - best[..., 1] > 2 * case.tolerance
            assert torch.equal(stepped.argmax(dim=-1)[clear], full.argmax(dim=-1)[clear])
            ties += int((~clear).sum())
        record_property("ties", ties)

    def test_a_position_that_is_not_fed_is_missed(self, case: FamilyCase, model: nn.Module) -> None:
        tokens = case.tokens(model, case.rows)
        encoded = case.encode(model, case.embed(model, case.rows), None)
        full = case.decode(model, tokens, encoded, None)
        without = case.decode_incrementally(model, tokens[:, 1:], encoded, None, chunks=[1] * (tokens.shape[1] - 1))
        assert float((without[:, -1] - full[:, -1]).abs().max()) > 10 * case.tolerance

    # --- batch is single

    def test_batch_is_single(
        self, case: FamilyCase, model: nn.Module, record_property: Callable[[str, object], None]
    ) -> None:
        case.attach_random_gates(model)
        plan, (encoded, logits) = case.run_planned(model, case.rows)
        assert len({plan.key(row) for row in case.rows}) == len(case.contexts)  # the rows' plans differ
        found = case.search(model, encoded, case.rows, plan.of_stack("decoder"))
        ties = 0
        for row in case.rows:
            alone, (states, alone_logits) = case.run_planned(model, [row])
            assert alone.key() == plan.key(row)
            torch.testing.assert_close(within(encoded, row), within(states, 0), rtol=0, atol=case.tolerance)
            torch.testing.assert_close(logits[row], alone_logits[0], rtol=0, atol=case.tolerance)
            expected = case.search(model, states, [row], alone.of_stack("decoder"))[0]
            if found[row] != expected:
                decoder_plan = alone.of_stack("decoder")

                def after(prefix: list[int], states: SpeechStates = states, plan: GatePlan = decoder_plan) -> Tensor:
                    return case.decode(model, torch.tensor([prefix]), states, plan)[0, -1]

                assert tied_at(found[row], expected, after, 2 * case.tolerance)
                ties += 1
        assert len({tuple(tokens) for tokens in found}) > 1
        record_property("ties", ties)

    def test_each_row_follows_its_own_plan(self, case: FamilyCase, model: nn.Module) -> None:
        plan = case.random_plan(model)
        _, logits = case.run(model, plan)
        for row in case.rows:
            _, alone = case.run(model, plan.row(row), rows=[row])
            torch.testing.assert_close(logits[row], alone[0], rtol=0, atol=case.tolerance)
            _, other = case.run(model, plan.row((row + 1) % len(case.contexts)), rows=[row])
            assert float((logits[row] - other[0]).abs().max()) > 10 * case.tolerance

    def test_a_plan_has_one_row_for_all_or_one_for_each(self, case: FamilyCase, model: nn.Module) -> None:
        plan = case.random_plan(model).row(1)
        many = GatePlan.stack_rows([plan] * len(case.contexts))
        assert_same(case.run(model, plan), case.run(model, many), tolerance=0)
        short = GatePlan.stack_rows([plan] * (len(case.contexts) - 1))
        embedded, tokens = case.embed(model, case.rows), case.tokens(model, case.rows)
        with pytest.raises(SkipwiseError, match="one row or one per utterance"):
            case.encode(model, embedded, short)
        with pytest.raises(SkipwiseError, match="one row or one per utterance"):
            case.decode(model, tokens, case.encode(model, embedded, None), short)

    # --- what is pooled

    def test_only_frames_of_real_samples_are_pooled(self, case: FamilyCase, model: nn.Module) -> None:
        for states in (embedded := case.embed(model, case.rows), case.encode(model, embedded, None)):
            pooled = states.pooled()
            poisoned = SpeechStates(states.states.clone(), states.num_frames, states.num_real_frames)
            touched = SpeechStates(states.states.clone(), states.num_frames, states.num_real_frames)
            for row, end in enumerate(states.num_real_frames.tolist()):
                poisoned.states[row, end:] = 1e4
                touched.states[row, end - 1] += 1.0
            assert not torch.equal(poisoned.states, states.states)
            assert torch.equal(poisoned.pooled(), pooled)
            assert not torch.equal(touched.pooled(), pooled)

    # --- gates that layers decide on the way are a plan

    def test_layers_that_decide_for_themselves_follow_one_plan(self, case: FamilyCase, model: nn.Module) -> None:
        case.attach_random_gates(model, predictor=LOCAL)
        plan, run = case.run_planned(model, case.rows)
        assert set(plan.sites) == set(case.sites(model)) and 0.1 < plan.sparsity() < 0.9
        assert len({plan.key(row) for row in case.rows}) > 1
        detach(model)
        assert_same(run, case.run(model, plan), tolerance=case.tolerance)
        assert differs(run, case.run(model, None), by=10 * case.tolerance)

    def test_layers_decide_the_same_alone_and_in_a_batch(self, case: FamilyCase, model: nn.Module) -> None:
        case.attach_random_gates(model, predictor=LOCAL)
        plan, (_, logits) = case.run_planned(model, case.rows)
        for row in case.rows:
            alone, (_, own) = case.run_planned(model, [row])
            assert alone.key() == plan.key(row)
            torch.testing.assert_close(logits[row], own[0], rtol=0, atol=case.tolerance)

    # --- saved and loaded

    def test_a_saved_adapter_decides_the_same(self, case: FamilyCase, model: nn.Module, tmp_path: Path) -> None:
        adapter = case.attach_random_gates(model)
        plan, pruned = case.run_planned(model, case.rows)
        adapter.save_pretrained(tmp_path / "gates")
        again = case.build()
        attach(again, tmp_path / "gates")
        plan_again, pruned_again = case.run_planned(again, case.rows)
        assert plan_again.sites == plan.sites and torch.equal(plan_again.gates, plan.gates)
        assert_same(pruned_again, pruned, tolerance=0)

    def test_an_adapter_refuses_another_base(self, case: FamilyCase, model: nn.Module) -> None:
        case.attach_random_gates(model)
        adapter = detach(model)
        assert adapter is not None
        with pytest.raises(SkipwiseError, match="belongs to another base"):
            attach(case.build(seed=1), adapter)


class PaddedBatchSuite(ABC):
    """More tests, for a family that pads a batch to its longest row: nothing leaks from the padding into a row."""

    @abstractmethod
    def case(self) -> FamilyCase:
        """The family's case: a fixture."""

    def test_padding_does_not_leak_into_a_row(self, case: FamilyCase) -> None:
        model = case.build()
        embedded = case.embed(model, case.rows)
        poisoned = SpeechStates(embedded.states.clone(), embedded.num_frames, embedded.num_real_frames)
        for row, end in enumerate(embedded.num_frames.tolist()):
            poisoned.states[row, end:] = 1e4
        assert embedded.is_padded()
        plans = (None, GatePlan.all_open(case.sites(model), len(case.contexts)), case.random_plan(model))
        with torch.no_grad():
            for gates in (*plans, as_sample(case.random_plan(model))):
                clean, dirty = (case.encode(model, states, gates) for states in (embedded, poisoned))
                tokens = case.tokens(model, case.rows)
                logits = [case.decode(model, tokens, states, gates) for states in (clean, dirty)]
                # zeros times anything finite are zeros: the same bits
                assert_same((dirty, logits[1]), (clean, logits[0]), tolerance=0)
                assert torch.equal(clean.pooled(), dirty.pooled())

    def test_frames_beyond_the_end_would_change_a_row(self, case: FamilyCase) -> None:
        model = case.build()
        embedded = case.embed(model, case.rows)
        everywhere = torch.full_like(embedded.num_frames, embedded.states.shape[1])
        with torch.no_grad():
            masked = case.encode(model, embedded, None)
            unmasked = case.encode(model, SpeechStates(embedded.states, everywhere, embedded.num_real_frames), None)
        for row, end in enumerate(embedded.num_frames.tolist()):
            if end < embedded.states.shape[1]:
                difference = (masked.states[row, :end] - unmasked.states[row, :end]).abs().max()
                assert float(difference) > 10 * case.tolerance


def _all_closed(sites: Sequence[GateSite], num_rows: int) -> GatePlan:
    return GatePlan.closing(sites, sites, num_rows)
