"""A report as one page of HTML: figures within it, nothing fetched, readable in the dark and on paper."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from skipwise.evaluation.resamples import Estimate
from skipwise.experiments.report.figures import Picture
from skipwise.experiments.report.finder import Finder
from skipwise.experiments.report.groups import Group
from skipwise.experiments.report.load import SweepData
from skipwise.experiments.report.measures import NEAR
from skipwise.experiments.report.search_table import search_table
from skipwise.experiments.report.verdicts import Claim, Part

DASH = "–"


def page(finder: Finder, claims: Sequence[Claim], pictures: Sequence[tuple[Picture, Path | None]]) -> str:
    """Return the page; each picture comes with its file, if it was drawn."""
    data = finder.data
    title = f"Report on {escape(data.root.resolve().name)}"
    css = (files("skipwise.experiments.report") / "style.css").read_text(encoding="utf-8")
    body = [
        f"<h1>{title}</h1>",
        _summary(data, claims),
        _section("Claims", _claims_table(claims), id_="claims"),
        _section("Figures", "".join(_figure(picture, path) for picture, path in pictures), id_="figures"),
        _section("All systems", _systems_table(finder), id_="systems"),
        _section("Chosen on dev", search_table(data.search), id_="search") if data.search else "",
        _section("How it was measured", _settings(data), id_="settings"),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>\n{css}</style></head>\n'
        f"<body>\n{''.join(body)}\n</body></html>\n"
    )


def _section(title: str, content: str, *, id_: str) -> str:
    return f'<section id="{id_}"><h2>{title}</h2>\n{content}</section>\n'


def _summary(data: SweepData, claims: Sequence[Claim]) -> str:
    verdicts = Counter(claim.verdict for claim in claims)
    num_utterances = max(len(sample.ids) for sample in data.samples)
    num_speakers = max(len(set(sample.speakers)) for sample in data.samples)
    seeds = sorted({sample.labels["seed"] for sample in data.samples})
    told = [
        f"{len(data.done)} of {len(data.done) + len(data.missing)} trainings are done, seeds "
        f"{', '.join(map(str, seeds))}; {num_utterances} utterances of {num_speakers} speakers.",
        f"Of {len(claims)} claims {verdicts['supported']} are supported, {verdicts['not supported']} are not, and "
        f"{verdicts['open']} are open.",
    ]
    if data.missing:
        told.append(f"Missing: {', '.join(data.missing)}.")
    return "".join(f"<p>{escape(line)}</p>" for line in told)


def _claims_table(claims: Sequence[Claim]) -> str:
    intro = (
        '<p class="soft">Each claim of Someki et al. 2025, and ours, on the rows of this sweep. A claim is supported '
        "where the whole 95 % interval (paired bootstrap over speakers and seeds) lies on its side of the bound, not "
        "supported where all of it lies on the other, and open where it lies on both, nothing measures it, or a "
        "system skips "
        f"{NEAR:g} points more or less than it was to. A single seed says nothing of other seeds.</p>"
    )
    rows = []
    for claim in claims:
        rows.append(
            f'<tr class="claim"><td>{escape(claim.number)}</td><td>{escape(claim.text)}</td><td></td>'
            f"<td>{_verdict(claim.verdict)}</td></tr>"
        )
        rows += [_part_row(part) for part in claim.parts]
    head = '<tr><th>claim</th><th>measured</th><th class="number">value [95 % interval]</th><th>verdict</th></tr>'
    return f'{intro}<div class="wide"><table><thead>{head}</thead>{"".join(rows)}</table></div>'


def _part_row(part: Part) -> str:
    says = escape(part.says)
    if part.estimate is None and part.needs:
        says += f'<br><span class="needs">{escape(part.needs)}</span>'
    number = DASH if part.estimate is None else shown(part.estimate, part.unit)
    return (
        f'<tr class="part"><td></td><td>{says}</td><td class="number">{number}</td>'
        f"<td>{_verdict(part.verdict)}</td></tr>"
    )


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>'


def shown(estimate: Estimate, unit: str = "") -> str:
    """Return a number with its interval: `-1.3 [-2.0, -0.4] BLEU`."""
    if estimate.interval is None:
        return f"{estimate.value:.1f}{unit}"
    return f"{estimate.value:.1f} [{estimate.interval.low:.1f}, {estimate.interval.high:.1f}]{unit}"


def _figure(picture: Picture, path: Path | None) -> str:
    if path is None:
        return f"<p><b>{escape(picture.caption)}</b><br><span class='needs'>{escape(picture.needs)}</span></p>"
    encoded = base64.b64encode(path.read_bytes()).decode()
    caption = escape(picture.caption)
    return (
        f'<figure id="{picture.name}"><img alt="{caption}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


_COLUMNS = ("run", "seeds", "system", "task", "asked", "skipped", "quality", "time, % of dense", "MACs, % of dense")
_NUM_LEFT = 4


def _systems_table(finder: Finder) -> str:
    head = "".join(
        f"<th{' class=number' if place >= _NUM_LEFT else ''}>{name}</th>" for place, name in enumerate(_COLUMNS)
    )
    groups = sorted(finder.groups, key=lambda g: (g.task, g.label("run"), g.condition, g.asked or 0.0))
    rows = "".join(_system_row(finder, group) for group in groups)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{rows}</table></div>'


def _system_row(finder: Finder, group: Group) -> str:
    is_pruned = group.condition not in ("open", "yardstick")
    metric = "WER" if group.task == "asr" else "BLEU"
    cells = [
        group.label("run"),
        ", ".join(map(str, group.seeds)),
        group.condition,
        group.task,
        f"{100 * group.asked:.0f} %" if is_pruned and group.asked is not None else DASH,
        f"{finder.skipped(group).value:.1f} %" if is_pruned else DASH,
        f"{metric} {shown(group.estimate(group.quality()))}",
        shown(group.estimate(group.time())),
        f"{group.estimate(group.macs()).value:.1f}",
    ]
    return (
        "<tr>"
        + "".join(
            f"<td{' class=number' if place >= _NUM_LEFT else ''}>{escape(cell)}</td>"
            for place, cell in enumerate(cells)
        )
        + "</tr>"
    )


def _settings(data: SweepData) -> str:
    flat: Mapping[str, Any] = {name: value for name, value in data.settings.items() if not isinstance(value, dict)}
    lines = ", ".join(f"{name} {value}" for name, value in flat.items())
    rest = json.dumps({"evaluation": data.evaluation, "settings": dict(data.settings)}, indent=1)
    return (
        f'<p class="soft">{escape(lines)}</p><details><summary>everything</summary><pre>{escape(rest)}</pre></details>'
    )
