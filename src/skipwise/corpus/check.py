"""Whether a finished corpus keeps what it promises: nothing shared between splits, and text that is hard to guess."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import final

from skipwise.corpus.grammar import LANGUAGES, Meaning, render
from skipwise.corpus.language_model import ORDER, WordModel, words
from skipwise.corpus.lexicon import lemma_counts, surnames
from skipwise.corpus.listing import TARGET
from skipwise.corpus.noise import HELD_OUT_KINDS
from skipwise.corpus.rooms import HELD_OUT_ROOMS
from skipwise.corpus.settings import SPLITS
from skipwise.corpus.templates import templates, unseen_templates
from skipwise.corpus.voices import variants_of
from skipwise.data.languages import to_iso639_1, to_iso639_3
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import SegmentFacts, join_facts, read_sidecar, sidecar_path
from skipwise.errors import SkipwiseError

PERPLEXITY_FLOOR = 25.0
"""Least perplexity of the test text under a 5-gram of the train text. The first grammar had 9 to 10, and models of it
saturated (BLEU 99); this one has 35 to 70, falling with the size of train. Europarl has about 60 to 100."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    name: str
    passed: bool
    detail: str


@final
class Corpus:
    """A finished corpus, read once."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = sorted(self.folder.glob("segments.*.jsonl"))
        if not found:
            raise SkipwiseError(
                f"{folder} has no segments.<language>.jsonl, so it is no finished synthetic corpus. "
                "Make one: skipwise corpus build."
            )
        self.languages = tuple(to_iso639_3(path.name.split(".")[1]) for path in found)
        facts = {language: read_sidecar(sidecar_path(folder, language)) for language in self.languages}
        self.utterances: dict[str, list[Utterance]] = {}
        self.facts: dict[str, list[SegmentFacts]] = {}
        for split in SPLITS:
            self.utterances[split] = read_data(folder, split)
            rows = [fact for language in self.languages for fact in facts[language] if fact.split == split]
            self.facts[split] = join_facts(self.utterances[split], rows)

    @cached_property
    def meanings(self) -> Mapping[str, list[Meaning]]:
        """The meanings of every split."""
        return {split: [one for fact in facts for one in meanings_of(fact)] for split, facts in self.facts.items()}

    def texts(self, split: str, language: str) -> list[str]:
        """What is said (or, for English, what it means in English) in the segments of a split."""
        return [
            text
            for utterance in self.utterances[split]
            if (text := utterance.reference("st_eng") if language == TARGET else self._said(utterance, language))
        ]

    @staticmethod
    def _said(utterance: Utterance, language: str) -> str:
        return utterance.reference("asr") if utterance.language == language else ""


def meanings_of(fact: SegmentFacts) -> list[Meaning]:
    """The meanings of a segment, as they were drawn."""
    return [
        Meaning(template=template, slots=row["slots"], opening=row["opening"])
        for template, row in zip(fact.templates, fact.meanings, strict=True)
    ]


def check_corpus(
    corpus: Corpus, *, perplexity_floor: float = PERPLEXITY_FLOOR, checks: Iterable[str] | None = None
) -> list[Finding]:
    """The findings of all checks (or of those named), in the order of CHECKS."""
    chosen = tuple(CHECKS) if checks is None else tuple(checks)
    for name in chosen:
        if name not in CHECKS:
            raise SkipwiseError(f"unknown check {name!r}. There are: {', '.join(CHECKS)}.")
    return [finding for name in chosen for finding in CHECKS[name](corpus, perplexity_floor)]


def _disjoint(corpus: Corpus, name: str, values: Callable[[str], Iterable[str]]) -> Finding:
    """Whether no value is in two splits."""
    owners: dict[str, str] = {}
    shared: list[str] = []
    for split in SPLITS:
        several = [value for value in values(split) if owners.setdefault(value, split) != split]
        shared += [f"{value} ({owners[value]}, {split})" for value in several]
    detail = f"{len(owners)} in all" if not shared else f"{len(shared)} shared, e.g. {shared[0]}"
    return Finding(name=name, passed=not shared, detail=detail)


def _meanings(corpus: Corpus, floor: float) -> list[Finding]:
    found = [_disjoint(corpus, "no meaning in two splits", lambda split: (m.key for m in corpus.meanings[split]))]
    for language in LANGUAGES:

        def sentences(split: str, language: str = language) -> Iterable[str]:
            return (render(meaning, language, with_opening=False) for meaning in corpus.meanings[split])

        found.append(_disjoint(corpus, f"no sentence in two splits: {to_iso639_1(language)}", sentences))
    return found


def _held_out(corpus: Corpus, floor: float) -> list[Finding]:
    """Whether train and dev are free of what is held out; a tiny test split may not meet all of it."""
    kinds: Mapping[str, tuple[frozenset[str], Callable[[str], set[str]]]] = {
        "names": (
            frozenset(surnames(True)),
            lambda split: {name for meaning in corpus.meanings[split] for name in meaning.names},
        ),
        "noises": (frozenset(HELD_OUT_KINDS), lambda split: {fact.noise for fact in corpus.facts[split]}),
        "rooms": (frozenset(HELD_OUT_ROOMS), lambda split: {fact.room for fact in corpus.facts[split]}),
        "templates": (
            unseen_templates(),
            lambda split: {template for fact in corpus.facts[split] for template in fact.templates},
        ),
    }
    findings = []
    for name, (held_out, seen) in kinds.items():
        known, new = seen("train") | seen("dev"), seen("test") | seen("test_unseen")
        leaked, met = held_out & known, held_out & new
        detail = f"{len(met)} of {len(held_out)} held out are met in test" if not leaked else f"in train: {min(leaked)}"
        findings.append(Finding(name=f"held-out {name}", passed=not leaked, detail=detail))
    return findings


def _voices(corpus: Corpus, floor: float) -> list[Finding]:
    def groups(split: str) -> Iterable[str]:
        return {name for fact in corpus.facts[split] for name in variants_of(fact.voice)}

    test = set(groups("test")) | set(groups("test_unseen"))
    shared = test & set(groups("train")) | test & set(groups("dev")) | set(groups("train")) & set(groups("dev"))
    detail = f"{len(test)} voices in test" if not shared else f"shared: {min(shared)}"
    return [Finding(name="held-out voices", passed=not shared, detail=detail)]


def perplexities(corpus: Corpus) -> dict[str, dict[str, float]]:
    """Language -> split -> perplexity per word of `test` and `test_unseen` under a 5-gram of train."""
    found: dict[str, dict[str, float]] = {}
    for language in (*corpus.languages, TARGET):
        model = WordModel(words(text) for text in corpus.texts("train", language))
        found[language] = {
            split: model.perplexity([words(text) for text in corpus.texts(split, language)])
            for split in ("test", "test_unseen")
        }
    return found


def _perplexity(corpus: Corpus, floor: float) -> list[Finding]:
    return [
        Finding(
            name=f"perplexity of a {ORDER}-gram: {to_iso639_1(language)}",
            passed=values["test"] >= floor,
            detail=f"test {values['test']:.1f}, test_unseen {values['test_unseen']:.1f}; the floor is {floor:g}",
        )
        for language, values in perplexities(corpus).items()
    ]


def _grammar(corpus: Corpus, floor: float) -> list[Finding]:
    lemmas = lemma_counts()
    return [
        Finding(
            name="size of the grammar",
            passed=len(templates()) >= 150 and min(lemmas.values()) >= 1500,
            detail=f"{len(templates())} templates, at least {min(lemmas.values())} lexemes a language",
        )
    ]


Check = Callable[[Corpus, float], Sequence[Finding]]
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "grammar": _grammar,
        "meanings": _meanings,
        "held-out": _held_out,
        "voices": _voices,
        "perplexity": _perplexity,
    }
)
"""The checks that need no model, by name; validity.py has what two models' scores say."""


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Sizes of one split in one language."""

    split: str
    language: str
    segments: int
    sentences: int
    source_words: int
    english_words: int
    hours: float
    """Of the segments, pauses between them left out."""


def count_splits(corpus: Corpus) -> list[SplitCounts]:
    """The sizes of every split and source language."""
    groups: dict[tuple[str, str], list[tuple[Utterance, SegmentFacts]]] = defaultdict(list)
    for split in SPLITS:
        for utterance, fact in zip(corpus.utterances[split], corpus.facts[split], strict=True):
            groups[split, utterance.language].append((utterance, fact))
    return [
        SplitCounts(
            split=split,
            language=to_iso639_1(language),
            segments=len(pairs),
            sentences=sum(len(fact.templates) for _, fact in pairs),
            source_words=sum(len(utterance.reference("asr").split()) for utterance, _ in pairs),
            english_words=sum(len(utterance.reference("st_eng").split()) for utterance, _ in pairs),
            hours=sum(utterance.duration_s for utterance, _ in pairs) / 3600,
        )
        for (split, language), pairs in groups.items()
    ]
