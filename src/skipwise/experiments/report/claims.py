"""The claims of Someki et al. 2025 on Europarl-ST, and ours, each measured on the rows of a sweep.

Every number is a paired bootstrap over speakers and seeds; dense is the better of a run's own weights with everything
open and of a run without gates. A verdict is the interval's: where it lies on both sides of the bound, or no run
measures it, the claim is open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skipwise.evaluation.resamples import Combine, Estimate, Quantity
from skipwise.experiments.report.finder import Finder, nearest
from skipwise.experiments.report.groups import Group, IsWanted, contrast
from skipwise.experiments.report.load import NUM_BINS
from skipwise.experiments.report.measures import (
    Margin,
    at,
    at_target,
    contrast_of,
    costs_at_most,
    metric_name,
    task_name,
    worse_by,
)
from skipwise.experiments.report.own_claims import own_claims
from skipwise.experiments.report.verdicts import Claim, Part, above, below
from skipwise.gating import GateSite, Scope, Stack

HIGH = 0.7
"""The paper's "from 70 % on"."""
LITTLE = Margin(wer=8.0, bleu=-1.0)
"""What we call little at 70 %."""
SAME = Margin(wer=3.0, bleu=-0.3)
"""What we call unchanged at 50 %."""
PAPER_TIME = {"asr": 100 - 28.6, "st": 100 - 34.3}
"""Time at 50 % of the decoder in percent of dense."""

_ST = "st_eng"


def claims_of(finder: Finder) -> list[Claim]:
    """Return every claim with what the sweep says of it."""
    return [
        Claim(number="1a", text="ASR: from 70 % on, encoder pruning hurts", parts=_encoder_hurts(finder, "asr")),
        Claim(number="1b", text="ASR: cgMLP is the critical encoder module", parts=(_cgmlp(finder, "asr"),)),
        Claim(
            number="1c",
            text="ASR: decoder pruning costs little, even when high",
            parts=_each_high(finder, "asr", "decoder", little=True),
        ),
        Claim(number="2a", text="ST: decoder FFN and self-attention are essential", parts=(_st_modules(finder),)),
        Claim(
            number="2b",
            text="ST: the encoder as in ASR",
            parts=(*_encoder_hurts(finder, _ST), _cgmlp(finder, _ST)),
        ),
        Claim(number="2c", text="The decoder matters more in ST than in ASR", parts=(_decoder_by_task(finder),)),
        Claim(
            number="3, steps",
            text="Source attention is opened toward the end of decoding",
            parts=(_late_steps(finder),),
        ),
        Claim(
            number="3, layers",
            text="Source attention is opened toward the end of the model",
            parts=_late_layers(finder),
        ),
        Claim(
            number="4a",
            text="Jointly trained, pruning the decoder pays more than pruning the encoder",
            parts=_decoder_pays(finder),
        ),
        Claim(number="4b", text="The task is the context that decides most", parts=_task_decides(finder)),
        Claim(number="5, ASR", text="Half of the decoder: 28.6 % less time, WER up 2.8 %", parts=_half(finder, "asr")),
        Claim(number="5, ST", text="Half of the decoder: 34.3 % less time, BLEU unchanged", parts=_half(finder, _ST)),
        *own_claims(finder),
    ]


def _encoder_hurts(finder: Finder, task: str) -> tuple[Part, ...]:
    low = [group for group in finder.pruned(task, "encoder") if (group.asked or 0) < HIGH - 0.01]
    needs = "mlp gates on the encoder at a target below 70 %, both tasks"
    before = low[-1] if low else None
    return (
        *_each_high(finder, task, "encoder", little=False),
        costs_at_most(finder, before, task, LITTLE, needs=needs),
    )


