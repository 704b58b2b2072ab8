import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import GatePlan, GateSample, GateSite, sparsity_by_stack
from skipwise.gating.branch import OPEN, RowGate, ScaledGate

SITES = (GateSite("encoder", 0, "cgmlp"), GateSite("decoder", 0, "ffn"), GateSite("decoder", 1, "src_attn"))


def test_a_site_is_written_and_read_alike():
    for site in SITES:
        assert GateSite.parse(str(site)) == site


@pytest.mark.parametrize("text", ["decoder.ffn", "middle.0.ffn", "decoder.x.ffn", "decoder.0.", ""])
def test_a_wrong_site_says_how_sites_are_written(text):
    with pytest.raises(SkipwiseError, match=r"<stack>.<layer>.<kind>"):
        GateSite.parse(text)


def test_closing_closes_what_it_names_and_nothing_else():
    plan = GatePlan.closing(SITES, ["decoder.1.src_attn"], num_rows=2)
    assert plan.closed(0) == plan.closed(1) == (SITES[2],)
    assert plan.key() == (True, True, False)


def test_closing_an_unknown_site_names_it():
    with pytest.raises(SkipwiseError, match=r"no site decoder\.9\.ffn.*decoder\.0\.ffn"):
        GatePlan.closing(SITES, ["decoder.9.ffn"])


def test_sparsity_is_the_share_that_is_skipped_per_stack():
    plan = GatePlan(SITES, torch.tensor([[True, False, True], [False, False, True]]))
    assert plan.sparsity("encoder") == pytest.approx(0.5)
    assert plan.sparsity("decoder") == pytest.approx(0.5)
    assert sparsity_by_stack(plan.of_stack("decoder")) == {"decoder": pytest.approx(0.5)}


def test_layer_gates_list_the_open_rows_and_leave_open_sites_out_of_it():
    plan = GatePlan(SITES, torch.tensor([[True, False, True], [True, True, True], [True, True, True]]))
    first, second = plan.layer_gates("decoder", 2)
    assert isinstance(first["ffn"], RowGate) and first["ffn"].rows.tolist() == [1, 2]
    assert second["src_attn"] is OPEN


def test_a_sample_multiplies_and_its_arg_max_ignores_the_noise():
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
    sample = GateSample(SITES, torch.tensor([[0.0, 1.0, 0.0]]), logits)
    (gates,) = sample.layer_gates("encoder", 1)
    assert isinstance(gates["cgmlp"], ScaledGate)
    assert sample.arg_max().key() == (True, False, True)
    assert float(sample.sparsity()) == pytest.approx(2 / 3)


def test_a_plan_for_another_number_of_rows_is_refused():
    with pytest.raises(SkipwiseError, match=r"one row or one per utterance \(3\); got 2"):
        GatePlan.all_open(SITES, 2).expand(3)


def test_rows_and_joins_keep_every_decision():
    plan = GatePlan(SITES, torch.tensor([[True, False, True], [False, True, False]]))
    again = GatePlan.stack_rows([plan.row(0), plan.row(1)])
    joined = again.of_stack("encoder").join(again.of_stack("decoder"))
    assert torch.equal(joined.gates, plan.gates) and joined.sites == plan.sites
