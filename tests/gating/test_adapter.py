import dataclasses
import json
from dataclasses import replace

import pytest
import torch
import yaml

from skipwise.errors import SkipwiseError
from skipwise.gating import (
    AdapterPlanner,
    Budget,
    Context,
    FixedPlanner,
    GateAdapter,
    GateConfig,
    GatePlan,
    GateSample,
    MlpPredictorConfig,
    PenaltyConfig,
    Sampling,
    SparsityPenalty,
)
from skipwise.gating.card import model_card
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.draws import RowDraws

DEU_ASR, FRA_ST = Context(language="deu", task="asr"), Context(language="fra", task="st_eng")


def _adapter(base, **config) -> GateAdapter:
    """An adapter whose decisions vary: the default initialisation opens everything."""
    torch.manual_seed(0)
    predictor = MlpPredictorConfig(open_bias=0.0, output_std=1.0)
    return GateAdapter(GateConfig(predictor=predictor, **config), base, notes={"made": "in a test"}).eval()


def test_a_fresh_adapter_opens_everything(base):
    adapter = GateAdapter(GateConfig(scope="both"), base)
    for stack in ("encoder", "decoder"):
        assert adapter.plan(stack, [DEU_ASR], torch.randn(1, 8)).sparsity() == 0.0


@pytest.mark.parametrize(("scope", "gated"), [("encoder", {"encoder"}), ("decoder", {"decoder"})])
def test_only_the_stacks_in_scope_are_decided(base, scope, gated):
    adapter = _adapter(base, scope=scope)
    for stack in ("encoder", "decoder"):
        plan = adapter.plan(stack, [DEU_ASR], torch.randn(1, 8))
        assert bool(plan.sites) == (stack in gated)


def test_the_decision_depends_on_every_part_of_the_context(base):
    adapter, pooled = _adapter(base), torch.randn(1, 8)
    plain = adapter.logits("decoder", [DEU_ASR], pooled)
    for context, speech in (
        (Context(language="fra", task="asr"), pooled),
        (Context(language="deu", task="st_eng"), pooled),
        (DEU_ASR, pooled + torch.randn(1, 8)),
        (Context(task="asr"), pooled),
    ):
        assert not torch.allclose(adapter.logits("decoder", [context], speech), plain)


def test_parts_left_out_of_the_config_do_not_matter(base):
    adapter = _adapter(base, context=("task",))
    first = adapter.logits("decoder", [DEU_ASR], torch.randn(1, 8))
    other = adapter.logits("decoder", [Context(language="fra", task="asr")], torch.randn(1, 8))
    assert torch.equal(first, other)


def test_an_unknown_value_is_the_learned_unknown(base):
    adapter, pooled = _adapter(base), torch.randn(1, 8)
    assert torch.equal(
        adapter.logits("decoder", [Context(language="xho", task="asr")], pooled),
        adapter.logits("decoder", [Context(task="asr")], pooled),
    )


def test_context_dropout_hides_parts_and_reaches_the_unknown_values(base):
    adapter = _adapter(base)
    logits = adapter.logits(
        "decoder", [DEU_ASR] * 64, torch.randn(64, 8), dropout=0.5, draws=RowDraws.for_all(torch.Generator(), 64)
    )
    logits.sum().backward()
    gradients = {name: parameter.grad for name, parameter in adapter.predictors["decoder"].named_parameters()}
    for unknown in (gradients["unknown_speech"], gradients["language_embedding.weight"]):
        assert unknown is not None and unknown.reshape(-1, 8)[0].abs().sum() > 0


