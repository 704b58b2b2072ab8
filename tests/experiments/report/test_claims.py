"""Claims follow the rows: where these say the opposite, so does the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipwise.evaluation.intervals import Interval
from skipwise.evaluation.resamples import Estimate
from skipwise.experiments.report.claims import claims_of
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.load import NUM_BINS, Sample, SweepData
from skipwise.experiments.report.verdicts import Claim, Part, above, at_least, below
from skipwise.gating import GateSite, Stack

KINDS: dict[Stack, tuple[str, ...]] = {
    "encoder": ("ffn1", "self_attn", "cgmlp", "ffn2"),
    "decoder": ("self_attn", "src_attn", "ffn"),
}
SITES = tuple(GateSite(stack, layer, kind) for stack, kinds in KINDS.items() for layer in range(4) for kind in kinds)
NUM = 60
"""Utterances, of 20 speakers."""


def sample(
    *,
    task: str = "asr",
    errors: float = 10.0,
    scope: str = "decoder",
    target: float | None = 0.5,
    condition: str = "pruned",
    use: Mapping[str, float] | float | None = None,
    time: float = 80.0,
    steps: np.ndarray | None = None,
    **labels: Any,
) -> Sample:
    """Rows of one system: `errors` in percent of words, or of n-grams lost; `use` in shares, by kind."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.5, NUM)
    wrong = np.clip(errors + noise, 0, 100)
    counts = np.zeros((NUM, 4 if task == "asr" else 10), dtype=np.int64)
    if task == "asr":
        counts[:, 0], counts[:, 3] = (10 * wrong).round(), 1000
    else:
        counts[:] = 1000
        counts[:, 2:6] = (10 * (100 - wrong)).round()[:, None]
    gates = np.zeros((NUM, len(SITES), 2), dtype=np.int64)
    for column, site in enumerate(SITES):
        if scope in (site.stack, "both") and condition != "open":
            usual = 1 - (target or 0.0)
            by_kind = use if isinstance(use, Mapping) else {}
            share = (
                use
                if isinstance(use, float)
                else by_kind.get(f"{site.kind}.{site.layer}", by_kind.get(site.kind, usual))
            )
            gates[:, column] = [round(100 * share), 100]
    own: dict[str, Any] = {
        "run": f"{scope}{target}",
        "seed": 1,
        "elastic": False,
        "predictor": "mlp",
        "granularity": "utterance",
    }
    own |= {"base": "full", "trained_tasks": "asr+st_eng", "num_sites": len(SITES)}
    return Sample(
        labels=own | {"scope": scope, "target": target} | labels,
        condition=condition,
        asked=None,
        task=task,
        ids=tuple(f"u{i:02d}" for i in range(NUM)),
        speakers=tuple(f"s{i // 3}" for i in range(NUM)),
        languages=tuple(("deu", "fra")[i % 2] for i in range(NUM)),
        snr_db=np.full(NUM, np.nan),
        counts=counts,
        gates=gates,
        steps=steps,
        micros=np.stack([np.full(NUM, round(time)), np.full(NUM, 100)], axis=-1).astype(np.int64),
        macs=np.full((NUM, 2), 100, dtype=np.int64),
    )


def dense(task: str = "asr", errors: float = 10.0, **labels: Any) -> Sample:
    changes: dict[str, Any] = {"run": "dense", "predictor": "none", "granularity": "none"} | labels
    return sample(task=task, errors=errors, scope="none", target=None, condition="open", time=100.0, **changes)


def claims(*samples: Sample) -> dict[str, Claim]:
    data = SweepData(
        root=Path("sweep"), sites=SITES, samples=samples, done=("a",), missing=(), settings={}, evaluation={}
    )
    return {claim.number: claim for claim in claims_of(Finder(data))}


def test_nothing_measured_leaves_every_claim_open_and_says_what_would_measure_it() -> None:
    found = claims(dense(), dense("st_eng"))
    assert {claim.verdict for claim in found.values()} == {"open"}
    assert all(part.estimate is None and part.needs for claim in found.values() for part in claim.parts)
    assert set(found) == {
        "1a",
        "1b",
        "1c",
        "2a",
        "2b",
        "2c",
        "3, steps",
        "3, layers",
        "4a",
        "4b",
        "5, ASR",
        "5, ST",
        "ours, budget",
        "ours, time",
        "ours, context",
        "ours, controls",
    }


@pytest.mark.parametrize(("errors", "verdict"), [(20.0, "supported"), (10.0, "not supported"), (8.0, "not supported")])
def test_encoder_pruning_hurts_where_errors_rise(errors: float, verdict: str) -> None:
    found = claims(dense(), sample(scope="encoder", target=0.5), sample(scope="encoder", target=0.7, errors=errors))[
        "1a"
    ]
    assert found.verdict == verdict
    assert found.parts[0].estimate is not None
    assert found.parts[0].estimate.value == pytest.approx(100 * (errors / 10 - 1), abs=1.0)
    assert "70 %" in found.parts[0].says and "70 % achieved" in found.parts[0].says


