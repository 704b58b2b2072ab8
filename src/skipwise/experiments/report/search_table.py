"""What was tried on dev, and what was chosen, as a table of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

DASH = "–"

_NOT_KEYS = frozenset("run seed task asked utterances metric score score_low score_high criterion error chosen".split())


def search_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line a candidate, in the order in which they were tried."""
    keys = [name for name in rows[0] if name not in _NOT_KEYS]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    criterion = {
        "mean_error": "the mean over tasks of WER and of 100 - BLEU",
        "wer": "the WER",
        "bleu": "100 - BLEU",
    }[rows[0]["criterion"]]
    utterances = max(row["utterances"] for row in rows)
    intro = (
        '<p class="soft">Every run had the same values to choose from, those that change nothing for it left out. '
        f"What decides is {criterion}, on {utterances} dev utterances, at the run's first seed, with as much skipped "
        "as was asked for; all its seeds took what was chosen.</p>"
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in ("run", *keys))
    head += "".join(f'<th class="number">{escape(name)}</th>' for name in (*tasks, "decides"))
    lines = []
    for _, group in groupby(rows, key=lambda row: (row["run"], *(row[key] for key in keys))):
        lines.append(_line(list(group), keys, tasks))
    return f'{intro}<div class="wide"><table><thead><tr>{head}<th></th></tr></thead>{"".join(lines)}</table></div>'


def _line(group: Sequence[Mapping[str, Any]], keys: Sequence[str], tasks: Sequence[str]) -> str:
    first = group[0]
    texts = [first["run"], *(DASH if first[key] is None else str(first[key]) for key in keys)]
    numbers = [_scores([row for row in group if row["task"] == task]) for task in tasks]
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    cells += "".join(f'<td class="number">{escape(text)}</td>' for text in [*numbers, f"{first['error']:.1f}"])
    mark = '<span class="verdict supported">chosen</span>' if first["chosen"] else ""
    return f"<tr>{cells}<td>{mark}</td></tr>"


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    """The score of a task; of several budgets one each."""
    told = []
    for row in rows:
        budget = f"{100 * row['asked']:.0f} %: " if row["asked"] is not None and len(rows) > 1 else ""
        told.append(f"{budget}{row['metric'].upper()} {row['score']:.1f}")
    return ", ".join(told) or DASH