def test_an_elastic_adapter_depends_on_the_budget_and_takes_its_own_where_none_is_asked_for(base):
    adapter, pooled = _adapter(base, context=(*HIDEABLE_PARTS, "budget"), sparsity=0.4), torch.randn(1, 8)
    at = {budget: adapter.logits("decoder", [replace(DEU_ASR, budget=budget)], pooled) for budget in (0.0, 0.4, 0.45)}
    assert torch.equal(adapter.logits("decoder", [DEU_ASR], pooled), at[0.4])
    assert not torch.allclose(at[0.0], at[0.4])
    # a budget between two points lies between them before the first activation: a small change is a small change
    assert (at[0.45] - at[0.4]).abs().max() < (at[0.0] - at[0.4]).abs().max()
    fixed = _adapter(base)
    assert torch.equal(
        fixed.logits("decoder", [replace(DEU_ASR, budget=0.9)], pooled), fixed.logits("decoder", [DEU_ASR], pooled)
    )
    assert not fixed.is_elastic and adapter.is_elastic


@pytest.mark.parametrize(("budget", "closed"), [(0.0, 0), (0.3, 3), (0.5, 5), (0.88, 8), (0.95, 9)])
def test_an_exact_plan_closes_the_least_likely_sites_until_the_budget_is_met(base, budget, closed):
    adapter, pooled = _adapter(base), torch.randn(3, 8)
    contexts = [replace(DEU_ASR, budget=budget)] * 3
    plan = adapter.plan("decoder", contexts, pooled, exact=True)
    logits = adapter.logits("decoder", contexts, pooled)
    margins = logits[..., 1] - logits[..., 0]
    for row in range(3):
        assert int((~plan.gates[row]).sum()) == closed
        if 0 < closed < 9:
            assert margins[row][~plan.gates[row]].max() <= margins[row][plan.gates[row]].min()


def test_a_planner_asks_for_a_budget_where_the_context_has_none(base):
    elastic, pooled = _adapter(base, context=(*HIDEABLE_PARTS, "budget")), torch.randn(2, 8)
    contexts = [DEU_ASR, replace(FRA_ST, budget=0.1)]
    plan = AdapterPlanner(elastic, Budget(sparsity=0.8)).decoder(contexts, pooled)
    assert isinstance(plan, GatePlan)
    expected = elastic.plan("decoder", [replace(DEU_ASR, budget=0.8), contexts[1]], pooled)
    assert torch.equal(plan.gates, expected.gates)
    exactly = AdapterPlanner(_adapter(base), Budget(sparsity=0.7, exact=True)).decoder(contexts[:1], pooled[:1])
    assert isinstance(exactly, GatePlan) and exactly.sparsity() == pytest.approx(6 / 9)
    with pytest.raises(SkipwiseError, match=r"sparsity must be in \[0, 1\), got 1.0. For the base model"):
        AdapterPlanner(elastic, Budget(sparsity=1.0))
    with pytest.raises(SkipwiseError, match=r"trained for a sparsity of 0.5, got 0.7. Ask for exactly that much"):
        AdapterPlanner(_adapter(base), Budget(sparsity=0.7))


@pytest.mark.parametrize("exact", [False, True])
def test_a_budget_may_be_for_one_stack_and_the_other_runs_whole(base, exact):
    adapter = _adapter(base, scope="both", context=(*HIDEABLE_PARTS, "budget"))
    contexts, pooled = [DEU_ASR, FRA_ST], torch.randn(2, 8)
    whole = AdapterPlanner(adapter, Budget(sparsity=0.6, exact=exact))
    for scope, other in (("encoder", "decoder"), ("decoder", "encoder")):
        planner = AdapterPlanner(adapter, Budget(sparsity=0.6, exact=exact, scope=scope))
        pruned, kept = (getattr(planner, stack)(contexts, pooled) for stack in (scope, other))
        assert torch.equal(pruned.gates, getattr(whole, scope)(contexts, pooled).gates) and pruned.sparsity() > 0
        assert kept.gates.all() and kept.sites == adapter.sites(other) and len(kept.gates) == 2
        with pytest.raises(SkipwiseError, match=f"are on the {other} alone, and have nothing to prune in the {scope}"):
            AdapterPlanner(_adapter(base, scope=other), Budget(scope=scope))