def _each_high(finder: Finder, task: str, scope: Scope, *, little: bool) -> tuple[Part, ...]:
    """Quality at each target from 70 % on: that it costs little, or that it hurts."""
    high = [group for group in finder.pruned(task, scope) if (group.asked or 0) >= HIGH - 0.01]
    needs = f"mlp gates on the {scope} at targets of 70 and 90 %, both tasks"
    if little:
        return tuple(costs_at_most(finder, group, task, LITTLE, needs=needs) for group in high or [None])
    return tuple(_hurts(finder, task, group, needs) for group in high or [None])


def _hurts(finder: Finder, task: str, group: Group | None, needs: str) -> Part:
    if task == "asr":
        change = None if group is None else finder.change(group, relative=True)
        part = above(f"relative WER change{at(finder, group)}, above 0", change, 0.0, unit=" %", needs=needs)
        return at_target(finder, part, group)
    change = None if group is None else _negated(finder.change(group))
    return at_target(finder, above(f"BLEU lost{at(finder, group)}, above 0", change, 0.0, needs=needs), group)


def _cgmlp(finder: Finder, task: str) -> Part:
    group = _closest(finder, task, "encoder", HIGH)
    says = f"use of cgMLP minus the most used other kind{at(finder, group)}, above 0"
    wanted = [_kind("encoder", kind) for kind in ("cgmlp", "ffn1", "self_attn", "ffn2")]
    estimate = _use(finder, group, wanted, lambda own, *others: own - np.maximum.reduce(others))
    return above(says, estimate, 0.0, unit=" points", needs="mlp gates on the encoder at 70 %, both tasks")


def _st_modules(finder: Finder) -> Part:
    group = _closest(finder, _ST, "decoder", 0.5)
    says = f"use of the lesser of FFN and self-attention minus source attention{at(finder, group)}, above 0"
    wanted = [_kind("decoder", kind) for kind in ("ffn", "self_attn", "src_attn")]
    estimate = _use(finder, group, wanted, lambda ffn, own, source: np.minimum(ffn, own) - source)
    return above(says, estimate, 0.0, unit=" points", needs="mlp gates on the decoder at 50 %, both tasks")


def _decoder_by_task(finder: Finder) -> Part:
    asr, st = _closest(finder, "asr", "decoder", 0.5), _closest(finder, _ST, "decoder", 0.5)
    estimate = contrast_of(asr, st, lambda group: group.use(_stack("decoder"), finder.sites), lambda a, b: b - a)
    says = f"use of decoder modules in ST minus in ASR{at(finder, st)}, above 0"
    return above(says, estimate, 0.0, unit=" points", needs="mlp gates on the decoder at 50 %, both tasks")


def _late_steps(finder: Finder) -> Part:
    found = [g for task in finder.tasks for g in finder.pruned(task, "decoder", granularity="step")]
    group = nearest(found, 0.5)
    estimate = None
    if group is not None and group.first.steps is not None:
        wanted, third = _kind("decoder", "src_attn"), NUM_BINS // 3
        early, late = slice(0, third), slice(NUM_BINS - third, NUM_BINS)
        estimate = contrast(
            [group], lambda g: [g.use_at(part, wanted, finder.sites) for part in (early, late)], lambda a, b: b - a
        )
    says = f"use of source attention in the last third of the steps minus the first{at(finder, group)}, above 0"
    return above(says, estimate, 0.0, unit=" points", needs="step plans: a run with gates.granularity step at 50 %")


def _late_layers(finder: Finder) -> tuple[Part, ...]:
    parts = []
    middle = (1 + max((site.layer for site in finder.sites if site.stack == "decoder"), default=0)) / 2

    def lower(site: GateSite) -> bool:
        return site.kind == "src_attn" and site.layer < middle

    def upper(site: GateSite) -> bool:
        return site.kind == "src_attn" and site.layer >= middle

    for task in finder.tasks:
        group = _closest(finder, task, "decoder", 0.5)
        says = f"{task_name(task)}: use of source attention in the upper half of the layers minus the lower"
        estimate = _use(finder, group, [lower, upper], lambda a, b: b - a)
        needs = "mlp gates on the decoder at 50 %, both tasks"
        parts.append(above(f"{says}{at(finder, group)}, above 0", estimate, 0.0, unit=" points", needs=needs))
    return tuple(parts)


