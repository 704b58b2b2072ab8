import io
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skipwise.corpus import clean_process
from skipwise.corpus import speech as espeak
from skipwise.corpus.noise import KINDS, add_noise
from skipwise.corpus.own_voice import draw_own_voice, variant_path
from skipwise.corpus.recording import FILE_RATE, encode_m4a, mix
from skipwise.corpus.rooms import NO_ROOM, ROOM_TYPES, Room, impulse_response, reverberated
from skipwise.corpus.script import write_script
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.voices import VARIANTS, Speaker
from skipwise.errors import SkipwiseError

pytest.importorskip("espeakng_loader")

SPEAKER = Speaker(name="s", voice="de+m3", rate_wpm=180, pitch=50, pitch_range=50, loudness_db=0.0)


def test_what_was_said_before_does_not_change_what_is_said():
    first = espeak.say(["Guten Tag."], SPEAKER)[0]
    espeak.say(["Etwas ganz anderes, und viel länger."], SPEAKER)
    again = espeak.say(["Guten Tag."], SPEAKER)[0]
    np.testing.assert_array_equal(first, again)
    assert len(first) > espeak.SAMPLE_RATE // 3


def test_another_voice_says_it_otherwise():
    first, other = (espeak.say(["Guten Tag."], speaker)[0] for speaker in (SPEAKER, _with_voice("de+f4")))
    assert len(first) != len(other) or not np.array_equal(first, other)


def _with_voice(voice):
    return Speaker(name="s", voice=voice, rate_wpm=180, pitch=50, pitch_range=50, loudness_db=0.0)


def _own_voice(seed, parents=("f4", "m3")):
    return draw_own_voice(parents, random.Random(seed))


def _says(own_voice, voice="fr-be+f4~m3"):
    return espeak.say(["Bonjour."], replace(_with_voice(voice), own_voice=own_voice))[0]


def test_an_own_voice_made_of_a_variants_lines_is_that_variant():
    kept = [line for line in variant_path("f4").read_text().splitlines() if line.split()[:1] != ["language"]]
    np.testing.assert_array_equal(_says("\n".join(kept)), espeak.say(["Bonjour."], _with_voice("fr-be+f4"))[0])


def test_own_voices_of_the_same_parents_differ_and_stay_what_they_are():
    first, again, other = _says(_own_voice(1)), _says(_own_voice(1)), _says(_own_voice(2))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_the_formants_of_own_voices_lie_around_those_of_their_parents():
    """f4's first is at 115 % of the language's own, m3's at 96; two deviations of both kinds are a quarter more."""
    drawn = [float(_own_voice(seed).split("formant 1 ")[1].split()[0]) for seed in range(200)]
    reach = math.exp(2 * (0.07 + 0.04))
    assert min(drawn) >= 96 / reach - 1 and max(drawn) <= 115 * reach + 1
    assert 102 < np.mean(drawn) < 109 and np.std(drawn) > 8


def test_an_unknown_voice_is_an_error_and_not_the_last_voice():
    with pytest.raises(SkipwiseError, match=r"failed on voice 'xx\+m3' \(status"):
        espeak.say(["Guten Tag."], _with_voice("xx+m3"))
    with pytest.raises(SkipwiseError, match="no voice variant 'nobody'"):
        espeak.check_voice("de+nobody")
    with pytest.raises(SkipwiseError, match="no voice variant 'nobody'"):
        espeak.check_voice("de+m3~nobody")
    with pytest.raises(SkipwiseError, match=r"failed on voice 'xx\+f4~m3'"):
        _says(_own_voice(1), "xx+f4~m3")
    with pytest.raises(SkipwiseError, match="no voice 'xx'"):
        espeak.check_voice("xx+m3")


@pytest.mark.parametrize("variant", [variant for variants in VARIANTS.values() for variant in variants])
def test_all_voices_are_installed(variant):
    espeak.check_voice(f"de+{variant}")