def test_gates_may_prune_one_stack_unless_asked_for_more(base, tmp_path):
    adapter = _adapter(base, scope="both", default_scope="decoder", context=(*HIDEABLE_PARTS, "budget"))
    adapter.save_pretrained(tmp_path)
    adapter = GateAdapter.from_pretrained(tmp_path)
    contexts, pooled = [DEU_ASR, FRA_ST], torch.randn(2, 8)
    for asked, pruned in ((None, ("decoder",)), ("encoder", ("encoder",)), ("both", ("encoder", "decoder"))):
        planner = AdapterPlanner(adapter, Budget(sparsity=0.6, exact=True, scope=asked))
        shares = {stack: getattr(planner, stack)(contexts, pooled).sparsity() for stack in ("encoder", "decoder")}
        assert (
            {stack for stack, share in shares.items() if share > 0} == set(pruned) == set(adapter.pruned_stacks(asked))
        )
    assert "asked for no scope | prunes the decoder" in model_card(adapter)
    assert "asked for no scope" not in model_card(_adapter(base, scope="both"))
    with pytest.raises(SkipwiseError, match=r"default_scope must lie in the scope, decoder; got both"):
        _adapter(base, scope="decoder", default_scope="both")


def test_rows_are_decided_independently(base):
    adapter, pooled = _adapter(base), torch.randn(2, 8)
    both = adapter.plan("decoder", [DEU_ASR, FRA_ST], pooled)
    for row, context in enumerate((DEU_ASR, FRA_ST)):
        assert adapter.plan("decoder", [context], pooled[row : row + 1]).key() == both.key(row)


def test_saved_and_loaded_it_decides_the_same(base, tmp_path):
    adapter = _adapter(base, scope="both", sparsity=0.3, context=("task", "speech"))
    adapter.save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates")
    assert (loaded.config, loaded.base, loaded.notes) == (adapter.config, adapter.base, adapter.notes)
    for stack in ("encoder", "decoder"):
        pooled = torch.randn(2, 8)
        assert torch.equal(
            loaded.logits(stack, [DEU_ASR, FRA_ST], pooled), adapter.logits(stack, [DEU_ASR, FRA_ST], pooled)
        )


@pytest.mark.parametrize("form", ["absolute", "squared", "both", "lagrangian"])
def test_the_penalty_alone_brings_sparsity_to_its_target(base, form):
    torch.manual_seed(0)
    adapter = GateAdapter(GateConfig(), base)
    penalty = SparsityPenalty(PenaltyConfig(form=form))
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.03)
    contexts, pooled = [DEU_ASR, FRA_ST] * 32, torch.randn(64, 8)
    achieved = []
    for step in range(120):
        sample = adapter.sample(
            "decoder",
            contexts,
            pooled,
            sampling=Sampling(dropout=0.1),
            draws=RowDraws.for_all(torch.Generator().manual_seed(step), 64),
        )
        assert isinstance(sample, GateSample)
        sparsity = sample.sparsity()
        optimiser.zero_grad()
        penalty(sparsity, target=0.5, stack="decoder").backward()
        penalty.ascend(sparsity, target=0.5, stack="decoder")
        optimiser.step()
        achieved.append(float(sparsity.detach()))
    assert achieved[0] < 0.2
    # 576 gates a draw: one draw varies by 0.02, and Adam's steps by more
    assert sum(achieved[-20:]) / 20 == pytest.approx(0.5, abs=0.05)


