"""Who says what: all speeches of a corpus, planned before the first is spoken.

A meaning belongs to one split by its hash, and no sentence of any language (without its opening) is in two splits.
"""

import random
from dataclasses import dataclass

from skipwise.corpus.grammar import LANGUAGES, Meaning, draw_meaning, render
from skipwise.corpus.noise import BABBLE, HELD_OUT_KINDS, KINDS
from skipwise.corpus.rooms import HELD_OUT_ROOMS, NO_ROOM, ROOM_TYPES, Room
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.voices import Speaker, draw_speakers
from skipwise.data.languages import to_iso639_1

# Upper ends of the hash buckets; the meanings of test_unseen differ by their patterns already.
_BUCKETS = {"test": (0.0, 0.12), "dev": (0.12, 0.18), "train": (0.18, 1.0), "test_unseen": (0.0, 1.0)}
_PAIR_CHANCE = 0.3
_BABBLE_VOICES = 4
_HELD_OUT_SHARE = 0.5
"""How often test speech has a noise or room that training never has."""
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
    room: Room
    babble: tuple[tuple[Speaker, Meaning], ...]
    """What others say in the background, if the noise is babble."""
    seed: int
    """The seed of the whole corpus; with the id it decides all that is random in the audio."""

    def texts(self, language: str) -> list[list[str]]:
        """The sentences of each segment in `language`."""
        return [[render(meaning, language) for meaning in segment] for segment in self.segments]


def may_say(meaning: Meaning, split: str) -> bool:
    """Whether the hash of the meaning allows it in `split`."""
    low, high = _BUCKETS[split]
    return low <= meaning.bucket < high


def write_script(settings: CorpusSettings) -> tuple[Speech, ...]:
    """All speeches; per split and language about its share of the hours (lengths are estimated from the text)."""
    taken: dict[str, str] = {}
    held_out = write_held_out(settings, taken)
    return held_out + _write_split(settings, "train", taken)


def write_held_out(settings: CorpusSettings, taken: dict[str, str]) -> tuple[Speech, ...]:
    """The speeches of all splits but train; `taken` gets their sentences, which training must not have."""
    return tuple(speech for split in ("test", "test_unseen", "dev") for speech in _write_split(settings, split, taken))


def _write_split(settings: CorpusSettings, split: str, taken: dict[str, str]) -> tuple[Speech, ...]:
    speeches: list[Speech] = []
    for language in settings.languages:
        rng = random.Random(f"skipwise parliament/{settings.seed}/{split}/{language}")
        speakers = draw_speakers(language, split, settings.speakers(split), rng)
        wanted_s = settings.split_hours(split) * 3600 / len(settings.languages)
        total_s, count = 0.0, 0
        while total_s < wanted_s:
            speaker, name = speakers[count % len(speakers)], f"{to_iso639_1(language)}.{split}.{count:05d}"
            speech = draw_speech(settings, speaker, rng, name=name, split=split, language=language, taken=taken)
            speeches.append(speech)
            total_s += estimated_s(speech)
            count += 1
    return tuple(speeches)


def draw_speech(
    settings: CorpusSettings,
    speaker: Speaker,
    rng: random.Random,
    *,
    name: str,
    split: str,
    language: str,
    taken: dict[str, str],
) -> Speech:
    """A speech of four to eight sentences that no other split has said."""
    segments = _draw_segments(rng, split, taken)
    noise = _draw_kind(rng, split, KINDS, HELD_OUT_KINDS)
    return Speech(
        id=name,
        split=split,
        language=language,
        speaker=speaker,
        segments=segments,
        noise=noise,
        snr_db=round(rng.uniform(settings.snr_min_db, settings.snr_max_db), 2),
        room=_draw_room(rng, split, settings.room_share),
        babble=_draw_babble(rng, split, language, taken) if noise == BABBLE else (),
        seed=settings.seed,
    )


def _draw_kind(rng: random.Random, split: str, kinds: tuple[str, ...], held_out: tuple[str, ...]) -> str:
    if split.startswith("test") and rng.random() < _HELD_OUT_SHARE:
        return rng.choice(held_out)
    return rng.choice([kind for kind in kinds if kind not in held_out])


def _draw_room(rng: random.Random, split: str, share: float) -> Room:
    if rng.random() >= share:
        return Room(kind=NO_ROOM, rt60_s=0.0, distance_m=0.0)
    kind = _draw_kind(rng, split, tuple(ROOM_TYPES), HELD_OUT_ROOMS)
    return Room(
        kind=kind,
        rt60_s=round(rng.uniform(*ROOM_TYPES[kind].rt60_s), 3),
        distance_m=round(rng.uniform(*ROOM_TYPES[kind].distance_m), 2),
    )


def _draw_babble(
    rng: random.Random, split: str, language: str, taken: dict[str, str]
) -> tuple[tuple[Speaker, Meaning], ...]:
    speakers = draw_speakers(language, split, _BABBLE_VOICES, rng)
    return tuple((speaker, _draw_free(rng, split, taken)) for speaker in speakers)


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
        meaning = draw_meaning(rng, split)
        if not may_say(meaning, split):
            continue
        sentences = [render(meaning, language, with_opening=False) for language in LANGUAGES]
        owners = {taken.get(sentence) for sentence in sentences} - {None}
        if owners <= ({split} if split == "train" else set()):
            if split != "train":
                taken.update(dict.fromkeys(sentences, split))
            return meaning


def estimated_s(speech: Speech) -> float:
    """About how long the speech is."""
    texts = speech.texts(speech.language)
    characters = sum(len(sentence) for segment in texts for sentence in segment)
    said_s = characters * _CHARACTER_S[speech.language] / speech.speaker.rate_wpm / speech.speaker.tempo
    return said_s + _PAUSE_S * len(texts)
