"""What ESPnet answered to the full matrix, small enough to be kept: `tests/golden/oracle/tiny.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from skipwise.models.owsm.architecture import OwsmArchitecture
from tests.interop.agreement import Theirs, in_our_terms, tolerance
from tests.interop.checkpoints import GOLDEN
from tests.interop.matrix import Matrix
from tests.interop.skipwise_side import decode_options

FILE = GOLDEN / "tiny.json"
MOST_TOKENS = 220
"""A group with a longer hypothesis is not kept: it is large and slow, and says little that others do not."""


@dataclass(frozen=True)
class Golden:
    """The file's content."""

    versions: dict[str, str]
    checkpoints: dict[str, Any]
    """Shapes and checksum of each checkpoint's weights."""
    groups: list[list[list[Theirs]] | None]
    """For each group of the matrix the n-best list of each row; None for those that take long."""
    long_form: dict[str, Any]
    heads: dict[str, Any]

    @classmethod
    def load(cls) -> Golden:
        """Return what is kept."""
        record = json.loads(FILE.read_text(encoding="utf-8"))
        groups = [
            group
            and [[Theirs(tuple(tokens), score, bool(finished)) for tokens, score, finished in row] for row in group]
            for group in record["groups"]
        ]
        return cls(record["versions"], record["checkpoints"], groups, record["long_form"], record["heads"])


def nbest_lists(asked: Matrix, record: dict[str, Any], architecture: OwsmArchitecture) -> list[list[list[Theirs]]]:
    """Return the n-best list of each row of each group that ESPnet wrote; all checkpoints have one vocabulary."""
    lists = []
    for group, answers in zip(asked.groups, record["groups"], strict=True):
        limit = decode_options(group.options).max_tokens(answers["num_frames"])
        rows = zip(group.rows, answers["rows"], strict=True)
        lists.append([in_our_terms(row, max_tokens=limit, eos=architecture.eos_token_id) for _, row in rows])
    return lists


def keep(record: dict[str, Any], groups: list[list[list[Theirs]]]) -> None:
    """Write the golden file, if there is none or another answer in it: one line a group."""
    chosen = [group if _longest(group) <= MOST_TOKENS else None for group in groups]
    if FILE.exists() and _is_same(Golden.load(), record, chosen):
        return
    head = {name: record[name] for name in ("versions", "checkpoints", "long_form", "heads")}
    lines = [
        _compact(group and [[[t.tokens, round(t.score, 5), int(t.finished)] for t in row] for row in group])
        for group in chosen
    ]
    FILE.write_text(f'{_compact(head)[:-1]},\n"groups":[\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def _longest(group: list[list[Theirs]]) -> int:
    return max((len(theirs.tokens) for row in group for theirs in row), default=0)


def _compact(record: Any) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _is_same(kept: Golden, record: dict[str, Any], groups: list[list[list[Theirs]] | None]) -> bool:
    """Whether only the last digits differ, as they do from machine to machine."""
    before, now = (
        [theirs for rows in some for nbest in rows or [] for theirs in nbest] for some in (kept.groups, groups)
    )
    return (
        kept.checkpoints == record["checkpoints"]
        and kept.long_form == record["long_form"]
        and [(t.tokens, t.finished) for t in before] == [(t.tokens, t.finished) for t in now]
        and all(abs(a.score - b.score) <= tolerance(b.score) for a, b in zip(before, now, strict=True))
    )