def test_planners_answer_for_both_stacks(base):
    adapter, pooled = _adapter(base), torch.randn(1, 8)
    planner = AdapterPlanner(adapter)
    plans = planner.encoder([DEU_ASR], pooled), planner.decoder([DEU_ASR], pooled)
    assert isinstance(plans[0], GatePlan) and plans[0].sites == ()
    assert isinstance(plans[1], GatePlan) and plans[1].key() == adapter.plan("decoder", [DEU_ASR], pooled).key()
    fixed = FixedPlanner(GatePlan.closing(base.sites, ["encoder.0.cgmlp", "decoder.1.ffn"]))
    assert [str(site) for site in fixed.encoder([DEU_ASR], pooled).closed()] == ["encoder.0.cgmlp"]
    assert [str(site) for site in fixed.decoder([DEU_ASR], pooled).closed()] == ["decoder.1.ffn"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity must be in \[0, 1\), got 1.0"),
        ({"scope": "all"}, r"scope must be one of encoder, decoder, both; got 'all'"),
        ({"context": ("mood",)}, r"language, task, speech, speaker, event, budget; got mood"),
    ],
)
def test_a_wrong_config_says_what_is_allowed(wrong, message, unchecked):
    with pytest.raises(SkipwiseError, match=message):
        GateConfig(**wrong)


def test_a_folder_without_an_adapter_is_named(tmp_path):
    with pytest.raises(SkipwiseError, match=r"gate_config.json is missing"):
        GateAdapter.from_pretrained(tmp_path)
    with pytest.raises(SkipwiseError, match=r"not a folder"):
        GateAdapter.from_pretrained(tmp_path / "nowhere")


def test_damaged_files_are_named(base, tmp_path):
    folder = tmp_path / "gates"
    _adapter(base).save_pretrained(folder)
    weights = (folder / "gate_model.safetensors").read_bytes()
    (folder / "gate_model.safetensors").write_bytes(weights[:100])
    with pytest.raises(SkipwiseError, match=r"cannot read .*gate_model.safetensors"):
        GateAdapter.from_pretrained(folder)
    (folder / "gate_config.json").write_text("{")
    with pytest.raises(SkipwiseError, match=r"gate_config.json is not a gate adapter's config"):
        GateAdapter.from_pretrained(folder)


def test_an_unknown_predictor_names_the_known_ones(base, tmp_path):
    folder = tmp_path / "gates"
    _adapter(base).save_pretrained(folder)
    record = json.loads((folder / "gate_config.json").read_text())
    record["config"]["predictor"]["kind"] = "CrystalBallConfig"
    (folder / "gate_config.json").write_text(json.dumps(record))
    with pytest.raises(SkipwiseError, match=r"'CrystalBallConfig'. Known: .*MlpPredictorConfig"):
        GateAdapter.from_pretrained(folder)


def test_missing_and_unknown_weights_are_named(base, tmp_path):
    folder = tmp_path / "gates"
    _adapter(base, scope="decoder").save_pretrained(folder)
    other = GateAdapter(GateConfig(scope="both"), dataclasses.replace(base))
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "gate_model.safetensors").replace(folder / "gate_model.safetensors")
    with pytest.raises(SkipwiseError, match=r"missing or unknown keys: predictors.encoder"):
        GateAdapter.from_pretrained(folder)


def test_a_card_is_saved_with_what_is_known_of_the_gates(base, tmp_path):
    adapter = GateAdapter(GateConfig(scope="both", sparsity=0.4), base, notes={"base": "espnet/owsm_v3.1_ebf_base"})
    adapter.notes["results"] = {"dev wer": 12.345678, "dev bleu": 40.0}
    adapter.save_pretrained(tmp_path / "gates")
    card = (tmp_path / "gates" / "README.md").read_text(encoding="utf-8")
    header, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header) == {
        "library_name": "skipwise",
        "tags": ["speech", "dynamic-pruning", "toy"],
        "base_model": "espnet/owsm_v3.1_ebf_base",
    }
    assert "12 in the encoder, 9 in the decoder" in body and "a sparsity of 0.4 in each gated stack" in body
    assert "| dev wer | 12.35 |" in body and f"| weights | {adapter.num_weights:,} |" in body
    again = GateAdapter.from_pretrained(tmp_path / "gates")
    assert again.notes == adapter.notes
    again.notes = {"base": "./models/mine"}
    again.save_pretrained(tmp_path / "local")
    local = (tmp_path / "local" / "README.md").read_text(encoding="utf-8")
    assert "base_model" not in local and "## Results" not in local
