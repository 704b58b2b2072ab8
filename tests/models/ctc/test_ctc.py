"""wav2vec2, HuBERT, WavLM and Parakeet with a CTC head hold the contract of a skipped branch.

They have no decoder, so of the five identities *incremental is full* has nothing to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    HubertConfig,
    HubertForCTC,
    ParakeetCTCConfig,
    ParakeetForCTC,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
)

from skipwise import Context, GateAdapter, GateConfig, GatePlan, GateSite, SkipwiseError, attach, detach, gated
from skipwise.decoding.encoder_only import recognise
from skipwise.gating import LocalPredictorConfig, LoraWeights, MlpPredictorConfig
from skipwise.gating.lora import LowRank
from skipwise.models.attach import describe_base
from skipwise.models.ctc.recordings import ctc_network_of, recordings
from skipwise.testing.case import as_sample, counted
from tests.tiny import tiny_network

# transformers' own, of WavLM's masks
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")

NUM_LAYERS = 3
LENGTHS = (4000, 2600, 3300)
TOLERANCE = 5e-5
"""fp32; measured 4e-6 between batch and single, 1e-6 between multiplied and skipped."""
_FORMS: dict[str, tuple[Any, Any]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC),
    "hubert": (HubertConfig, HubertForCTC),
    "wavlm": (WavLMConfig, WavLMForCTC),
}
RANDOM_PARTS = ("layerdrop", "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
RANDOM_PARTS += ("final_dropout", "mask_time_prob", "mask_feature_prob")
CASES = [(name, stable) for name in _FORMS for stable in (False, True)] + [("parakeet", True)]
HOP, NUM_MEL_BINS = 40, 16


def build(name: str, stable: bool, *, seed: int = 0, **more: Any) -> Any:
    if name == "parakeet":
        return _build_parakeet(seed=seed)
    config_class, model_class = _FORMS[name]
    config = config_class(
        vocab_size=12,
        hidden_size=32,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=4,
        intermediate_size=48,
        conv_dim=(16, 16),
        conv_kernel=(10, 3),
        conv_stride=(5, 4),
        feat_extract_norm="layer",
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=stable,
        initializer_range=0.3,
        pad_token_id=0,
        **more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config).eval()
        with torch.no_grad():
            model.lm_head.weight.normal_(std=0.5)
    return model


def _build_parakeet(*, seed: int) -> Any:
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_kernel_size": 5,
        "subsampling_factor": 4,
        "subsampling_conv_channels": 8,
        "num_mel_bins": NUM_MEL_BINS,
        "initializer_range": 0.3,
        **dict.fromkeys(("dropout", "dropout_positions", "layerdrop", "activation_dropout", "attention_dropout"), 0.0),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ParakeetForCTC(ParakeetCTCConfig(vocab_size=12, pad_token_id=0, encoder_config=encoder)).eval()
        with torch.no_grad():
            model.ctc_head.weight.normal_(std=0.5)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm1d):  # as after training
                    module.get_buffer("running_mean").normal_(std=0.1)
                    module.get_buffer("running_var").uniform_(0.5, 2.0)
    return model


@pytest.fixture(params=CASES, ids=[f"{name} {'pre' if stable else 'post'}-norm" for name, stable in CASES])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return build(*request.param)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _inputs(rows: Sequence[int] = range(3)) -> tuple[Tensor, Tensor]:
    lengths = [LENGTHS[row] for row in rows]
    values, mask = torch.zeros(len(lengths), max(lengths)), torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for place, row in enumerate(rows):
        generator = torch.Generator().manual_seed(row)
        tone = torch.sin(torch.arange(LENGTHS[row]) * (0.02, 0.3, 1.5)[row])  # other sounds, so that plans may differ
        values[place, : LENGTHS[row]] = tone + 0.05 * torch.randn(LENGTHS[row], generator=generator)
        mask[place, : LENGTHS[row]] = True
    return values, mask


def _heard(model: nn.Module, rows: Sequence[int] = range(3)) -> tuple[Tensor, Tensor, list[int]]:
    """What the model is given of these rows: samples, or features; their mask; and how much of each is real."""
    values, mask = _inputs(rows)
    lengths = [LENGTHS[row] for row in rows]
    if not isinstance(model, ParakeetForCTC):
        return values, mask, lengths
    frames = values.unfold(1, HOP, HOP)  # as good as any features of these sounds
    basis = torch.randn(HOP, NUM_MEL_BINS, generator=torch.Generator().manual_seed(9))
    num_frames = [length // HOP for length in lengths]
    real = torch.arange(frames.shape[1]) < torch.tensor(num_frames)[:, None]
    return (frames @ basis) * real[..., None], real, num_frames


def _run(model: nn.Module, *, rows: Sequence[int] = range(3), decider: Any = None) -> tuple[list[Tensor], Any]:
    """The logits of each row within its end, and what decided them."""
    values, mask, lengths = _heard(model, rows)
    with recordings(model, lengths=lengths, decider=decider) as call:
        logits = model(values, attention_mask=mask.long()).logits
    ends = ctc_network_of(model).num_frames(torch.tensor(lengths)).tolist()
    return [row[:end] for row, end in zip(logits, ends, strict=True)], call.decided()


def _same(found: Sequence[Tensor], expected: Sequence[Tensor], *, tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


def _random_plan(model: nn.Module, *, seed: int = 0) -> GatePlan:
    sites = describe_base(model).sites
    return GatePlan(sites, torch.rand(3, len(sites), generator=torch.Generator().manual_seed(seed)) < 0.5)


def _random_gates(model: nn.Module, *, predictor: Any = None) -> GateAdapter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        predictor = predictor or MlpPredictorConfig(open_bias=0.0, output_std=3.0)
        return attach(model, GateConfig(scope="encoder", predictor=predictor))


def _modules(model: nn.Module, site: GateSite) -> list[nn.Module]:
    """What a closed site does not execute; WavLM's table of positions is asked for all layers, whatever is closed."""
    layer = ctc_network_of(model).encoder.layers[site.layer]
    if isinstance(model, ParakeetForCTC):
        names = {"ffn1": "feed_forward1", "ffn2": "feed_forward2"}
        norms = {"self_attn": "norm_self_att", "conv": "norm_conv"}
        name = names.get(site.kind, site.kind)
        tops = [layer.get_submodule(name), layer.get_submodule(norms.get(site.kind, f"norm_{name}"))]
        return [module for top in tops for module in top.modules()]
    tops = {"self_attn": [layer.attention], "ffn": [layer.feed_forward]}[site.kind]
    if "PreNorm" in type(layer).__mro__[1].__name__ or "StableLayerNorm" in type(layer).__name__:
        tops.append({"self_attn": layer.layer_norm, "ffn": layer.final_layer_norm}[site.kind])
    return [module for top in tops for name, module in top.named_modules() if name != "rel_attn_embed"]


