"""Several adapters on one model, by name; what a request may ask for; what is on a model; and peft beside it all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from skipwise.decoding import DecodeOptions
from skipwise.errors import SkipwiseError
from skipwise.gating import (
    Budget,
    Context,
    GateAdapter,
    GateConfig,
    GatePlan,
    Granularity,
    LibraryPlanner,
    LocalPredictorConfig,
    MlpPredictorConfig,
    Scope,
)
from skipwise.gating.adapter import GateBase
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.models import attach, detach, disable_gates, gate_summary, planners, print_gate_summary
from skipwise.models.attach import describe_base, fingerprint
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import OwsmModel
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.pipeline import Request, Transcriber
from tests.tiny import tiny_model, tiny_network, tone

OPTIONS = DecodeOptions(max_length_ratio=-6)
AUDIO = [(tone(1.2 + 0.3 * seed, seed=seed), 16_000) for seed in range(3)]


def random_gates(model: OwsmModel, seed: int, **config: Any) -> GateAdapter:
    torch.manual_seed(seed)
    predictor = MlpPredictorConfig(open_bias=0.2, output_std=1.0)
    settings: dict[str, Any] = {"predictor": predictor} | config
    return GateAdapter(GateConfig(**settings), describe_base(model.network)).eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OwsmModel:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def named(model: OwsmModel) -> dict[str, Any]:
    elastic = random_gates(model, 2, scope="both", context=(*HIDEABLE_PARTS, "budget"))
    return {"decoder": random_gates(model, 1, scope="decoder"), "both": elastic, "dense": None}


def test_requests_of_one_batch_follow_the_gates_that_they_name(model: OwsmModel, named: dict[str, Any]) -> None:
    library = Transcriber(model, gates=named, dtype="fp32", options=OPTIONS)
    names = [None, "both", "dense", "decoder"]
    requests = [Request(audio, "deu", gates=name) for name in names for audio in AUDIO]
    found = list(library.transcribe_many(requests))
    for request, transcript in zip(requests, found, strict=True):
        alone = Transcriber(model, gates=named[request.gates or "decoder"], dtype="fp32", options=OPTIONS)
        expected = alone.transcribe(request.audio, language="deu")
        assert transcript.text == expected.text
        (own,), (other,) = transcript.segments, expected.segments
        assert set(own.plan.closed()) == set(other.plan.closed())
    assert found[0].text == library.transcribe(AUDIO[0], language="deu").text, "the first is the default"
    assert len({transcript.text for transcript in found}) > 4, "else this proves little"


def test_each_request_may_have_a_sparsity_of_its_own(model: OwsmModel, named: dict[str, Any]) -> None:
    gates = named["both"]
    transcriber = Transcriber(model, gates=gates, sparsity=0.5, exact=True, dtype="fp32", options=OPTIONS)
    asked = [0.0, 0.25, None, 0.75]
    found = transcriber.transcribe_many([Request(AUDIO[0], "deu", sparsity=sparsity) for sparsity in asked])
    assert [transcript.sparsity["encoder"] for transcript in found] == [0.0, 0.25, 0.5, 0.75]


def test_what_cannot_be_asked_for_says_so(model: OwsmModel, named: dict[str, Any]) -> None:
    library = Transcriber(model, gates=named, options=OPTIONS)
    with pytest.raises(SkipwiseError, match=r"no gates named 'fast'. Named are: decoder, both, dense"):
        library.transcribe(AUDIO[0], language="deu", gates="fast")
    with pytest.raises(SkipwiseError, match=r"a sparsity of 0.3 is for an adapter to follow"):
        library.transcribe(AUDIO[0], language="deu", gates="dense", sparsity=0.3)
    with pytest.raises(SkipwiseError, match=r"trained for a sparsity of 0.5, got 0.3"):
        library.transcribe(AUDIO[0], language="deu", sparsity=0.3)
    with pytest.raises(SkipwiseError, match=r"sparsity must be in \[0, 1\), got 1.0"):
        library.transcribe(AUDIO[0], language="deu", gates="both", sparsity=1.0)
    with pytest.raises(SkipwiseError, match="there are not several: give the Transcriber gates by name"):
        Transcriber(model, gates=named["both"]).transcribe(AUDIO[0], language="deu", gates="both")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"predictor": LocalPredictorConfig()}, "decide while the model runs"),
        ({"granularity": "step"}, "decide while the model runs"),
    ],
)
def test_gates_that_cannot_share_a_batch_say_so(model: OwsmModel, config: dict[str, Any], reason: str) -> None:
    with pytest.raises(SkipwiseError, match=rf"the gates 'other' cannot be one of several: they {reason}"):
        Transcriber(model, gates={"one": None, "other": random_gates(model, 0, **config)})


def test_no_gates_at_all_are_no_library() -> None:
    with pytest.raises(SkipwiseError, match="needs one or more of them by name; got none"):
        LibraryPlanner({})


def test_a_library_reads_the_weights_of_its_base_once(
    model: OwsmModel, named: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[object] = []

    def describe(network: object) -> GateBase:
        described.append(network)
        return describe_base(network)

    monkeypatch.setattr(planners, "describe_base", describe)
    planners.planner_for(model, named, Budget())
    assert described == [model.network]
    planners.planner_for(model, {"dense": None}, Budget())
    assert len(described) == 1, "without an adapter they are not read at all"
    stranger = GateAdapter(GateConfig(), replace(named["both"].base, fingerprint="another"))
    with pytest.raises(SkipwiseError, match="belongs to another base: it names owsm another"):
        planners.planner_for(model, {**named, "stranger": stranger}, Budget())


def test_extractors_that_differ_say_so(model: OwsmModel) -> None:
    common = {"context": (*HIDEABLE_PARTS, "speaker"), "speaker_size": 160}
    gates: dict[str, Any] = {
        name: random_gates(model, 0, speaker_extractor=name, **common) for name in ("log_mel_statistics", "")
    }
    with pytest.raises(SkipwiseError, match="from one extractor, got log_mel_statistics and nothing"):
        Transcriber(model, gates=gates)


@torch.no_grad()
def test_disabled_gates_leave_the_base_and_come_back() -> None:
    network = tiny_network()
    features = network.extract([torch.tensor(AUDIO[0][0])])
    tokens = torch.randint(1512, 1580, (1, 5), generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([torch.tensor([network.config.prompt("deu", "asr")]), tokens], dim=1)

    def planned() -> GatePlan:
        from skipwise.models.attach import planner_of

        plan = planner_of(network).decoder([Context(language="deu")], network.encode(network.embed(features)).pooled())
        assert isinstance(plan, GatePlan)
        return plan

    base = network.decode(tokens, network.encode(network.embed(features)))
    attach(network, GateConfig(predictor=MlpPredictorConfig(open_bias=-1.0, output_std=0.1)))
    assert planned().sparsity() == 1.0
    with disable_gates(network):
        assert planned().sites == ()
        encoded = network.encode(network.embed(features))
        assert torch.equal(network.decode(tokens, encoded, planned()), base)
    assert planned().sparsity() == 1.0
    with contextlib.suppress(RuntimeError), disable_gates(network):
        raise RuntimeError
    assert planned().sparsity() == 1.0, "also after an error"
    detach(network)


@pytest.mark.parametrize("scope", ["decoder", "both"])
def test_the_summary_says_what_is_on_a_model(scope: Scope, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny_network()
    assert "no gates. Put some on with attach" in gate_summary(network)
    adapter = attach(network, GateConfig(scope=scope, sparsity=0.4))
    print_gate_summary(network)
    told = capsys.readouterr().out
    assert "owsm: 14 sites" in told and "a sparsity of 0.4" in told and "decided once an utterance" in told
    assert ("encoder: 8 gated sites" in told) == (scope == "both")
    assert f"weights added: {adapter.num_weights:,}" in told
    detach(network)
    assert gate_summary(adapter).splitlines()[0] == "gates: mlp predictor, a sparsity of 0.4, counted in sites"
    adapter = attach(network, GateConfig(granularity="step", context=("budget",)))
    assert "decided at every step" in gate_summary(adapter) and "any sparsity, 0.5 by default" in gate_summary(adapter)


@pytest.fixture
def with_peft() -> Iterator[torch.nn.Module]:
    """A network with low-rank changes by peft that are not zero."""
    peft = pytest.importorskip("peft")
    network = tiny_network()
    config = peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "fc1", "fc2"], init_lora_weights=False
    )
    torch.manual_seed(0)
    return peft.inject_adapter_in_model(config, network).eval()


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gates_work_beside_low_rank_changes_by_peft(with_peft: Any) -> None:
    """Gates trained on the base go on; both the modules and the engine run the changed base under them."""
    base = tiny_network()
    assert fingerprint(with_peft) == fingerprint(base)
    torch.manual_seed(0)
    config = GateConfig(scope="both", predictor=MlpPredictorConfig(open_bias=0.2, output_std=1.0))
    adapter = GateAdapter(config, describe_base(base)).eval()
    attach(with_peft, adapter)
    engine = OwsmEngine(with_peft)
    prompt = base.config.prompt("deu", "asr")
    tokens = torch.tensor([[*prompt, *range(1520, 1526)]])
    results = []
    for network in (with_peft, base):
        embedded = network.embed(network.extract([torch.tensor(AUDIO[1][0])]))
        plan = adapter.plan("encoder", [Context(language="deu", task="asr")], embedded.pooled())
        encoded = network.encode(embedded, plan)
        gates = adapter.plan("decoder", [Context(language="deu", task="asr")], encoded.pooled())
        results.append((encoded, gates, network.decode(tokens, encoded, gates)))
    (encoded, gates, expected), (_, _, unchanged) = results
    assert float((expected - unchanged).abs().max()) > 0.1, "the changes change something"
    state = engine.decoder.start(encoded, gates)
    found = engine.decoder.logits(engine.decoder.states(tokens[:, None], state)[:, 0])
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-4)
    embedded = engine.embed(with_peft.extract([torch.tensor(AUDIO[1][0])]))
    plan = adapter.plan("encoder", [Context(language="deu", task="asr")], embedded.pooled())
    torch.testing.assert_close(engine.encode(embedded, plan).states, encoded.states, rtol=0, atol=5e-4)


def test_a_contexts_name_is_part_of_it() -> None:
    assert replace(Context(language="deu"), gates="fast") != Context(language="deu")


@pytest.mark.parametrize("granularity", ["utterance", "step"])
@pytest.mark.parametrize(("width", "layers"), [(384, 6), (768, 9), (1024, 18)], ids=["base", "small", "medium"])
def test_an_adapter_adds_less_than_a_hundredth_to_a_published_owsm(
    width: int, layers: int, granularity: Granularity
) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "vocab_size": 50_002,
    }
    wide: dict[str, Any] = {f"{name}_dim": 4 * width for name in ("encoder_ffn", "cgmlp", "decoder_ffn")}
    with torch.device("meta"):
        network = OwsmNetwork(replace(tiny_network().config, **sizes, **wide))
    num_base = sum(parameter.numel() for parameter in network.parameters())
    assert num_base > 1e8
    base = GateBase(
        family="owsm",
        fingerprint="",
        hidden_size=width,
        sites=network.config.gate_sites(),
        languages=tuple(f"l{number:02d}" for number in range(151)),
        tasks=("asr", "st_eng"),
    )
    assert GateAdapter(GateConfig(scope="both", granularity=granularity), base).num_weights <= 0.01 * num_base