@pytest.mark.parametrize(("errors", "verdict"), [(10.2, "supported"), (13.0, "not supported")])
def test_decoder_pruning_costs_little_or_not(errors: float, verdict: str) -> None:
    found = claims(dense(), sample(target=0.7, errors=errors), sample(target=0.9, errors=10.0, run="high"))["1c"]
    assert found.verdict == verdict and len(found.parts) == 2


def test_dense_is_the_better_of_the_own_weights_and_of_a_run_without_gates() -> None:
    own_open = sample(condition="open", errors=12.0, target=0.5, time=100.0)
    found = claims(dense(errors=10.0), own_open, sample(errors=12.0, time=60.0))["5, ASR"]
    assert found.parts[0].estimate is not None and found.parts[0].estimate.value == pytest.approx(20, abs=1)
    assert found.parts[1].verdict == "supported", "60 % of the time is less than 71.4 %"
    found = claims(dense(errors=14.0), own_open, sample(errors=12.0))["5, ASR"]
    assert found.parts[0].estimate is not None and found.parts[0].estimate.value == pytest.approx(0)


@pytest.mark.parametrize(("cgmlp", "verdict"), [(0.9, "supported"), (0.3, "not supported"), (0.1, "not supported")])
def test_the_critical_module_is_the_most_used(cgmlp: float, verdict: str) -> None:
    found = claims(dense(), sample(scope="encoder", target=0.7, use={"cgmlp": cgmlp}))["1b"]
    assert found.verdict == verdict


@pytest.mark.parametrize("is_late", [True, False])
def test_source_attention_toward_the_end_is_measured_in_layers_and_in_steps(is_late: bool) -> None:
    low, high = (0.1, 0.9) if is_late else (0.9, 0.1)
    layers = {f"src_attn.{layer}": low if layer < 2 else high for layer in range(4)}
    steps = np.zeros((NUM, NUM_BINS, len(SITES), 2), dtype=np.int64)
    steps[..., 1] = 10
    for place in range(NUM_BINS):
        steps[:, place, :, 0] = place if is_late else NUM_BINS - 1 - place
    found = claims(dense(), sample(use=layers), sample(granularity="step", steps=steps, run="steps"))
    verdict = "supported" if is_late else "not supported"
    assert found["3, layers"].parts[0].verdict == verdict
    assert found["3, steps"].verdict == verdict
    assert claims(dense(), sample(use=layers))["3, steps"].parts[0].needs.startswith("step plans")


@pytest.mark.parametrize(("by_task", "verdict"), [(30.0, "supported"), (11.0, "not supported")])
def test_the_task_decides_most_where_shuffling_it_costs_most(by_task: float, verdict: str) -> None:
    shuffled = [
        sample(condition=f"shuffle_{level}", errors=errors, task=task)
        for task in ("asr", "st_eng")
        for level, errors in (("task", by_task), ("language", 15.0), ("speech", 12.0))
    ]
    assert claims(dense(), *shuffled)["4b"].verdict == verdict
    plain = [sample(errors=10.0, task=task) for task in ("asr", "st_eng")]
    with_plain = claims(dense(), *shuffled, *plain)["4b"]
    assert with_plain.verdict == verdict and len(with_plain.parts) == 6
    assert with_plain.parts[0].says == "WER lost by shuffling the task, above 0"
    assert with_plain.parts[0].estimate is not None
    assert with_plain.parts[0].estimate.value == pytest.approx(by_task - 10, abs=0.1)


def test_pruning_the_decoder_pays_where_it_loses_less_in_less_time() -> None:
    pair = {"decoder": (11.0, 60.0), "encoder": (15.0, 70.0)}
    samples = [
        sample(scope=scope, task=task, errors=errors, time=time)
        for task in ("asr", "st_eng")
        for scope, (errors, time) in pair.items()
    ]
    found = claims(dense(), *samples)["4a"]
    assert found.verdict == "supported" and len(found.parts) == 4
    swapped = [
        sample(scope=s, errors=pair[o][0], time=pair[o][1]) for s, o in (("decoder", "encoder"), ("encoder", "decoder"))
    ]
    assert claims(dense(), *swapped)["4a"].verdict == "not supported"


def test_context_helps_where_a_static_mask_loses_more() -> None:
    static = sample(predictor="static", errors=14.0, run="static")
    assert claims(dense(), sample(errors=11.0), static)["ours, context"].verdict == "supported"
    assert claims(dense(), sample(errors=14.0), static)["ours, context"].verdict == "not supported"


@pytest.mark.parametrize(("errors", "verdict"), [(10.1, "supported"), (12.0, "not supported")])
def test_one_adapter_is_set_beside_those_of_the_same_budget(errors: float, verdict: str) -> None:
    every = [
        replace(sample(errors=errors, elastic=True, run="every", target=None, use=1 - budget), asked=budget)
        for budget in (0.3, 0.5, 0.9)
    ]
    found = claims(dense(), *every, sample(target=0.3), sample(target=0.5), sample(target=0.8))["ours, budget"]
    assert found.verdict == verdict
    assert [part.says[:35] for part in found.parts] == [
        f"ASR, decoder: relative WER change at {budget} %"[:35] for budget in (30, 50)
    ], "only where one was trained for that budget"


