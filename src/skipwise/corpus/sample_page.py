"""A page to read and hear: a sentence of every template in four languages, with the facts of its audio."""

import html
from collections.abc import Sequence
from pathlib import Path

from skipwise.atomic import atomic_write
from skipwise.corpus.check import Corpus, Finding, SplitCounts, meanings_of
from skipwise.corpus.grammar import Meaning, render
from skipwise.corpus.settings import SPLITS
from skipwise.corpus.templates import templates, unseen_templates
from skipwise.data.languages import to_iso639_1
from skipwise.data.sidecar import SegmentFacts

_ORDER = ("eng", "deu", "fra", "ita")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { border-top: 1px solid #ccc; padding: .35rem .6rem; text-align: left; vertical-align: top }
.facts { color: #666; font-size: .85em } .failed { color: #a00 } audio { width: 12rem }
"""


def write_sample_page(
    path: str | Path, corpus: Corpus, findings: Sequence[Finding], counts: Sequence[SplitCounts]
) -> None:
    """Write one HTML file; its audio is linked relative to the corpus, so it belongs into the corpus' folder."""
    body = [
        f"<h1>The parliament corpus: {html.escape(corpus.folder.name)}</h1>",
        _table(("check", "result", "detail"), [_finding_row(finding) for finding in findings]),
        _table(
            ("split", "language", "segments", "sentences", "source words", "English words", "hours"),
            [_count_row(one) for one in counts],
        ),
        _table(("template", "English", "German", "French", "Italian", "audio"), _samples(corpus)),
    ]
    with atomic_write(path) as file:
        file.write("<!doctype html>\n<html lang=en><meta charset=utf-8><title>Parliament corpus</title>\n")
        file.write(f"<style>{_STYLE}</style>\n")
        file.writelines(f"{part}\n" for part in body)


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(one)}" for one in heads)
    return f"<table><tr>{head}\n" + "\n".join(rows) + "</table>"


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _finding_row(finding: Finding) -> str:
    result = "passed" if finding.passed else "<b class=failed>failed</b>"
    return _row((html.escape(finding.name), result, html.escape(finding.detail)))


def _count_row(one: SplitCounts) -> str:
    return _row(
        (
            one.split,
            one.language,
            *(f"{value:,}" for value in (one.segments, one.sentences, one.source_words, one.english_words)),
            f"{one.hours:.2f}",
        )
    )


def _samples(corpus: Corpus) -> list[str]:
    """A row per template that the corpus has, held-out ones last."""
    first: dict[str, tuple[Meaning, SegmentFacts, int]] = {}
    for split in reversed(SPLITS):
        for fact in corpus.facts[split]:
            for place, meaning in enumerate(meanings_of(fact)):
                first.setdefault(meaning.template, (meaning, fact, place))
    ordered = sorted((name for name in templates() if name in first), key=lambda name: name in unseen_templates())
    return [_sample(name, *first[name]) for name in ordered]


def _sample(name: str, meaning: Meaning, fact: SegmentFacts, place: int) -> str:
    source = fact.speech.split(".")[0]
    start, end = fact.sentences_s[place]
    room = fact.room if fact.room == "none" else f"{fact.room}, RT60 {fact.rt60_s:g} s, {fact.distance_m:g} m"
    facts = f"{to_iso639_1(source)}, {fact.split}, {fact.voice}, {fact.noise} at {fact.snr_db:.0f} dB, {room}"
    sound = f"v1.1/{source}/audios/{fact.speech}.m4a#t={start:g},{end:g}"
    audio = (
        f'<audio controls preload=none src="{html.escape(sound)}"></audio><div class=facts>{html.escape(facts)}</div>'
    )
    mark = " (held out)" if name in unseen_templates() else ""
    return _row((html.escape(name) + mark, *(html.escape(render(meaning, code)) for code in _ORDER), audio))
