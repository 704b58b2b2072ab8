"""The figures of a report, from the groups of its sweep."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from matplotlib.figure import Figure

from skipwise.analysis.figure import BLUE, GREEN, ORANGE
from skipwise.analysis.gate_map import gate_map
from skipwise.analysis.names import display_name
from skipwise.analysis.panels import Line, Panel, Point, line_panels
from skipwise.analysis.plan_space import PlanSpace, plan_space
from skipwise.analysis.step_map import step_map
from skipwise.evaluation.intervals import Interval
from skipwise.evaluation.resamples import Estimate
from skipwise.experiments.report.finder import Finder, nearest
from skipwise.experiments.report.groups import Group
from skipwise.experiments.report.load import NUM_BINS
from skipwise.gating import GatePlan, GateSite, Scope, Stack
from skipwise.gating.sites import STACKS

SCOPES: dict[Scope, str] = {"decoder": BLUE, "encoder": GREEN, "both": ORANGE}
HALF = 0.5
_KINDS = {
    "ffn1": "FFN 1",
    "self_attn": "self-attention",
    "cgmlp": "cgMLP",
    "ffn2": "FFN 2",
    "src_attn": "source attention",
    "ffn": "FFN",
}
_NAMES: dict[Scope, str] = {"decoder": "decoder", "encoder": "encoder", "both": "both stacks"}
_APART = 0.05
"""Lines that run over layers stand so far apart that equal ones do not hide one another."""
_OPEN_FROM = 0.5
_MUCH = 4.0
"""An error rate so many times another's leaves no room for differences but on a logarithmic axis."""