def test_without_espeak_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._library.cache_clear()
    try:
        with pytest.raises(SkipwiseError, match=r'pip install "skipwise\[corpus\]"'):
            espeak.say(["Guten Tag."], SPEAKER)
    finally:
        espeak._library.cache_clear()


VOICES = [(np.random.default_rng(9).standard_normal(9000) * 0.1).astype(np.float32)]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_as_loud_as_asked(kind):
    rng = np.random.default_rng(0)
    speech = (rng.standard_normal(60000) * 0.1).astype(np.float32)
    noisy = add_noise(speech, kind, 20.0, rng, sample_rate=22050, speech_level=0.1, voices=VOICES)
    noise_level = float(np.sqrt(np.mean((noisy - speech) ** 2)))
    # Float32 sums: the ratio is exact to a few parts in a million.
    assert noise_level == pytest.approx(0.01, rel=1e-3)


def _noise(kind, voices=()):
    silence = np.zeros(60000, dtype=np.float32)
    return add_noise(silence, kind, 0.0, np.random.default_rng(0), sample_rate=22050, speech_level=1.0, voices=voices)


def test_kinds_of_noise_differ_in_colour():
    centroids = {}
    for kind in ("white", "pink", "ventilation"):
        power = np.abs(np.fft.rfft(_noise(kind))) ** 2
        centroids[kind] = float((power * np.arange(len(power))).sum() / power.sum())
    assert centroids["white"] > 2 * centroids["pink"] > 2 * centroids["ventilation"]


def test_kinds_of_noise_differ_in_time():
    """Typing and claps are peaks, the hum is a wave: the ratio of peak and level tells them apart."""
    peaks = {kind: float(np.abs(_noise(kind)).max()) for kind in ("typing", "white", "hum")}
    assert peaks["typing"] > 2 * peaks["white"] > 2 * peaks["hum"] / 1.5


def test_babble_is_made_of_the_given_voices():
    other = [np.sin(np.arange(9000) / 7).astype(np.float32)]
    assert not np.allclose(_noise("babble", VOICES), _noise("babble", other))


@pytest.mark.parametrize("kind", ROOM_TYPES)
@pytest.mark.parametrize("rt60_s", [0.4, 0.8])
def test_rooms_reverberate_as_long_as_asked(kind, rt60_s):
    room = Room(kind=kind, rt60_s=rt60_s, distance_m=1.0)
    response = impulse_response(room, np.random.default_rng(3), sample_rate=22050)
    # Without the direct sound, which is no part of the decay.
    energy = np.cumsum(response[:110:-1].astype(np.float64) ** 2)[::-1]
    level_db = 10 * np.log10(energy / energy[0])
    t20_s = 3 * (np.argmax(level_db < -25) - np.argmax(level_db < -5)) / 22050
    # Few image sources and one draw of the tail: within a quarter, as measured rooms are.
    assert 0.75 * rt60_s < t20_s < 1.25 * rt60_s
    assert response[0] == np.abs(response).max()


def test_no_room_changes_nothing_and_a_room_does():
    signal = np.random.default_rng(1).standard_normal(30000).astype(np.float32)
    none = impulse_response(Room(kind=NO_ROOM, rt60_s=0, distance_m=0), np.random.default_rng(0), sample_rate=22050)
    assert reverberated(signal, none) is signal
    office = Room(kind="office", rt60_s=0.3, distance_m=1.0)
    response = impulse_response(office, np.random.default_rng(0), sample_rate=22050)
    expected = np.convolve(signal.astype(np.float64), response.astype(np.float64))[: len(signal)]
    # fp32 transforms of blocks against one fp64 sum
    np.testing.assert_allclose(reverberated(signal, response), expected, atol=1e-4)