def test_all_open_is_the_base_model_bit_for_bit(model: nn.Module) -> None:
    base, _ = _run(model)
    for plan in (GatePlan.all_open(describe_base(model).sites), GatePlan.all_open(())):
        with gated(model, plan):
            _same(_run(model)[0], base, tolerance=0)


def test_detached_is_the_base_model_bit_for_bit(model: nn.Module) -> None:
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]
    base, _ = _run(model)
    adapter = _random_gates(model)
    pruned, plan = _run(model)
    assert 0.1 < plan.sparsity() < 0.9 and len({plan.key(row) for row in range(3)}) > 1
    assert not any(torch.allclose(one, other) for one, other in zip(pruned, base, strict=True))
    assert [key for key in model.state_dict() if not key.startswith("gate_adapter.")] == list(before)
    assert detach(model) is adapter
    assert [type(module) for module in model.modules()] == classes and list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    _same(_run(model)[0], base, tolerance=0)


def test_a_closed_site_is_not_executed_and_the_others_are(model: nn.Module) -> None:
    sites, (base, _) = describe_base(model).sites, _run(model)
    kinds = ["ffn1", "self_attn", "conv", "ffn2"] if isinstance(model, ParakeetForCTC) else ["self_attn", "ffn"]
    assert [str(site) for site in sites] == [f"encoder.{i}.{kind}" for i in range(NUM_LAYERS) for kind in kinds]
    for site in sites:
        with gated(model, GatePlan.closing(sites, [site])):
            others = [_modules(model, other)[0] for other in sites if other != site]
            with counted(_modules(model, site)) as closed, counted(others) as running:
                found, _ = _run(model)
        assert not any(call.rows for call in closed), site
        assert [call.rows for call in running] == [[3]] * len(others), site
        assert not any(torch.allclose(one, other) for one, other in zip(found, base, strict=True)), site


def test_rows_of_a_batch_follow_their_own_plans(model: nn.Module) -> None:
    plan = _random_plan(model)
    with gated(model, plan), counted([_modules(model, site)[0] for site in plan.sites]) as calls:
        mixed, _ = _run(model)
    open_rows = plan.gates.sum(dim=0).tolist()
    assert [call.rows for call in calls] == [[rows] if rows else [] for rows in open_rows]
    for row in range(3):
        with gated(model, plan.row(row)):
            _same([mixed[row]], _run(model, rows=[row])[0], tolerance=TOLERANCE)


def test_multiplied_is_skipped(model: nn.Module) -> None:
    plan = _random_plan(model, seed=1)

    class Multiplying:
        def encoder(self, *_: Any) -> Any:
            return as_sample(plan)

    with gated(model, plan):
        skipped, multiplied = _run(model)[0], _run(model, decider=Multiplying())[0]
    _same(multiplied, skipped, tolerance=TOLERANCE)


def test_a_batch_is_its_rows(model: nn.Module) -> None:
    values, mask, lengths = _heard(model)
    _random_gates(model)
    together, plan = _run(model)
    tokens = recognise(model, values, lengths=lengths, attention_mask=mask)
    assert any(tokens)
    assert recognise(model, values, attention_mask=mask) == tokens, "the mask says as much"
    for row in range(3):
        alone, own = _run(model, rows=[row])
        assert own.key() == plan.key(row)
        _same(alone, [together[row]], tolerance=TOLERANCE)
        one, its_mask, length = _heard(model, [row])
        assert recognise(model, one, lengths=length, attention_mask=its_mask) == [tokens[row]]
    detach(model)
    assert recognise(model, values, lengths=lengths, attention_mask=mask) != tokens


