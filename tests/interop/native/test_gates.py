"""Gates on a live `ESPnetS2TModel` hold the contract of a skipped branch, and are those of the port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("espnet2", reason="needs ESPnet: `make oracle`")

from espnet.nets.pytorch_backend.transformer.mask import subsequent_mask
from espnet2.bin.s2t_inference import Speech2Text

from skipwise import GateConfig, GatePlan, GateSite, SkipwiseError, attach, detach, gated
from skipwise.gating import AdapterPlanner, GateAdapter, LocalPredictorConfig, LoraWeights, Planner
from skipwise.gating.lora import LowRank
from skipwise.models.attach import describe_base
from skipwise.models.espnet.network import architecture_of
from skipwise.models.espnet.utterances import utterances
from skipwise.models.owsm.loading import OwsmModel, load_owsm
from skipwise.models.planned import decoder_gates, encode_planned
from skipwise.testing.case import as_sample, counted
from tests.interop.native.models import (
    CLIPS,
    CONTEXTS,
    NUM_REAL,
    TOLERANCE,
    attached,
    embedded,
    modules_of,
    random_gates,
    run_espnet,
    run_espnet_base,
    run_port,
    speech2text,
    tokens_of,
    window,
)
from tests.step_planners import HashedGates


@pytest.fixture(scope="module")
def s2t(folder: Path) -> Speech2Text:
    return speech2text(folder)


@pytest.fixture(scope="module")
def port(folder: Path) -> OwsmModel:
    return load_owsm(folder)


def _random_plan(sites: tuple[Any, ...], *, num_rows: int = 3, seed: int = 0) -> GatePlan:
    return GatePlan(sites, torch.rand(num_rows, len(sites), generator=torch.Generator().manual_seed(seed)) < 0.5)


def test_the_base_of_an_adapter_is_that_of_the_port(s2t: Speech2Text, port: OwsmModel) -> None:
    assert describe_base(s2t) == describe_base(s2t.s2t_model) == describe_base(port.network)
    bias = s2t.s2t_model.decoder.output_layer.bias
    with torch.no_grad():
        bias[0] += 1
        assert describe_base(s2t).fingerprint != describe_base(port.network).fingerprint
        bias[0] -= 1


def test_detached_is_the_base_model_bit_for_bit(folder: Path) -> None:
    s2t = speech2text(folder)
    model = s2t.s2t_model
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    classes, attributes = [type(m) for m in model.modules()], [set(m.__dict__) for m in model.modules()]
    base = run_espnet_base(model)
    adapter = random_gates(s2t)
    assert type(s2t).__name__ == "GatedSpeech2Text" and isinstance(s2t, Speech2Text)
    assert [key for key in model.state_dict() if not key.startswith("gate_adapter.")] == list(before)
    pruned = run_espnet(model)
    assert pruned.plan is not None and 0.1 < pruned.plan.sparsity() < 0.9
    assert not torch.allclose(pruned.logits, base.logits)
    assert detach(s2t) is adapter
    assert type(s2t) is Speech2Text
    assert [type(m) for m in model.modules()] == classes
    assert [set(m.__dict__) for m in model.modules()] == attributes
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    after = run_espnet_base(model)
    assert torch.equal(after.encoder, base.encoder) and torch.equal(after.logits, base.logits)


def test_all_open_is_the_base_model_bit_for_bit(s2t: Speech2Text) -> None:
    model = s2t.s2t_model
    base = run_espnet_base(model)
    for plan in (GatePlan.all_open(describe_base(model).sites), GatePlan.all_open(())):
        with gated(model, plan):
            found = run_espnet(model)
        assert torch.equal(found.encoder, base.encoder) and torch.equal(found.logits, base.logits)


def test_all_open_is_the_base_model_in_training_too(folder: Path) -> None:
    model = speech2text(folder).s2t_model.train()
    model.encoder.layer_drop_rate = 0.5  # published models were trained so
    torch.manual_seed(0)
    base = run_espnet_base(model)
    with gated(model, GatePlan.all_open(())):
        torch.manual_seed(0)
        found = run_espnet(model)
    assert torch.equal(found.encoder, base.encoder) and torch.equal(found.logits, base.logits)
    assert not torch.equal(run_espnet_base(model).encoder, base.encoder)  # drops something else


def test_a_closed_site_is_not_executed_and_computes_what_the_port_does(s2t: Speech2Text, port: OwsmModel) -> None:
    model, sites = s2t.s2t_model, describe_base(s2t).sites
    base = run_espnet_base(model)
    for site in sites:
        plan = GatePlan.closing(sites, [site])
        inside, others = modules_of(model, site), [modules_of(model, other)[0] for other in sites if other != site]
        with gated(model, plan), counted(inside) as closed, counted(others) as running:
            found = run_espnet(model)
        assert not any(call.rows for call in closed), site
        assert [call.rows for call in running] == [[3]] * len(others), site
        assert not torch.allclose(found.logits, base.logits), site
        expected = run_port(port, plan)
        torch.testing.assert_close(found.encoder, expected.encoder, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=TOLERANCE)


def test_rows_of_a_batch_follow_their_own_plans(s2t: Speech2Text, port: OwsmModel) -> None:
    model, plan = s2t.s2t_model, _random_plan(describe_base(s2t).sites)
    tops = [modules_of(model, site)[0] for site in plan.sites]
    with gated(model, plan), counted(tops) as calls:
        found = run_espnet(model)
    open_rows = plan.gates.sum(dim=0).tolist()
    assert [call.rows for call in calls] == [[rows] if rows else [] for rows in open_rows]
    assert len(set(open_rows)) > 2
    expected = run_port(port, plan)
    torch.testing.assert_close(found.encoder, expected.encoder, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=TOLERANCE)


def test_closed_everywhere_nothing_gateable_runs(s2t: Speech2Text, port: OwsmModel) -> None:
    model, sites = s2t.s2t_model, describe_base(s2t).sites
    plan = GatePlan.closing(sites, sites)
    inside = [module for site in sites for module in modules_of(model, site)]
    merges = [layer.merge_proj for layer in model.encoder.encoders]
    always = [
        *(layer.norm_final for layer in model.encoder.encoders),
        model.encoder.after_norm,
        model.decoder.after_norm,
    ]
    with gated(model, plan), counted([*inside, *merges]) as closed, counted(always) as open_calls:
        found = run_espnet(model)
    assert not any(call.rows for call in closed)
    assert [call.rows for call in open_calls] == [[3]] * len(always)
    torch.testing.assert_close(found.logits, run_port(port, plan).logits, rtol=0, atol=TOLERANCE)


def test_multiplied_is_skipped(s2t: Speech2Text) -> None:
    model, plan = s2t.s2t_model, _random_plan(describe_base(s2t).sites, seed=1)

    class Multiplying:
        """The plan's decisions as gates that multiply."""

        def encoder(self, *_: Any) -> Any:
            return as_sample(plan.of_stack("encoder"))

        def decoder(self, *_: Any) -> Any:
            return as_sample(plan.of_stack("decoder"))

    with gated(model, plan):
        skipped, multiplied = run_espnet(model), run_espnet(model, Multiplying())
    assert multiplied.plan is None
    torch.testing.assert_close(multiplied.encoder, skipped.encoder, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(multiplied.logits, skipped.logits, rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_step_by_step_is_the_whole_prefix_and_closed_sites_run_in_no_step(s2t: Speech2Text) -> None:
    model, sites = s2t.s2t_model, describe_base(s2t).sites
    tokens, (speech, lengths) = tokens_of(model), window(CLIPS)
    plans = [_random_plan(sites, num_rows=3, seed=seed) for seed in range(3)]
    plans += [GatePlan.closing(sites, [site], 3) for site in sites if site.stack == "decoder"]
    for plan in plans:
        closed = [
            module
            for site in plan.closed()
            if not plan.gates[:, sites.index(site)].any()
            for module in modules_of(model, site)
        ]
        with gated(model, plan), utterances(model, contexts=CONTEXTS, num_real_samples=NUM_REAL):
            encoded, num_frames = model.encode(speech, lengths)
            full, _ = model.decoder(encoded, num_frames, tokens, torch.full((3,), tokens.shape[1]))
            cache = None
            with counted(closed) as calls:
                for length in range(4, tokens.shape[1] + 1):  # the prompt at once, and then one by one
                    mask = subsequent_mask(length).unsqueeze(0)
                    scores, cache = model.decoder.forward_one_step(tokens[:, :length], mask, encoded, cache=cache)
                    expected = full[:, length - 1].log_softmax(dim=-1)
                    torch.testing.assert_close(scores, expected, rtol=0, atol=TOLERANCE)
        assert not any(call.rows for call in calls)


class _Recording(Planner):
    """Keeps what it is asked about, and leaves everything open."""

    def __init__(self) -> None:
        self.pooled: dict[str, torch.Tensor] = {}

    def encoder(self, contexts: Any, pooled_input: Any) -> GatePlan:
        self.pooled["encoder"] = pooled_input
        return GatePlan.all_open((), len(contexts))

    def decoder(self, contexts: Any, pooled_encoded: Any) -> GatePlan:
        self.pooled["decoder"] = pooled_encoded
        return GatePlan.all_open((), len(contexts))


def test_gates_see_the_frames_of_real_samples_alone(s2t: Speech2Text, port: OwsmModel) -> None:
    recording = _Recording()
    with attached(s2t, GateConfig()):
        run_espnet(s2t.s2t_model, recording)
    with torch.no_grad():
        states = embedded(port)
        encoded = port.network.encode(states)
    torch.testing.assert_close(recording.pooled["encoder"], states.pooled(), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(recording.pooled["decoder"], encoded.pooled(), rtol=0, atol=TOLERANCE)
    assert not torch.allclose(recording.pooled["encoder"], states.states.mean(dim=1), rtol=0, atol=100 * TOLERANCE)


@pytest.mark.parametrize("predictor", [None, LocalPredictorConfig(open_bias=0.0, output_std=1.0)], ids=["mlp", "local"])
def test_plans_are_those_of_the_port(
    s2t: Speech2Text, port: OwsmModel, tmp_path: Path, predictor: LocalPredictorConfig | None
) -> None:
    adapter = random_gates(s2t, predictor=predictor)
    try:
        adapter.save_pretrained(tmp_path / "gates")
        found = run_espnet(s2t.s2t_model)
    finally:
        detach(s2t)
    assert found.plan is not None
    assert len({found.plan.key(row) for row in range(3)}) > 1
    assert torch.equal(found.plan.gates, _port_plan(port, GateAdapter.from_pretrained(tmp_path / "gates")).gates)


@torch.no_grad()
def _port_plan(port: OwsmModel, adapter: GateAdapter) -> GatePlan:
    network, planner = port.network, AdapterPlanner(adapter)
    encoded, plan = encode_planned(network.encode, planner, CONTEXTS, embedded(port))
    prompts = [row[:4] for row in tokens_of(network).tolist()]
    of_decoder = decoder_gates(network, planner, CONTEXTS, encoded, prompts)
    assert isinstance(of_decoder, GatePlan)
    return plan.join(of_decoder)


def test_low_rank_changes_go_with_the_gates_both_ways(folder: Path, port: OwsmModel, tmp_path: Path) -> None:
    s2t = speech2text(folder)
    model, base = s2t.s2t_model, describe_base(port.network)
    weight = model.decoder.decoders[0].feed_forward.w_1.weight
    before = weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    up, down = (
        torch.randn(weight.shape[0], 2, generator=generator),
        torch.randn(2, weight.shape[1], generator=generator),
    )
    lora = LoraWeights(0.1, {"decoder.layers.0.ffn.fc1": LowRank(down, up)})
    GateAdapter(GateConfig(), base, lora=lora).save_pretrained(tmp_path / "gates")
    attach(s2t, tmp_path / "gates")
    assert describe_base(s2t) == base
    changed = model.decoder.decoders[0].feed_forward.w_1.weight
    torch.testing.assert_close(changed, before + 0.1 * up @ down)
    detach(s2t)
    assert model.decoder.decoders[0].feed_forward.w_1.weight is weight
    assert torch.equal(weight, before)


def test_recomputing_layers_in_the_backward_pass_follows_the_same_gates(folder: Path) -> None:
    model, gradients = speech2text(folder).s2t_model, []
    plan = _random_plan(describe_base(model).sites, seed=2)
    tokens, (speech, lengths) = tokens_of(model), window([clip[:16_000] for clip in CLIPS])
    for layers in ([], list(range(3))):
        model.encoder.gradient_checkpoint_layers = model.decoder.gradient_checkpoint_layers = layers
        model.zero_grad()
        with gated(model, plan), utterances(model, contexts=CONTEXTS, num_real_samples=[16_000] * 3):
            encoded, num_frames = model.encode(speech[:, :48_000], lengths.clamp_max(48_000))
            logits, _ = model.decoder(encoded, num_frames, tokens, torch.full((3,), tokens.shape[1]))
            logits.square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_what_does_not_work_is_one_clear_error(folder: Path, s2t: Speech2Text) -> None:
    model = s2t.s2t_model
    speech, lengths = window(CLIPS[:1])
    with attached(s2t, GateConfig()):
        with pytest.raises(SkipwiseError, match="has gates already"):
            attach(s2t, GateConfig())
        with pytest.raises(SkipwiseError, match="how much of the audio is real, which ESPnet does not pass"):
            model.encode(speech, lengths)
        with pytest.raises(SkipwiseError, match="one number of real samples, got 1 and 2"):
            with utterances(model, contexts=CONTEXTS[:1], num_real_samples=NUM_REAL[:2]):
                pass
        with utterances(model, contexts=CONTEXTS[:1], num_real_samples=NUM_REAL[:1]):
            with pytest.raises(SkipwiseError, match="nothing was encoded in this call"):
                model.decoder.forward_one_step(torch.tensor([[1]]), subsequent_mask(1)[None], torch.zeros(1, 5, 32))
            with pytest.raises(SkipwiseError, match="partially autoregressive"):
                model.decoder.forward_partially_AR()
            with pytest.raises(SkipwiseError, match="knows 1 rows, and got 2"):
                model.encode(*window(CLIPS[:2]))
    other = speech2text(folder)
    with torch.no_grad():
        other.s2t_model.ctc.ctc_lo.bias += 1
    adapter = random_gates(other)
    with pytest.raises(SkipwiseError, match="belongs to another base"):
        attach(s2t, adapter)
    assert type(s2t) is Speech2Text and "gate_adapter" not in dict(model.named_children())
    model.encoder.interctc_layer_idx = [1]
    with pytest.raises(SkipwiseError, match="this model has intermediate CTC"):
        architecture_of(model)
    model.encoder.interctc_layer_idx = []


class _Stepwise(_Recording):
    def decoder(self, contexts: Any, pooled_encoded: Any) -> Any:
        return HashedGates((GateSite("decoder", 0, "ffn"),), pooled_encoded.shape[1], len(contexts))


def test_steps_with_plans_of_their_own_are_refused(s2t: Speech2Text) -> None:
    with attached(s2t, GateConfig()), pytest.raises(SkipwiseError, match="no plans for single steps"):
        run_espnet(s2t.s2t_model, _Stepwise())