def test_a_recording_repeats_byte_by_byte_and_its_segments_hold_the_speech():
    import av

    settings = CorpusSettings(hours=0.01, snr_min_db=60, snr_max_db=60, room_share=0)
    speech = next(s for s in write_script(settings.resolved()) if s.language == "ita")
    first, again = mix(speech), mix(speech)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.segments_s == again.segments_s and len(first.segments_s) == len(speech.segments)
    with av.open(io.BytesIO(encode_m4a(first.samples)), "r") as container:
        assert container.streams.audio[0].rate == FILE_RATE
        assert "creation_time" not in container.metadata
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    # AAC puts up to two frames of 1,024 samples around the signal.
    assert abs(len(samples) / FILE_RATE - first.duration_s) < 0.06
    inside = np.zeros(len(samples), dtype=bool)
    for start, end in first.segments_s:
        inside[int(start * FILE_RATE) : int(end * FILE_RATE)] = True
    assert np.abs(samples[inside]).max() > 20 * np.abs(samples[~inside]).max()


def test_sentences_lie_in_their_segments_in_order():
    speech = next(
        s for s in write_script(CorpusSettings(hours=0.01).resolved()) if any(len(g) == 2 for g in s.segments)
    )
    mixed = mix(speech)
    assert len(mixed.sentences_s) == sum(len(segment) for segment in speech.segments)
    flat = [time for span in mixed.sentences_s for time in span]
    assert flat == sorted(flat)
    said = iter(mixed.sentences_s)
    for (start, end), segment in zip(mixed.segments_s, speech.segments, strict=True):
        assert all(start < first < last < end for first, last in [next(said) for _ in segment])


def test_tempo_moves_length_and_pitch_together():
    plain, fast = (_said_alone(replace(SPEAKER, tempo=tempo)) for tempo in (1.0, 1.08))
    assert len(fast) == pytest.approx(len(plain) / 1.08, rel=0.01)


def _said_alone(speaker):
    from skipwise.corpus.recording import _said

    return _said(["Guten Tag, meine Damen und Herren."], speaker)[0]


def test_a_crash_of_the_speaking_process_is_tried_again_and_a_refusal_is_not(monkeypatch):
    expected = espeak.say(["Guten Tag."], SPEAKER)[0]
    real, crashes = espeak._said, [11, 11]
    monkeypatch.setattr(espeak, "_said", lambda *call: (crashes.pop(), b"") if crashes else real(*call))
    np.testing.assert_array_equal(espeak.say(["Guten Tag."], SPEAKER)[0], expected)
    refusals = []
    monkeypatch.setattr(espeak, "_said", lambda *_: refusals.append(1) or (256, b""))
    with pytest.raises(SkipwiseError, match=r"failed on voice 'de\+m3' \(status 256\)"):
        espeak.say(["Guten Tag."], SPEAKER)
    assert len(refusals) == 1


def test_a_process_with_torch_speaks_through_a_clean_one_with_the_same_samples():
    import torch  # noqa: F401  what fills the heap

    assert clean_process.is_needed()
    there = espeak.say(["Guten Tag.", "Danke."], SPEAKER)
    code = "from tests.corpus.test_recording import say_here; say_here()"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    here = np.frombuffer(done.stdout, dtype="<f4")
    np.testing.assert_array_equal(np.concatenate(there), here)


def say_here() -> None:
    """For a process without torch: write what it says itself."""
    assert not clean_process.is_needed()
    sys.stdout.buffer.write(np.concatenate(espeak.say(["Guten Tag.", "Danke."], SPEAKER)).astype("<f4").tobytes())


def test_breathy_voices_repeat_although_they_use_random_numbers():
    first, again = (espeak.say(["Guten Tag."], _with_voice("de+f2"))[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_m4a_of_the_same_samples_is_the_same_and_of_others_is_not():
    tone = (0.1 * np.sin(np.arange(22050) / 10)).astype(np.float32)
    assert encode_m4a(tone) == encode_m4a(tone) != encode_m4a(tone * 2)
