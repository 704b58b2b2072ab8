"""Other voices and microphones, and parts that are hidden."""

from __future__ import annotations

import math
import random
from functools import partial

import pytest
import torch

from skipwise.features.log_mel import SAMPLE_RATE, log_mel
from skipwise.training.augment import SpecAugment, VoiceAugment

DB = math.log(10) / 10
"""A decibel, as a natural logarithm of power."""


def tone(hz: float) -> torch.Tensor:
    """Features of half a second of a sine."""
    return log_mel(torch.sin(2 * math.pi * hz * torch.arange(SAMPLE_RATE // 2) / SAMPLE_RATE), num_mel_bins=80)


def changed(features: torch.Tensor, seed: int, **settings: float) -> torch.Tensor:
    return VoiceAugment(**settings)(features, natural_log=True, rng=random.Random(seed))


@pytest.mark.parametrize("hz", [300, 1000, 3500])
def test_a_tone_becomes_a_tone_of_another_pitch(hz: float) -> None:
    """It lies where such a tone has its peak, and is as loud: what is drawn is found again, within a bin and a dB."""
    places = [(other, int(tone(other)[20].argmax())) for other in torch.linspace(hz * 0.6, hz * 1.6, 80).tolist()]
    found = []
    for seed in range(20):
        heard = changed(tone(hz), seed, vocal_tract=0.1)[20]
        likest = min(places, key=lambda place: abs(place[1] - int(heard.argmax())))[0]
        assert float(heard.max()) == pytest.approx(float(tone(likest)[20].max()), abs=1.5)
        found.append(math.log(likest / hz))
    assert max(found) > 0.08 and min(found) < -0.08, "up and down"
    assert max(map(abs, found)) < 0.4


def test_a_microphone_is_a_smooth_gain_that_stays() -> None:
    features, seed = torch.randn(50, 80), 3
    gain_db = (changed(features, seed, channel_db=4.0) - features) / DB
    torch.testing.assert_close(gain_db, gain_db[:1].expand(50, 80), rtol=0, atol=1e-4)
    assert float(gain_db[0].abs().max()) > 1 and float(gain_db[0].diff().abs().max()) < 2
    base_10 = VoiceAugment(channel_db=4.0)(features, natural_log=False, rng=random.Random(seed)) - features
    torch.testing.assert_close(base_10 * 10, gain_db, rtol=0, atol=1e-4)


def test_a_room_lets_a_sound_die_away_and_changes_nothing_before_it() -> None:
    """A click of one frame: from its frame on the level falls along a line, 60 dB in 0.2 to 0.9 s."""
    silence = math.log(1e-10)
    click = torch.full((150, 80), silence)
    click[20] = 5.0
    slopes = []
    for seed in range(20):
        heard_db = (changed(click, seed, room_share=1.0) - silence) / DB
        assert float(heard_db[:20].max()) < 5 and float(heard_db[20].min()) == pytest.approx(
            (5.0 - silence) / DB, abs=0.1
        )
        falling = heard_db[21:36, 0].diff()
        assert float(falling.std()) < 0.1, "a straight line"
        slopes.append(-100 * float(falling.mean()))
    assert 60 / 0.9 * 0.9 < min(slopes) < 120 and 180 < max(slopes) < 60 / 0.2 * 1.1, "dB a second"
    base_10 = VoiceAugment(room_share=1.0)(click / math.log(10), natural_log=False, rng=random.Random(4))
    torch.testing.assert_close(base_10 * math.log(10), changed(click, 4, room_share=1.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("share", ["room_share", "noise_share"])
def test_some_windows_are_in_a_room_or_noisy(share: str) -> None:
    features = torch.randn(30, 80)
    same = [torch.equal(changed(features, seed, **{share: 0.3}), features) for seed in range(200)]
    assert 0.6 < sum(same) / 200 < 0.8


def test_a_noise_is_below_the_speech_by_what_is_drawn_and_covers_its_pauses() -> None:
    """Power is added: nothing gets softer, silence is as loud as the noise, which scatters like a random signal."""
    silence = math.log(1e-10)
    speech = torch.full((400, 80), silence)
    speech[100:300] = 2.0
    snrs_db = []
    for seed in range(60):
        heard = changed(speech, seed, noise_share=1.0)
        assert bool((heard >= speech - 1e-4).all())
        added = heard.exp() - speech.exp()
        snrs_db.append(10 * math.log10(float(speech.exp().mean() / added.clamp_min(0).mean())))
        pause = heard[:100]
        assert float(pause.min()) > silence + 1
        assert float((pause[1:, -8:] - pause[:-1, -8:]).std()) < float((pause[1:, :8] - pause[:-1, :8]).std())
    assert -1 < min(snrs_db) < 4 and 20 < max(snrs_db) < 26
    base_10 = VoiceAugment(noise_share=1.0)(speech / math.log(10), natural_log=False, rng=random.Random(4))
    torch.testing.assert_close(base_10 * math.log(10), changed(speech, 4, noise_share=1.0), rtol=0, atol=1e-3)


def test_a_window_that_stays_quiet_is_what_it_is_without_noises() -> None:
    features = torch.randn(30, 80)
    quiet = next(seed for seed in range(200) if torch.equal(changed(features, seed, noise_share=0.3), features))
    other = {"vocal_tract": 0.1, "room_share": 0.5, "channel_db": 4.0}
    assert torch.equal(changed(features, quiet, **other, noise_share=0.3), changed(features, quiet, **other))


def test_babble_is_what_others_say_and_as_far_below_as_is_drawn() -> None:
    """Of a mel bin that each of the others is alone in, each is heard; a short one is heard again and again."""
    silence = math.log(1e-10)
    speech = torch.full((300, 80), silence)
    speech[:, 40] = 2.0
    others = []
    for index in range(6):
        other = torch.full((50 + 100 * index, 80), silence)
        other[:, index] = float(index)
        others.append(partial(torch.clone, other))
    snrs_db, counts = [], set()
    for seed in range(60):
        heard = VoiceAugment(babble_share=1.0)(speech, natural_log=True, rng=random.Random(seed), others=others)
        added = heard.exp() - speech.exp()
        snrs_db.append(10 * math.log10(float(speech.exp().mean() / added.clamp_min(0).mean())))
        levels = added[:, :6].mean(0)
        counts.add(int((levels > 1e-6).sum()))
        audible = levels[levels > 1e-6]
        assert float(audible.max() / audible.min()) < 4.1, "none is louder than another by more than 6 dB"
        torch.testing.assert_close(added[:, :6], levels.expand(300, 6), rtol=1e-2, atol=1e-5)
    assert counts == {2, 3, 4, 5, 6}
    assert -1 < min(snrs_db) < 4 and 20 < max(snrs_db) < 26
    alone = VoiceAugment(babble_share=1.0)(speech, natural_log=True, rng=random.Random(0))
    assert torch.equal(alone, speech), "nobody else speaks"


def test_nothing_is_changed_unless_it_is_asked_for() -> None:
    features = torch.randn(30, 80)
    assert torch.equal(changed(features, 1), features)
    assert torch.equal(changed(features, 1, vocal_tract=0.1), changed(features, 1, vocal_tract=0.1))
    assert not torch.equal(changed(features, 1, vocal_tract=0.1), changed(features, 2, vocal_tract=0.1))


def test_bands_and_stretches_are_hidden_by_what_fills_them() -> None:
    features, fill = torch.randn(100, 80), torch.full((80,), -7.0)
    shares = []
    for seed in range(200):
        hidden = SpecAugment()(features, fill, random.Random(seed))
        assert set(hidden[hidden != features].unique().tolist()) <= {-7.0}
        shares.append(float((hidden == -7.0).float().mean()))
    assert 0.2 < sum(shares) / 200 < 0.6