def test_time_is_cut_by_the_system_that_skips_least() -> None:
    some = [
        sample(scope="both", target=target, errors=errors, time=time)
        for target, errors, time in ((0.3, 10.0, 80.0), (0.5, 10.1, 68.0), (0.7, 30.0, 50.0))
    ]
    found = claims(dense(), *some)["ours, time"]
    assert found.verdict == "supported" and "time 68 % of dense" in found.parts[0].says
    assert claims(dense(), some[0])["ours, time"].parts[0].needs


@pytest.mark.parametrize("errors", [15.0, 9.0])
def test_controls_that_learn_no_mask_are_beaten_or_not(errors: float) -> None:
    controls = [
        *(sample(predictor=kind, errors=errors, target=0.7, run=kind) for kind in ("random", "layer_drop", "table")),
        dense(errors=errors, run="shallow", num_sites=len(SITES) - 6),
        sample(errors=errors, target=0.7, condition="knock_out", run="dense", predictor="none"),
    ]
    of_shallow = sample(target=0.7, condition="knock_out", run="shallow", predictor="none", num_sites=len(SITES) - 6)
    found = claims(dense(), sample(target=0.7), *controls, of_shallow)["ours, controls"]
    assert len(found.parts) == len(controls)
    wins = [part.verdict for part in found.parts]
    assert wins == ["supported" if errors > 10 else "not supported"] * len(controls)


def test_systems_are_paired_over_the_seeds_that_both_have() -> None:
    own = [sample(errors=11.0, seed=seed) for seed in (1, 2, 3)]
    static = [
        sample(predictor="static", errors=errors, run="static", seed=seed) for seed, errors in ((2, 14.0), (4, 99.0))
    ]
    (part,) = claims(dense(), *own, *static)["ours, context"].parts
    assert part.estimate is not None and part.estimate.value == pytest.approx(3.0, abs=0.1)


def test_what_misses_its_target_by_far_decides_nothing() -> None:
    part = claims(dense(), sample(errors=10.0, use=0.5))["5, ASR"].parts[0]
    assert part.verdict == "supported" and part.says.startswith("relative WER change at 50 % (50 % achieved)")
    part = claims(dense(), sample(errors=10.0, use=0.58))["5, ASR"].parts[0]
    assert part.verdict == "open" and part.says.endswith("(42 % achieved), at most +3 %; not at its target")
    static = sample(predictor="static", errors=14.0, run="static", use=1.0)
    (part,) = claims(dense(), sample(errors=11.0), static)["ours, context"].parts
    assert part.verdict == "open" and "against 0 %" in part.says


def test_gates_for_any_budget_stand_in_only_where_none_were_trained_for_one_target() -> None:
    elastic = sample(errors=20.0, elastic=True, run="elastic", target=0.5)
    part = claims(dense(), elastic)["5, ASR"].parts[0]
    assert part.estimate is not None and part.estimate.value == pytest.approx(100, abs=2)
    part = claims(dense(), elastic, sample(errors=10.0))["5, ASR"].parts[0]
    assert part.estimate is not None and part.estimate.value == pytest.approx(0)


def test_runs_that_train_their_base_in_another_way_are_not_mixed_in() -> None:
    lora = sample(errors=30.0, base="lora", run="lora")
    part = claims(dense(), lora, sample(errors=10.0), sample(target=0.7))["5, ASR"].parts[0]
    assert part.estimate is not None and part.estimate.value == pytest.approx(0)


def test_an_interval_on_both_sides_of_the_bound_is_open() -> None:
    estimate = Estimate(1.0, Interval(-1.0, 3.0))
    assert {part(f"{part}", estimate, 0.0).verdict for part in (above, below, at_least)} == {"open"}
    assert {part("", Estimate(1.0, None), 0.0).verdict for part in (above, below, at_least)} == {"open"}
    assert above("", estimate, -2.0).verdict == "supported" and above("", estimate, 3.0).verdict == "not supported"
    assert below("", estimate, 3.0).verdict == "supported" and below("", estimate, -2.0).verdict == "not supported"
    assert (
        at_least("", estimate, -1.0).verdict == "supported" and at_least("", estimate, 4.0).verdict == "not supported"
    )


def test_a_claim_is_as_strong_as_its_weakest_part() -> None:
    def claim(*verdicts: Any) -> str:
        parts = tuple(Part(says="", estimate=None, verdict=verdict) for verdict in verdicts)
        return Claim(number="1", text="", parts=parts).verdict

    assert claim("supported", "supported") == "supported"
    assert claim("supported", "open") == "open"
    assert claim("open", "supported", "not supported") == "not supported"
