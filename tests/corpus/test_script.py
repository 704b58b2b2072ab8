import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import skipwise
from skipwise.corpus.grammar import LANGUAGES, render
from skipwise.corpus.noise import HELD_OUT_KINDS, KINDS
from skipwise.corpus.rooms import HELD_OUT_ROOMS, NO_ROOM, ROOM_TYPES
from skipwise.corpus.script import may_say, write_held_out, write_script
from skipwise.corpus.settings import PRESETS, SPLITS, CorpusSettings, preset
from skipwise.corpus.templates import unseen_templates
from skipwise.corpus.voices import VARIANTS, variants_of
from skipwise.errors import SkipwiseError


@pytest.fixture(scope="module")
def speeches():
    return write_script(CorpusSettings(hours=0.35, dev_hours=0.05, test_hours=0.2).resolved())


def test_a_shorter_test_split_is_the_beginning_of_a_longer_one():
    long, short = (
        write_held_out(CorpusSettings(hours=hours, dev_hours=0.01, test_hours=test_hours).resolved(), {})
        for hours, test_hours in ((60, 0.2), (12, 0.1))
    )
    for language in ("deu", "fra", "ita"):
        said = [speech for speech in short if (speech.split, speech.language) == ("test", language)]
        assert said == [s for s in long if (s.split, s.language) == ("test", language)][: len(said)]
        assert len(said) > 3


def _by_split(speeches, values):
    found = {split: set() for split in SPLITS}
    for speech in speeches:
        found[speech.split].update(values(speech))
    return found


def _disjoint(found):
    return all(found.values()) and sum(map(len, found.values())) == len(set().union(*found.values()))


def test_no_meaning_is_in_two_splits(speeches):
    assert _disjoint(_by_split(speeches, lambda s: [m.key for segment in s.segments for m in segment]))
    assert all(may_say(meaning, s.split) for s in speeches for segment in s.segments for meaning in segment)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_in_two_splits(speeches, language):
    def sentences(speech):
        return [render(meaning, language, with_opening=False) for segment in speech.segments for meaning in segment]

    assert _disjoint(_by_split(speeches, sentences))


def test_no_speaker_and_no_voice_is_in_two_splits(speeches):
    assert _disjoint(_by_split(speeches, lambda s: [s.speaker.name]))
    voices = _by_split(speeches, lambda s: variants_of(s.speaker.voice))
    voices["test"] |= voices.pop("test_unseen")
    assert _disjoint(voices)


def test_unseen_templates_are_in_their_own_split_only(speeches):
    found = _by_split(speeches, lambda s: [m.template for segment in s.segments for m in segment])
    assert found["test_unseen"] <= unseen_templates()
    assert not (found["train"] | found["dev"] | found["test"]) & unseen_templates()


@pytest.mark.parametrize(
    ("value", "everything", "held_out"),
    [
        (lambda s: [s.noise], set(KINDS), set(HELD_OUT_KINDS)),
        (lambda s: [s.room.kind], {*ROOM_TYPES, NO_ROOM}, set(HELD_OUT_ROOMS)),
    ],
)
def test_some_noises_and_rooms_are_for_test_only(speeches, value, everything, held_out):
    found = _by_split(speeches, value)
    assert found["train"] == everything - held_out
    assert held_out < found["test"] and len(found["test"]) > len(held_out)
    assert not found["dev"] & held_out


def test_rooms_and_ratios_are_spread_over_their_ranges(speeches):
    ratios = [speech.snr_db for speech in speeches]
    assert min(ratios) < 4 and max(ratios) > 26 and all(0 <= ratio <= 30 for ratio in ratios)
    times = [speech.room.rt60_s for speech in speeches if speech.room.kind != NO_ROOM]
    assert min(times) < 0.35 and max(times) > 0.65 and all(0.2 <= time <= 0.8 for time in times)


def test_babble_is_what_others_say(speeches):
    for speech in speeches:
        assert bool(speech.babble) == (speech.noise == "babble")
        assert all(may_say(meaning, speech.split) for _, meaning in speech.babble)


def test_presets_have_names_and_sizes():
    assert PRESETS["tiny"].hours < PRESETS["small"].hours < PRESETS["full"].hours
    assert preset("full").split_hours("test") >= 9
    for split in SPLITS:
        assert preset("study").speakers(split) == preset("full").speakers(split)
    with pytest.raises(SkipwiseError, match=r"unknown preset 'huge'\. There are: tiny, small, study, full"):
        preset("huge")


def test_speakers_of_train_have_voices_of_their_own_and_held_out_ones_are_espeaks(speeches):
    speakers = {speech.speaker.name: speech.speaker for speech in speeches if speech.split == "train"}
    assert len({speaker.own_voice for speaker in speakers.values()}) == len(speakers)
    parents = {name for speaker in speakers.values() for name in variants_of(speaker.voice)}
    assert parents <= set(VARIANTS["train"])
    assert not any(speech.speaker.own_voice for speech in speeches if speech.split != "train")


def test_train_uses_many_speakers_and_the_dialects(speeches):
    voices = {speech.speaker.voice for speech in speeches}
    assert {voice.split("+")[0] for voice in voices} == {"de", "fr", "fr-be", "fr-ch", "it"}
    assert len({speech.speaker.name for speech in speeches if speech.split == "train"}) > 30


def test_a_speech_has_four_to_eight_sentences_in_segments_of_one_or_two(speeches):
    sizes = [[len(segment) for segment in speech.segments] for speech in speeches]
    assert {sum(size) for size in sizes} == {4, 5, 6, 7, 8}
    assert {one for size in sizes for one in size} == {1, 2}


def test_the_seed_decides_and_the_languages_are_independent(speeches):
    settings = CorpusSettings(hours=0.01)
    assert write_script(settings) == write_script(settings)
    assert write_script(settings) != write_script(replace(settings, seed=2))


def test_small_corpora_have_small_test_sets_and_large_ones_at_least_twenty_minutes():
    assert CorpusSettings(hours=0.01).split_hours("test") == pytest.approx(0.01 / 3, abs=1e-6)
    assert CorpusSettings(hours=1.0).split_hours("test") == pytest.approx(1 / 3, abs=1e-6)
    assert CorpusSettings(hours=14.0).split_hours("test") == pytest.approx(1.4)
    assert CorpusSettings(hours=14.0).split_hours("dev") == pytest.approx(0.56)
    assert CorpusSettings(hours=14.0, dev_hours=0.1).split_hours("dev") == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": 0.0}, "hours must be between 0.001 and 2000, got 0"),
        ({"test_hours": -1.0}, "test_hours must be between"),
        ({"languages": ("de", "es")}, "languages must be different ones of de, fr, it, got de, es"),
        ({"languages": ()}, "got none"),
        ({"languages": ("de", "deu")}, "different ones"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"train_speakers": 0}, "train_speakers must be between 1 and 999"),
        ({"room_share": 1.5}, r"room_share must be in \[0, 1\], got 1.5"),
        ({"snr_min_db": 40.0}, "snr_min_db <= snr_max_db"),
    ],
)
def test_settings_outside_their_range_are_refused(changes, message):
    with pytest.raises(SkipwiseError, match=message):
        replace(CorpusSettings(hours=1.0), **changes)


def test_neither_the_corpus_nor_the_data_brings_torch():
    """Speech is made in forks of a small process; torch would make each of them slow."""
    program = (
        "import sys, skipwise.corpus, skipwise.data.manifest, skipwise.data.batching; sys.exit('torch' in sys.modules)"
    )
    source = Path(skipwise.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=source, check=False).returncode == 0