@final
@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with what it says, or why there is none."""

    name: str
    """Of its file."""
    caption: str
    figure: Figure | None
    needs: str = ""
    """What run would give it, where there is none."""


def quality_against_sparsity(finder: Finder) -> Picture:
    """Return WER and BLEU against the achieved sparsity, a line a scope."""
    panels = []
    for task in finder.tasks:
        lines = []
        for scope, colour in SCOPES.items():
            joint, any_budget = (finder.pruned(task, scope, elastic=elastic) for elastic in (False, True))
            alone = finder.pruned(task, scope, joint=False)
            steps = finder.pruned(task, scope, granularity="step")
            lines += [
                _sparsity_line(finder, joint, _NAMES[scope], colour),
                _sparsity_line(finder, any_budget, f"{_NAMES[scope]}, any budget", colour, filled=False),
                _sparsity_line(finder, alone, f"{_NAMES[scope]}, one task", colour, joined=False, filled=False),
                _sparsity_line(finder, steps, f"{_NAMES[scope]}, step plans", colour, joined=False, filled=False),
            ]
        lines = [line for line in lines if line.points]
        panels.append(_quality_panel(finder, task, lines, "achieved sparsity of the gated stacks, %"))
    return Picture(
        name="quality_sparsity",
        caption="Quality against what was skipped. Bars and band: 95 % intervals over speakers and seeds. Dense: the "
        "better of the gated weights with everything open and of a run without gates. Hollow: one adapter for any "
        "budget, one task, step plans.",
        figure=_drawn(panels, "Quality against sparsity"),
        needs="runs with gates.predictor mlp on encoder, decoder or both",
    )


def quality_against_time(finder: Finder) -> Picture:
    """Return WER and BLEU against measured time, the controls beside input-aware gates."""
    panels = []
    for task in finder.tasks:
        lines = [
            Line(
                name=f"input-aware, {_NAMES[scope]}",
                points=_time_points(finder.pruned(task, scope)),
                colour=colour,
            )
            for scope, colour in SCOPES.items()
        ]
        controls = [group for group in finder.groups if group.task == task and _control_name(finder, group)]
        names = sorted({_control_name(finder, group) for group in controls})
        lines += [
            Line(
                name=name,
                points=_time_points([group for group in controls if _control_name(finder, group) == name]),
                is_joined=False,
                is_filled=False,
            )
            for name in names
        ]
        lines = [line for line in lines if line.points]
        panels.append(_quality_panel(finder, task, lines, "whole time, % of dense in the same run"))
    return Picture(
        name="quality_time",
        caption="Quality against measured time. Each system took turns with the dense one, batch by batch; for runs "
        "without gates the dense one is the yardstick that the sweep names. Labels: what was to be skipped.",
        figure=_drawn(panels, "Quality against time, with the controls"),
        needs="runs with gates, and controls: static, random, layer_drop, a run without gates",
    )


def use_by_layer(finder: Finder) -> Picture:
    """Return the use of each kind of module over the layers of its stack, by task."""
    panels = []
    for stack, task in itertools.product(STACKS, finder.tasks):
        group = nearest(finder.pruned(task, stack), HALF) or nearest(finder.pruned(task, "both"), HALF)
        if group is not None:
            name = display_name(task).replace("\n", " ")
            panels.append(_layer_panel(finder, group, stack, f"{stack.capitalize()}: {name}"))
    return Picture(
        name="use_layers",
        caption="Claim 3, read as layers: how often each module ran at a target of about 50 %, from the input upwards; "
        "with gates on that stack alone where such a run is there, else on both.",
        figure=_drawn(panels, "Use of modules over layers"),
        needs="runs with mlp gates on the encoder and on the decoder at 50 %",
    )


def use_by_step(finder: Finder) -> Picture:
    """Return the use of each kind of decoder module over the steps of decoding, by task."""
    panels = []
    for task in finder.tasks:
        group = nearest(finder.pruned(task, "decoder", granularity="step"), HALF)
        if group is None or group.first.steps is None:
            continue
        lines = [
            Line(name=_KINDS.get(kind, kind), points=_points_over_steps(finder, group, kind))
            for stack, kind in _kinds(finder.sites)
            if stack == "decoder"
        ]
        panels.append(
            Panel(
                title=display_name(task).replace("\n", " "),
                x_axis="position in the hypothesis, %",
                y_axis="% of decisions that run it",
                lines=lines,
                is_percent=True,
            )
        )
    return Picture(
        name="use_steps",
        caption="Claim 3, read as steps: how often each kind of decoder module ran, from the first token to the last.",
        figure=_drawn(panels, "Use of decoder modules over the steps of decoding"),
        needs="a run with step plans (gates.granularity: step) on the decoder at 50 %",
    )


def map_over_steps(finder: Finder) -> Picture:
    """Return how often each decoder module ran over the steps of decoding, by task."""
    columns = [column for column, site in enumerate(finder.sites) if site.stack == "decoder"]
    shares = {}
    for task in finder.tasks:
        group = nearest(finder.pruned(task, "decoder", granularity="step"), HALF)
        steps = [] if group is None else [sample.steps for sample in group.samples if sample.steps is not None]
        if steps:
            counts = np.concatenate(steps)[:, :, columns].sum(axis=0)
            shares[display_name(task).replace("\n", " ")] = (counts[..., 0] / np.maximum(counts[..., 1], 1)).T
    sites = [finder.sites[column] for column in columns]
    return Picture(
        name="map_steps",
        caption="The gate map over decoding: every decoder module from the first token to the last.",
        figure=step_map(shares, sites, title="Which decoder modules run at which step") if shares else None,
        needs="a run with step plans (gates.granularity: step) on the decoder at 50 %",
    )


def gate_maps(finder: Finder) -> list[Picture]:
    """Return which modules ran, by language and task, for each scope at about 50 %."""
    pictures = []
    for scope in SCOPES:
        found = [group for task in finder.tasks if (group := nearest(finder.pruned(task, scope), HALF))]
        plans = {
            (language, group.task): _plans(finder, group, language)
            for group in found
            for language in sorted(set(group.first.languages))
        }
        pictures.append(
            Picture(
                name=f"gate_map_{scope}",
                caption=f"Which modules run with gates on {'both stacks' if scope == 'both' else f'the {scope}'}, "
                "in percent of inputs, by language and task.",
                figure=gate_map(plans, title=f"Gates on {_NAMES[scope]} at 50 %") if plans else None,
                needs=f"a run with mlp gates on {scope} at 50 %",
            )
        )
    return pictures


def plans_in_two_dimensions(finder: Finder) -> Picture:
    """Return the plans of one run as points, coloured by task, language, speaker and SNR."""
    found: list[Group] = []
    for scope in ("decoder", "both", "encoder"):
        found = [group for task in finder.tasks if (group := nearest(finder.pruned(task, scope), HALF))]
        if found:
            break
    figure = None
    if found and sum(len(group.first.ids) for group in found) > 2:
        found = [Group(group.samples[:1]) for group in found]  # sites of different seeds have nothing in common
        bits = np.concatenate([group.plan_bits() for group in found])
        samples = [group.first for group in found]
        groups = {
            "task": [display_name(sample.task).replace("\n", " ") for sample in samples for _ in sample.ids],
            "language": [display_name(name) for sample in samples for name in sample.languages],
            "speaker": [name for sample in samples for name in sample.speakers],
        }
        snr_db = np.concatenate([sample.snr_db for sample in samples])
        by_noise = {} if np.isnan(snr_db).all() else {"SNR, dB": snr_db}
        run = found[0].label("run")
        figure = plan_space(PlanSpace(bits), groups | by_noise, title=f"Plans of {run}, seed {found[0].seeds[0]}")
    return Picture(
        name="plans",
        caption="Every plan of one run as a point (principal components of its bits): what the gates tell apart.",
        figure=figure,
        needs="a run with mlp gates at 50 % and at least three plans",
    )


def _sparsity_line(
    finder: Finder, groups: Sequence[Group], name: str, colour: str, *, joined: bool = True, filled: bool = True
) -> Line:
    points = []
    for group in groups:
        quality, skipped = group.estimate(group.quality()), finder.skipped(group)
        points.append(
            Point(
                x=skipped.value, y=quality.value, y_interval=_ends(quality.interval), x_interval=_ends(skipped.interval)
            )
        )
    points.sort(key=lambda point: point.x)
    return Line(name=name, points=points, colour=colour, is_joined=joined, is_filled=filled)


def _time_points(groups: Sequence[Group]) -> list[Point]:
    found = []
    for group in groups:
        quality, time = group.estimate(group.quality()), group.estimate(group.time())
        asked = group.asked
        found.append(
            Point(
                x=time.value,
                y=quality.value,
                y_interval=_ends(quality.interval),
                x_interval=_ends(time.interval),
                label="" if asked is None or len(groups) == 1 else f"{100 * asked:.0f} %",
            )
        )
    return found


def _control_name(finder: Finder, group: Group) -> str:
    """What stands beside input-aware gates is called: a control, or step plans; nothing for what is neither."""
    names = {"static": "static mask", "random": "random plans", "layer_drop": "layer drop", "table": "table"}
    if group in finder.knocked_out(group.task):
        return "knock-out order"
    if group.label("granularity") == "step":
        return "step plans" if group.condition == "pruned" else ""
    if group.condition == "pruned" and group.is_joint:
        return names.get(group.label("predictor"), "")
    if group.condition == "open" and group.label("run") in finder.shallow_runs():
        return "shallower dense"
    return ""


def _quality_panel(finder: Finder, task: str, lines: Sequence[Line], x_axis: str) -> Panel:
    groups = [group for scope in SCOPES for group in finder.pruned(task, scope)]
    dense = finder.dense(groups[0]) if groups else None
    level = None if dense is None else _point(0.0, dense.estimate(dense.quality()))
    metric = "WER, % of words (lower is better)" if task == "asr" else "BLEU (higher is better)"
    scores = [point.y for line in lines for point in line.points]
    return Panel(
        title=display_name(task).replace("\n", " "),
        x_axis=x_axis,
        y_axis=metric,
        lines=lines,
        dense=level,
        is_log=task == "asr" and min(scores, default=0.0) > 0 and max(scores) > _MUCH * min(scores),
    )


def _layer_panel(finder: Finder, group: Group, stack: Stack, title: str) -> Panel:
    layers = 1 + max(site.layer for site in finder.sites if site.stack == stack)
    kinds = [kind for own, kind in _kinds(finder.sites) if own == stack]
    lines = []
    for place, kind in enumerate(kinds):
        uses = [group.estimate(group.use(_of(stack, kind, layer), finder.sites)) for layer in range(layers)]
        shift = _APART * (place - (len(kinds) - 1) / 2)
        points = [_point(layer + shift, use) for layer, use in enumerate(uses)]
        lines.append(Line(name=_KINDS.get(kind, kind), points=points))
    return Panel(
        title=title,
        x_axis="layer, from the input",
        y_axis="% of inputs that run it",
        lines=lines,
        is_percent=True,
        counts_x=True,
    )


def _points_over_steps(finder: Finder, group: Group, kind: str) -> list[Point]:
    width = 100 / NUM_BINS
    uses = [group.use_at(slice(place, place + 1), _of("decoder", kind), finder.sites) for place in range(NUM_BINS)]
    return [_point((place + 0.5) * width, group.estimate(use)) for place, use in enumerate(uses)]


def _plans(finder: Finder, group: Group, language: str) -> list[GatePlan]:
    """The plans of a language's utterances, of all seeds."""
    stacks = ("encoder", "decoder") if group.label("scope") == "both" else (group.label("scope"),)
    columns = [column for column, site in enumerate(finder.sites) if site.stack in stacks]
    sites = tuple(finder.sites[column] for column in columns)
    plans = []
    for sample in group.samples:
        keep = [place for place, own in enumerate(sample.languages) if own == language]
        gates = sample.gates[keep][:, columns]
        is_open = gates[..., 0] >= _OPEN_FROM * np.maximum(gates[..., 1], 1)
        plans += [GatePlan(sites, torch.from_numpy(row[None])) for row in is_open]
    return plans


def _kinds(sites: Sequence[GateSite]) -> list[tuple[Stack, str]]:
    return list(dict.fromkeys((site.stack, site.kind) for site in sites))


def _of(stack: Stack, kind: str, layer: int | None = None):
    return lambda site: (site.stack, site.kind) == (stack, kind) and layer in (None, site.layer)


def _point(x: float, estimate: Estimate) -> Point:
    return Point(x=x, y=estimate.value, y_interval=_ends(estimate.interval))


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)


def _drawn(panels: Sequence[Panel], title: str) -> Figure | None:
    return line_panels(panels, title=title) if any(line.points for panel in panels for line in panel.lines) else None
