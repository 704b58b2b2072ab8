"""Benchmarks on a tiny model: what is written down, not how long it took."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from skipwise.decoding import DecodeOptions, search
from skipwise.errors import SkipwiseError
from skipwise.experiments.bench import cells
from skipwise.experiments.bench import run as bench_run
from skipwise.experiments.bench.cell import Cell, Workbench
from skipwise.experiments.bench.cells import SHARES, measure_planner, measure_sparsity, saved_seconds
from skipwise.experiments.bench.cost import measure_costs
from skipwise.experiments.bench.ending import ending_after, ending_engine
from skipwise.experiments.bench.generate import measure_generate
from skipwise.experiments.bench.journal import Journal
from skipwise.experiments.bench.run import BenchRun
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.site_costs import MERGE, SiteClock, decoder_site_seconds, timed_branches
from skipwise.experiments.bench.subject import Subject, decode_once, encode_once, random_model
from skipwise.experiments.bench.table import CELLS, COST_FILE
from skipwise.experiments.bench.transplants import transplants
from skipwise.experiments.bench.whisper import measure_whisper
from skipwise.gating import GatePlan, GateSite
from skipwise.gating.cost_table import CostTable
from skipwise.gating.steps import StepPlanner
from skipwise.models.engine.branches import PackedFeedForward
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import reference_model
from tests.models.test_precision import needs_x86
from tests.tiny import tiny_model

PACKAGES = ("espnet", "ctranslate2")


@pytest.fixture
def settings(tmp_path: Path) -> BenchSettings:
    tiny_model(tmp_path / "model")
    return BenchSettings(
        model=str(tmp_path / "model"), dtypes=("fp32",), beam_sizes=(1, 2), audio_s=(1, 2), num_tokens=3, rounds=2
    )


@pytest.fixture
def subject(settings: BenchSettings) -> Subject:
    return Subject.of(settings)


def never(name: str, share: float) -> None:
    """Nobody is told."""


@pytest.mark.parametrize("name", [name for name in CELLS if name not in ("espnet", "whisper", "memory")])
def test_every_cell_measures_something_and_tells_of_its_rounds(
    name: str, settings: BenchSettings, tmp_path: Path
) -> None:
    told: list[int] = []
    bench = Workbench(settings, tmp_path / "out")
    record = CELLS[name].measure(bench, lambda: told.append(1))
    assert json.loads(json.dumps(record)) and len(told) == CELLS[name].num_rounds(settings)
    assert bench.subject.network.gate_adapter is None, "gates that were put on for a measurement are taken off"


def test_the_sparsity_curve_has_a_point_a_share_and_an_ideal_that_falls(
    subject: Subject, settings: BenchSettings
) -> None:
    record = measure_sparsity(subject, settings, lambda: None)
    assert set(record["curves"]) == {"decoder", "encoder", "both"}
    for scope, points in record["curves"].items():
        assert [point["asked"] for point in points] == list(SHARES)
        ideals = [point["ideal"] for point in points]
        assert ideals[0] == 1.0 and ideals == sorted(ideals, reverse=True) and ideals[-1] < 1
        assert points[0]["time"]["median"] == 1.0 and points[0]["cut_over_ideal"] is None
        stacks = {"decoder": {"decoder"}, "encoder": {"encoder"}, "both": {"encoder", "decoder"}}[scope]
        assert set(points[5]["sparsity"]) == stacks and points[-1]["sparsity"] == dict.fromkeys(stacks, 1.0)
    assert 0 < record["closed_site_us"] < 1000


def test_gates_of_every_step_are_decided_and_leave_everything_open(
    subject: Subject, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_plans: list[StepPlanner] = []

    def decode(*given: Any, plan: GatePlan | StepPlanner | None = None, **named: Any) -> Any:
        step_plans.extend([plan] if isinstance(plan, StepPlanner) else [])
        return decode_once(*given, plan=plan, **named)

    monkeypatch.setattr(cells, "decode_once", decode)
    record = measure_planner(subject, settings, lambda: None)
    assert record["plan_over_dense"]["median"] > 0 and record["steps_over_dense"]["median"] > 0
    options = DecodeOptions(max_length_ratio=-4)
    ((found,),) = search(subject.engine(), subject.encoded(1), [subject.prompt], options=options, gates=step_plans[0])
    assert found.gates is not None and bool(found.gates.all()), "nothing is saved, deciding alone is added"


def test_decoding_runs_every_branch_as_often_as_there_are_tokens(subject: Subject) -> None:
    engine, encoded = subject.engine(), subject.encoded(1)
    clock = SiteClock()
    usual = PackedFeedForward.__call__
    with timed_branches(engine.decoder, clock):
        parts = decode_once(engine, encoded, subject.prompt, num_tokens=4, beam_size=3)
    assert PackedFeedForward.__call__ is usual
    assert set(parts) == {"prefill", "token", "decoder"} and parts["decoder"] > parts["prefill"] > 0
    assert set(clock.seconds) == {site for site in subject.network.config.gate_sites() if site.stack == "decoder"}
    closed = GatePlan.closing(subject.network.config.gate_sites(), ["decoder.0.ffn"])
    clock = SiteClock()
    with timed_branches(engine.decoder, clock):
        decode_once(engine, encoded, subject.prompt, num_tokens=4, plan=closed)
    assert GateSite("decoder", 0, "ffn") not in clock.seconds


def test_encoding_under_a_plan_is_less_work(subject: Subject) -> None:
    sites = subject.network.config.gate_sites()
    ran: list[str] = []
    for name, module in subject.network.encoder.named_modules():
        if name.endswith(("ffn1", "ffn2", "self_attn", "cgmlp", "merge")):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    encode_once(subject.engine(), [subject.audio(1.0)], GatePlan.closing(sites, sites))
    assert ran == []
    assert encode_once(subject.engine(), [subject.audio(1.0)])["encoder"] > 0
    assert len(ran) == 10


def test_a_merge_is_saved_with_both_of_its_branches() -> None:
    sites = [GateSite("encoder", 0, kind) for kind in ("ffn1", "self_attn", "cgmlp", "ffn2")]
    costs = dict.fromkeys(sites, 1.0) | {GateSite("encoder", 0, MERGE): 10.0}
    assert saved_seconds(GatePlan.closing(sites, sites[:2]), costs) == 2.0
    assert saved_seconds(GatePlan.closing(sites, sites[1:3]), costs) == 12.0
    assert saved_seconds(GatePlan.all_open(sites), costs) == 0.0


def test_a_cost_table_has_every_site_and_what_is_left(subject: Subject, settings: BenchSettings) -> None:
    table = measure_costs(subject, settings)
    assert set(table.sites) == set(subject.network.config.gate_sites())
    assert all(cost.macs > 0 and cost.weight_bytes > 0 and cost.ms > 0 for cost in table.sites.values())
    ffn, attention = (table.sites[GateSite("decoder", 0, kind)] for kind in ("ffn", "self_attn"))
    config = subject.network.config
    assert ffn.weight_bytes == 2 * 4 * config.hidden_size * config.decoder_ffn_dim
    assert attention.weight_bytes == 4 * 4 * config.hidden_size**2
    assert set(table.merge_ms) == {0, 1} and min(table.merge_ms.values()) > 0
    assert set(table.rest_ms) == {"encoder", "decoder"} and min(table.rest_ms.values()) >= 0
    assert (table.setting["audio_s"], table.setting["num_tokens"], table.setting["dtype"]) == (1, 3, "fp32")


def test_source_attention_costs_its_projections(subject: Subject) -> None:
    """The site's time is over the whole decoding, the projection of keys and values with it."""
    engine, encoded = subject.engine(), subject.encoded(2)
    seconds = decoder_site_seconds(engine, encoded, subject.prompt, num_tokens=1, beam_size=1, rounds=1)
    assert len(seconds) == 6 and min(seconds.values()) > 0