def _decoder_pays(finder: Finder) -> tuple[Part, ...]:
    parts = []
    needs = "mlp gates on the encoder and on the decoder at 50 %, both tasks"
    for task in finder.tasks:
        encoder, decoder = _closest(finder, task, "encoder", 0.5), _closest(finder, task, "decoder", 0.5)
        says = f"{metric_name(task)} that encoder pruning loses beyond decoder pruning at 50 %, above 0"
        worse = above(says, contrast_of(decoder, encoder, Group.quality, worse_by(task)), 0.0, needs=needs)
        parts.append(at_target(finder, worse, encoder, decoder))
        says = f"{task_name(task)}: time of encoder pruning minus decoder pruning at 50 %, in percent of dense, above 0"
        time = contrast_of(decoder, encoder, Group.time, lambda a, b: b - a)
        slower = above(says, time, 0.0, unit=" points", needs=needs)
        parts.append(at_target(finder, slower, encoder, decoder))
    return tuple(parts)


def _task_decides(finder: Finder) -> tuple[Part, ...]:
    parts = []
    needs = "mlp gates at 50 % on both tasks, with evaluation.shuffle: [speech, language, task]"
    for task in finder.tasks:
        by_task = _shuffled(finder, task, "task")
        if by_task is not None and (plain := finder.unshuffled(by_task)) is not None:
            lost = contrast_of(plain, by_task, Group.quality, worse_by(task))
            parts.append(above(f"{metric_name(task)} lost by shuffling the task, above 0", lost, 0.0))
        for level in ("language", "speech"):
            lost = contrast_of(_shuffled(finder, task, level), by_task, Group.quality, worse_by(task))
            says = f"{metric_name(task)} lost by shuffling the task beyond shuffling the {level}, above 0"
            parts.append(above(says, lost, 0.0, needs=needs))
    return tuple(parts)


def _shuffled(finder: Finder, task: str, level: str) -> Group | None:
    condition = f"shuffle_{level}"
    scopes: tuple[Scope, ...] = ("decoder", "both")
    return nearest([group for scope in scopes for group in finder.pruned(task, scope, condition=condition)], 0.5)


def _half(finder: Finder, task: str) -> tuple[Part, ...]:
    group = nearest(finder.pruned(task, "decoder"), 0.5)
    needs = "mlp gates on the decoder at 50 %, both tasks"
    quality = costs_at_most(finder, group, task, SAME, needs=needs)
    bound = PAPER_TIME["asr" if task == "asr" else "st"]
    time = None if group is None else group.estimate(group.time())
    says = f"whole time in percent of our dense engine (the paper's has no cache), at most {bound:.1f}"
    faster = below(says, time, bound, unit=" %", needs=needs)
    return quality, at_target(finder, faster, group)


def _closest(finder: Finder, task: str, scope: Scope, asked: float) -> Group | None:
    return nearest(finder.pruned(task, scope), asked)


def _use(finder: Finder, group: Group | None, wanted: Sequence[IsWanted], combine: Combine) -> Estimate | None:
    if group is None:
        return None

    def uses(one: Group) -> list[Quantity]:
        return [one.use(is_wanted, finder.sites) for is_wanted in wanted]

    return contrast([group], uses, combine)


def _kind(stack: Stack, kind: str) -> IsWanted:
    return lambda site: (site.stack, site.kind) == (stack, kind)


def _stack(stack: Stack) -> IsWanted:
    def is_of_it(site: GateSite) -> bool:
        return site.stack == stack

    return is_of_it


def _negated(estimate: Estimate | None) -> Estimate | None:
    if estimate is None:
        return None
    interval = estimate.interval
    return Estimate(-estimate.value, None if interval is None else type(interval)(-interval.high, -interval.low))