def test_padding_is_not_pooled(model: nn.Module) -> None:
    seen: list[Tensor] = []

    class Recording:
        def encoder(self, contexts: Sequence[Context], pooled: Tensor) -> GatePlan:
            assert list(contexts) == [Context(task="asr")] * len(pooled)
            seen.append(pooled)
            return GatePlan.all_open((), len(pooled))

    with gated(model, GatePlan.all_open(())):
        _run(model, decider=Recording())
        for row in range(3):
            _run(model, rows=[row], decider=Recording())
    torch.testing.assert_close(seen[0], torch.cat(seen[1:]), rtol=0, atol=TOLERANCE)


def test_layers_may_decide_for_themselves(model: nn.Module) -> None:
    _random_gates(model, predictor=LocalPredictorConfig(open_bias=0.0, output_std=3.0))
    together, plan = _run(model)
    assert 0 < plan.sparsity() < 1
    alone, own = _run(model, rows=[1])
    assert own.key() == plan.key(1)
    _same(alone, [together[1]], tolerance=TOLERANCE)


def test_an_adapter_is_saved_and_refuses_another_base(model: nn.Module, tmp_path: Path) -> None:
    adapter = _random_gates(model)
    assert adapter.base.family == "ctc" and adapter.base.tasks == ("asr",)
    adapter.save_pretrained(tmp_path / "gates")
    plan = _run(model)[1]
    detach(model)
    attach(model, tmp_path / "gates")
    assert torch.equal(_run(model)[1].gates, plan.gates)
    detach(model)
    other = build("hubert", False, seed=1)
    with pytest.raises(SkipwiseError, match="belongs to another base: it names ctc"):
        attach(other, tmp_path / "gates")


def test_low_rank_changes_are_made_and_taken_back() -> None:
    model = build("wav2vec2", True)
    weight = model.get_submodule("wav2vec2.encoder.layers.0.feed_forward.intermediate_dense").weight
    before = weight.clone()
    lora = LoraWeights(
        0.5,
        {"wav2vec2.encoder.layers.0.feed_forward.intermediate_dense": LowRank(torch.ones(2, 32), torch.ones(48, 2))},
    )
    base = describe_base(model)
    attach(model, GateAdapter(GateConfig(scope="encoder"), base, lora=lora))
    changed = model.get_submodule("wav2vec2.encoder.layers.0.feed_forward.intermediate_dense").weight
    torch.testing.assert_close(changed, before + 1)
    assert describe_base(model) == base
    detach(model)
    assert model.get_submodule("wav2vec2.encoder.layers.0.feed_forward.intermediate_dense").weight is weight


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")  # newest transformers
@pytest.mark.parametrize("name", [*_FORMS, "parakeet"])
def test_recomputing_layers_in_the_backward_pass_follows_the_same_gates(name: str) -> None:
    gradients = []
    for recomputes in (False, True):
        nothing_random: dict[str, Any] = dict.fromkeys(RANDOM_PARTS, 0.0)
        model = build(name, True, **nothing_random)
        if recomputes:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        with torch.enable_grad(), gated(model, _random_plan(model)):
            logits, _ = _run(model)
            torch.cat(logits).square().mean().backward()
        gradients.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][key], gradients[1][key]) for key in gradients[0])


def test_what_does_not_work_is_one_clear_error() -> None:
    model = build("wav2vec2", False)
    _random_gates(model)
    values, mask = _inputs()
    with pytest.raises(SkipwiseError, match="how much of each row is real, which the model is not told"):
        model(values, attention_mask=mask.long())
    with pytest.raises(SkipwiseError, match="one length, got 1 and 3"):
        with recordings(model, lengths=LENGTHS, contexts=[Context()]):
            pass
    with recordings(model, lengths=LENGTHS[:2]), pytest.raises(SkipwiseError, match="knows 2 rows, and got 3"):
        model(values, attention_mask=mask.long())
    with pytest.raises(SkipwiseError, match=r"with a CTC head \(ForCTC\); got a OwsmNetwork"):
        recognise(tiny_network(), values, lengths=LENGTHS)
    with pytest.raises(SkipwiseError, match="give lengths, or the attention_mask"):
        recognise(model, values)
    with pytest.raises(SkipwiseError, match="adapters of languages in its layers"):
        attach(build("wav2vec2", True, adapter_attn_dim=4), GateConfig())


def test_the_example_in_the_docs_runs() -> None:
    path = Path(__file__).parents[3] / "docs" / "encoder_only.md"
    if not path.is_file():
        pytest.skip("a source distribution has no docs")
    code = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    names: dict[str, Any] = {"model": build("wavlm", False), "input_values": _inputs()[0], "lengths": LENGTHS}
    exec(compile(code, str(path), "exec"), names)
    assert len(names["tokens"]) == 3