# --- a run


def counting_cell(calls: list[int]) -> Cell:
    def measure(bench: Workbench, on_round: Any) -> Mapping[str, Any]:
        calls.append(1)
        on_round()
        return {"value": len(calls)}

    return Cell("counts", measure, lambda settings: 1)


def test_a_stopped_run_goes_on_where_it_was(
    settings: BenchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def stop(*_: Any) -> Mapping[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setitem(CELLS, "dtypes", counting_cell(calls))
    monkeypatch.setitem(CELLS, "batch", Cell("stops", stop, lambda settings: 1))
    run = BenchRun(settings, tmp_path / "out", resume=False, command="skipwise bench dtypes batch")
    with pytest.raises(KeyboardInterrupt):
        run.run(["dtypes", "batch"], never)
    with pytest.raises(SkipwiseError, match=r"holds dtypes already, or a part of it\. Add --resume"):
        BenchRun(settings, tmp_path / "out", resume=False, command="")
    monkeypatch.setitem(CELLS, "batch", counting_cell(calls))
    shares: list[tuple[str, float]] = []
    again = BenchRun(settings, tmp_path / "out", resume=True, command="skipwise bench --resume")
    records = again.run(["dtypes", "batch"], lambda name, share: shares.append((name, share)))
    assert (records["dtypes"]["value"], records["batch"]["value"]) == (1, 2)
    assert records["dtypes"]["command"] == "skipwise bench dtypes batch"
    assert records["batch"]["settings"]["num_tokens"] == 3 and records["batch"]["machine"]["cores"]
    assert shares == [("dtypes", 1.0), ("batch", 0.99), ("batch", 1.0)]


def test_notes_of_a_stopped_benchmark_are_gone_on_with_or_refused(
    settings: BenchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out" / "espnet.part.jsonl"
    Journal(place, {"settings": settings.to_dict()})
    with pytest.raises(SkipwiseError, match=r"holds espnet already, or a part of it"):
        BenchRun(settings, tmp_path / "out", resume=False, command="")
    other = BenchSettings(model=settings.model, num_tokens=9)
    with pytest.raises(SkipwiseError, match=r"espnet\.json was measured with other settings"):
        BenchRun(other, tmp_path / "out", resume=True, command="")
    monkeypatch.setitem(CELLS, "espnet", counting_cell([]))
    BenchRun(settings, tmp_path / "out", resume=True, command="").run(["espnet"], never)
    assert not place.exists(), "the record is there, and the notes are not needed any more"


def test_records_of_other_settings_are_not_mixed(
    settings: BenchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CELLS, "dtypes", counting_cell([]))
    BenchRun(settings, tmp_path / "out", resume=False, command="").run(["dtypes"], never)
    other = BenchSettings(model=settings.model, num_tokens=9)
    with pytest.raises(SkipwiseError, match=r"dtypes\.json was measured with other settings"):
        BenchRun(other, tmp_path / "out", resume=True, command="")


def test_generate_and_our_search_decode_as_many_tokens(subject: Subject, settings: BenchSettings) -> None:
    record = measure_generate(subject, settings, lambda: None)
    assert set(record["rounds"]) == {"generate()", "dense", "pruned"}
    assert len(record["closed"]) == 3 and all(name.startswith("decoder.") for name in record["closed"])


def test_a_cost_table_lies_beside_its_record(settings: BenchSettings, tmp_path: Path) -> None:
    BenchRun(settings, tmp_path / "out", resume=False, command="").run(["cost"], never)
    assert CostTable.load(tmp_path / "out" / COST_FILE).setting["model"] == "model"


@needs_x86
@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(
    settings: BenchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(bench_run.__file__).parents[3]))
    record = BenchRun(settings, tmp_path / "out", resume=False, command="").run(["memory"], never)["memory"]
    found = record["by_dtype"]["fp32"]
    assert found["peak_gb"] >= found["peak_gb_packed"] >= found["peak_gb_before"] > 0.05
    assert found["first_token_s"] > found["first_token_after_encoder_s"] > 0
    assert set(record["cold_start"]) == {"import torch", "skipwise --help", "skipwise transcribe"}


def test_what_is_unknown_or_missing_is_one_error(settings: BenchSettings, tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match="there is no benchmark 'speed'; known are dtypes"):
        BenchRun(settings, tmp_path / "out", resume=False, command="").run(["speed"], never)
    with pytest.raises(SkipwiseError, match=r"espnet needs an environment with ESPnet, got None\. `make oracle`"):
        BenchRun(settings, tmp_path / "out", resume=False, command="").run(["espnet"], never)
    with pytest.raises(SkipwiseError, match="shape must be one of reference, base"):
        BenchSettings.from_dict({"shape": "tiny"})
    with pytest.raises(SkipwiseError, match=r"dtypes are of fp32, .*; got fp8"):
        BenchSettings.from_dict({"dtypes": ["fp8"]})
    with pytest.raises(SkipwiseError, match="num_tokens must be above 2, got 2"):
        BenchSettings(num_tokens=2)
    with pytest.raises(SkipwiseError, match="rounds must be at least 1, got 0"):
        BenchSettings(rounds=0)
    with pytest.raises(SkipwiseError, match="beam sizes must be at least 1 and audio of 1 to 30 s"):
        BenchSettings(audio_s=(40,))


def test_settings_survive_the_way_to_another_process() -> None:
    settings = BenchSettings(shape="base", beam_sizes=(1, 5), espnet="env")
    assert BenchSettings.from_dict(json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.slow
@torch.inference_mode()
def test_a_random_base_has_owsms_size_and_says_different_tokens() -> None:
    model = random_model("base")
    decoder = sum(parameter.numel() for parameter in model.network.parameters())
    assert 100e6 < decoder < 103e6 and len(model.vocabulary.tokens) == 50_002
    assert model.vocabulary.tokens[-3:] == ("<sos>", "<eos>", "<sop>")
    subject = Subject(model, BenchSettings(shape="base"))
    state = subject.engine("fp32").decoder.start(subject.encoded(1, dtype="fp32"))
    said = {int(subject.engine("fp32").decoder.step(torch.tensor([[[t]]]), state).argmax()) for t in range(3000, 3010)}
    assert len(said) > 3


@pytest.mark.slow
def test_whispers_of_like_size_decode_as_many_tokens(subject: Subject, settings: BenchSettings) -> None:
    pytest.importorskip("ctranslate2")
    record = measure_whisper(subject, settings, lambda: None)
    peers = ("transformers", "ctranslate2 float32", "ctranslate2 int8")
    assert set(record["token_ratios"]) == {f"{peer}, beam {beam}" for peer in peers for beam in settings.beam_sizes}
    assert set(record["owsm_token_ratios"]) == set(record["token_ratios"])
    ours = {f"skipwise {dtype}{part}" for dtype in settings.dtypes for part in ("", ", half of the decoder closed")}
    assert all(set(ratios) == ours for ratios in record["token_ratios"].values())
    assert all(len(ratios) == len(settings.dtypes) for ratios in record["encoder_ratios"].values())
    assert {f"{peer}, encoder" for peer in peers} < set(record["rounds"]) and record["missing"] == []


# --- ends


def test_random_weights_end_where_they_are_told_to_and_else_never(subject: Subject, settings: BenchSettings) -> None:
    encoded, eos = subject.encoded(2, dtype="fp32"), subject.network.config.eos_token_id
    ending = ending_after(subject, encoded, 6)
    before = subject.network.decoder.lm_head.weight[eos].clone()
    engine = ending_engine(subject, "fp32", ending)
    options = DecodeOptions(max_length_ratio=-12)
    (never_ended,) = search(subject.engine("fp32"), encoded, [subject.prompt], options=options)[0]
    (ended,) = search(engine, encoded, [subject.prompt], options=options)[0]
    assert (len(never_ended.tokens), never_ended.finished) == (12, False)
    assert ended.finished and 4 <= len(ended.tokens) <= 6
    assert ended.tokens == never_ended.tokens[: len(ended.tokens)]
    assert torch.equal(subject.network.decoder.lm_head.weight[eos], before), "the subject's weights stay"
    assert engine.decoder.layers is subject.engine("fp32").decoder.layers, "packed once"


def test_trained_weights_keep_their_ending() -> None:
    subject = Subject.of(BenchSettings())
    assert subject.ending is not None and subject.ending.bias > -100
    assert subject.network.decoder.lm_head.bias[subject.network.config.eos_token_id] < -1000
    assert Subject(subject.model, BenchSettings()).ending is None


def test_plans_of_the_shipped_gates_are_moved_to_larger_models(subject: Subject) -> None:
    sites = tuple(GateSite("decoder", layer, kind) for layer in range(18) for kind in ("self_attn", "src_attn", "ffn"))
    found = transplants(sites)
    assert [one.task for one in found] == list(load_owsm(reference_model()).network.config.tasks)
    for one in found:
        assert one.plan.sites == sites and 0 < one.share_of_clips <= 1
        assert one.plan.sparsity("decoder") == one.original.sparsity("decoder") > 0
        assert one.to_dict()["from"] == "reference"
        for site in one.original.closed():
            assert GateSite("decoder", 3 * site.layer + 1, site.kind) in one.plan.closed()


def test_a_missing_peer_is_one_line(subject: Subject, settings: BenchSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2.converters", None)
    record = measure_whisper(subject, settings, lambda: None)
    assert record["missing"] == ['ctranslate2: pip install "skipwise[bench]"']
    assert set(record["token_ratios"]) == {"transformers, beam 1", "transformers, beam 2"}
