"""Who says what: all speeches of a corpus, planned before the first is spoken.

A meaning belongs to one split by its hash, and no sentence of any language (without its opening) is in two splits.
"""

import random
from dataclasses import dataclass

from skipwise.corpus.grammar import LANGUAGES, Meaning, draw_meaning, render
from skipwise.corpus.noise import KINDS
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.voices import Speaker, draw_speakers
from skipwise.data.languages import to_iso639_1

# Upper ends of the hash buckets.
_BUCKETS = {"test": (0.0, 0.12), "dev": (0.12, 0.18), "train": (0.18, 1.0)}
_PAIR_CHANCE = 0.3
# Seconds per character at one word per minute, measured on 300 sentences each; and the mean pause after a segment.
_CHARACTER_S = {"deu": 9.5, "fra": 8.2, "ita": 9.9}
_PAUSE_S = 0.7


@dataclass(frozen=True, kw_only=True)
class Speech:
    """One speech: one audio file."""

    id: str
    split: str
    language: str
    speaker: Speaker
    segments: tuple[tuple[Meaning, ...], ...]
    """One or two sentences each."""
    noise: str
    snr_db: float
    seed: int
    """The seed of the whole corpus; with the id it decides all that is random in the audio."""

    def texts(self, language: str) -> list[list[str]]:
        """The sentences of each segment in `language`."""
        return [[render(meaning, language) for meaning in segment] for segment in self.segments]


def split_of(meaning: Meaning) -> str:
    """The only split in which this meaning may be said."""
    return next(split for split, (low, high) in _BUCKETS.items() if low <= meaning.bucket < high)


def write_script(settings: CorpusSettings) -> tuple[Speech, ...]:
    """All speeches; per split and language about its share of the hours (lengths are estimated from the text)."""
    taken: dict[str, str] = {}
    speeches: list[Speech] = []
    # The small splits first: a training sentence that looks like one of theirs is dropped.
    for split in ("test", "dev", "train"):
        for language in settings.languages:
            speeches += _write_split(settings, split, language, taken)
    return tuple(speeches)


def _write_split(settings: CorpusSettings, split: str, language: str, taken: dict[str, str]) -> list[Speech]:
    rng = random.Random(f"skipwise parliament/{settings.seed}/{split}/{language}")
    speakers = draw_speakers(language, split, getattr(settings, f"{split}_speakers"), rng)
    wanted_s = settings.split_hours(split) * 3600 / len(settings.languages)
    speeches: list[Speech] = []
    total_s = 0.0
    while total_s < wanted_s:
        speech = Speech(
            id=f"{to_iso639_1(language)}.{split}.{len(speeches):05d}",
            split=split,
            language=language,
            speaker=speakers[len(speeches) % len(speakers)],
            segments=_draw_segments(rng, split, taken),
            noise=rng.choice(KINDS),
            snr_db=round(rng.uniform(settings.snr_min_db, settings.snr_max_db), 2),
            seed=settings.seed,
        )
        speeches.append(speech)
        total_s += _estimated_s(speech)
    return speeches


def _draw_segments(rng: random.Random, split: str, taken: dict[str, str]) -> tuple[tuple[Meaning, ...], ...]:
    sentences = [_draw_free(rng, split, taken) for _ in range(rng.randint(4, 8))]
    segments: list[tuple[Meaning, ...]] = []
    while sentences:
        size = 2 if len(sentences) > 1 and rng.random() < _PAIR_CHANCE else 1
        segments.append(tuple(sentences[:size]))
        sentences = sentences[size:]
    return tuple(segments)


def _draw_free(rng: random.Random, split: str, taken: dict[str, str]) -> Meaning:
    """A meaning of this split none of whose sentences another split has (nor, outside training, this one)."""
    while True:
        meaning = draw_meaning(rng)
        if split_of(meaning) != split:
            continue
        sentences = [render(meaning, language, with_opening=False) for language in LANGUAGES]
        owners = {taken.get(sentence) for sentence in sentences} - {None}
        if owners <= ({split} if split == "train" else set()):
            taken.update(dict.fromkeys(sentences, split))
            return meaning


def _estimated_s(speech: Speech) -> float:
    texts = speech.texts(speech.language)
    characters = sum(len(sentence) for segment in texts for sentence in segment)
    return characters * _CHARACTER_S[speech.language] / speech.speaker.rate_wpm + _PAUSE_S * len(texts)
