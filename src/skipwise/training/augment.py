"""What training changes in a window's features: parts are hidden; other throats, rooms, noises, microphones are heard.

Shapes: F feature frames, M mel bins.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.features.log_mel import HOP_LENGTH, SAMPLE_RATE, hz_to_mel, mel_to_hz

_KNOTS = 6
"""Frequencies, evenly spaced in mel, between which what is drawn for them is interpolated."""

_WIDEST = 2.5
"""Standard deviations beyond which nothing is drawn."""

_RT60_S = (0.2, 0.9)
"""Times in which a drawn room's tail falls by 60 dB."""

_DIRECT_DB = (-3.0, 12.0)
"""Energy of what is heard directly over that of a drawn room's tail."""

_SNR_DB = (0.0, 25.0)
"""How much louder the window is than a drawn noise or babble."""

_BABBLE_VOICES = (2, 6)
"""How many other windows babble is made of."""

_SPECTRUM_DB = 8.0
"""Standard deviation of a drawn noise's spectrum."""

_SWELL_DB = (0.0, 6.0)
"""Standard deviation of a drawn noise's loudness over time."""

_SWELL_S = 0.4
"""Seconds between the drawn points of that."""

_INDEPENDENT = (1.5, 6.0)
"""How many independent powers the lowest and the highest mel bin are about the mean of."""

_FRAME_S = HOP_LENGTH / SAMPLE_RATE


@final
@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """Bands of mel bins and stretches of frames are hidden.

    Source: Park et al. 2019; OWSM's recipe: two bands of up to 27 of 80 bins, ten stretches of up to 5 % of the frames.
    """

    num_bands: int = 2
    """Bands of mel bins."""
    widest_band: float = 0.3375
    """The widest band, as a share of the bins."""
    num_stretches: int = 10
    """Stretches of frames."""
    longest_stretch: float = 0.05
    """The longest stretch, as a share of the frames."""

    def __call__(
        self, features: Float[Tensor, "frames mels"], fill: Float[Tensor, " mels"], rng: random.Random
    ) -> Float[Tensor, "frames mels"]:
        """Return features in which the hidden parts are `fill`: the mean, which is 0 after normalisation."""
        masked = features.clone()
        num_frames, num_bins = features.shape
        for _ in range(self.num_bands):
            first, end = _span(num_bins, self.widest_band, rng)
            masked[:, first:end] = fill[first:end]
        for _ in range(self.num_stretches):
            first, end = _span(num_frames, self.longest_stretch, rng)
            masked[first:end] = fill
        return masked


@final
@dataclass(frozen=True, kw_only=True)
class VoiceAugment:
    """A window is heard from another throat, in another room, over a noise or babble, through another microphone.

    All formants move together, as with the length of the vocal tract, and each a little by itself. Formants, the pitch
    and whatever else is heard are stretched alike. A room adds to each frame's power what is left of earlier ones': a
    tail that decays exponentially. A noise adds power of a spectrum of its own that swells and fades, each bin of each
    frame with the scatter of a random signal's. Babble adds the power of other windows, each from somewhere on and, if
    it is short, again and again.
    Source: Jaitly and Hinton 2013, vocal tract length perturbation; Nam et al. 2022, FilterAugment; Sehr and Kellermann
    2008 for reverberation as a convolution of mel powers.
    """

    vocal_tract: float = 0.0
    """Standard deviation of the logarithm of the factor by which frequencies move; half of it again between places."""
    channel_db: float = 0.0
    """Standard deviation of the gain in dB, a curve over the frequencies."""
    room_share: float = 0.0
    """How often a room is added."""
    noise_share: float = 0.0
    """How often a noise is added, 0 to 25 dB below the window's power."""
    babble_share: float = 0.0
    """How often what others say is added, as far below it."""

    def __call__(
        self,
        features: Float[Tensor, "frames mels"],
        *,
        natural_log: bool,
        rng: random.Random,
        others: Sequence[Callable[[], Float[Tensor, "other_frames mels"]]] = (),
    ) -> Float[Tensor, "frames mels"]:
        """Return changed features: the logarithm, natural or base 10, of the mel power.

        `others` give the features of other windows, for babble; without any there is none.
        """
        num_bins = features.shape[1]
        (together,), apart, gains = _drawn(rng, 1), _drawn(rng, _KNOTS), _drawn(rng, _KNOTS)
        in_room, rt60_s, direct_db = rng.random() < self.room_share, rng.uniform(*_RT60_S), rng.uniform(*_DIRECT_DB)
        if self.vocal_tract:
            features = _stretched(features, self.vocal_tract * (together + 0.5 * _curve(apart, num_bins)))
        unit = 1.0 if natural_log else math.log(10)
        if in_room:
            features = _in_room(features * unit, rt60_s, direct_db) / unit
        if self.noise_share and rng.random() < self.noise_share:
            features = _over_noise(features * unit, rng) / unit
        if self.babble_share and rng.random() < self.babble_share and others:
            voices = rng.sample(others, min(len(others), rng.randint(*_BABBLE_VOICES)))
            features = _over_babble(features * unit, [voice() * unit for voice in voices], rng) / unit
        if self.channel_db:
            features = features + self.channel_db * _curve(gains, num_bins) * (math.log(10) / 10 / unit)
        return features


@final
@dataclass(frozen=True, kw_only=True)
class Augment:
    """All of it."""

    voice: VoiceAugment
    """Changes the sound, before a model scales it."""
    hide: SpecAugment
    """Hides parts of what the model hears."""

    @classmethod
    def of(cls, **section: Any) -> Augment:
        """Return what a config's section says; every field of the two has its key there."""
        voice = {name: section.pop(name) for name in VoiceAugment.__dataclass_fields__}
        return cls(voice=VoiceAugment(**voice), hide=SpecAugment(**section))


def _drawn(rng: random.Random, count: int) -> list[float]:
    """`count` normal numbers, none of them far out."""
    return [max(-_WIDEST, min(_WIDEST, rng.gauss(0.0, 1.0))) for _ in range(count)]


def _curve(knots: Sequence[float], num_bins: int) -> Float[Tensor, " mels"]:
    """Straight lines from knot to knot."""
    values = torch.tensor(knots)[None, None]
    return torch.nn.functional.interpolate(values, size=num_bins, mode="linear", align_corners=True)[0, 0]


def _stretched(
    features: Float[Tensor, "frames mels"], log_factor: Float[Tensor, " mels"]
) -> Float[Tensor, "frames mels"]:
    """Each bin from where its sound was before its frequency was multiplied; at the ends the last bins go on."""
    num_bins = features.shape[1]
    top_mel = float(hz_to_mel(torch.tensor(SAMPLE_RATE / 2)))
    centres_mel = torch.arange(1, num_bins + 1) * (top_mel / (num_bins + 1))
    before_mel = hz_to_mel(mel_to_hz(centres_mel) * (-log_factor).exp())
    place = (before_mel * ((num_bins + 1) / top_mel) - 1).clamp(0, num_bins - 1)
    low = place.floor().long().clamp_max(num_bins - 2)
    return features[:, low].lerp(features[:, low + 1], place - low)


def _in_room(log_power: Float[Tensor, "frames mels"], rt60_s: float, direct_db: float) -> Float[Tensor, "frames mels"]:
    """With a tail after each frame, of `direct_db` less energy than the frame itself."""
    steps = torch.arange(1, max(2, round(rt60_s / _FRAME_S)) + 1)
    tail = 10 ** (-6.0 * steps * _FRAME_S / rt60_s)
    response = torch.cat([torch.ones(1), tail * (10 ** (-direct_db / 10) / tail.sum())])
    loudest = log_power.amax()  # powers of 1 and less: loud recordings do not overflow
    power = torch.nn.functional.pad((log_power - loudest).exp().T, (len(response) - 1, 0))
    heard = torch.nn.functional.conv1d(power[:, None], response.flip(0)[None, None])[:, 0].T
    return _finite_log(heard) + loudest


def _finite_log(power: Float[Tensor, "frames mels"]) -> Float[Tensor, "frames mels"]:
    """The logarithm, of 0 that of the smallest number."""
    return power.clamp_min(torch.finfo(power.dtype).tiny).log()


def _over_noise(log_power: Float[Tensor, "frames mels"], rng: random.Random) -> Float[Tensor, "frames mels"]:
    """With the power of a random signal added: its spectrum, its swell and how loud it is are drawn."""
    num_frames, num_bins = log_power.shape
    snr_db, swell_db = rng.uniform(*_SNR_DB), rng.uniform(*_SWELL_DB)
    spectrum_db = _SPECTRUM_DB * _curve(_drawn(rng, _KNOTS), num_bins)
    times = 2 + int(num_frames * _FRAME_S / _SWELL_S)
    shape_db = spectrum_db + swell_db * _curve(_drawn(rng, times), num_frames)[:, None]
    independent = np.linspace(*_INDEPENDENT, num_bins)
    scatter = np.random.default_rng(rng.getrandbits(64)).gamma(independent, 1 / independent, (num_frames, num_bins))
    noise = (shape_db * (math.log(10) / 10)).exp() * torch.from_numpy(scatter).to(log_power)
    return _with_added(log_power, noise, snr_db)


def _over_babble(
    log_power: Float[Tensor, "frames mels"], voices: Sequence[Float[Tensor, "_ mels"]], rng: random.Random
) -> Float[Tensor, "frames mels"]:
    """With the power of what others say, of about the same loudness each, all at once."""
    snr_db = rng.uniform(*_SNR_DB)
    babble = torch.zeros_like(log_power)
    for voice in voices:
        power = (voice - voice.amax()).exp()
        places = torch.arange(rng.randrange(len(voice)), len(voice) + len(log_power))[: len(log_power)] % len(voice)
        babble += power[places] * (rng.uniform(0.5, 1.0) ** 2 / power.mean())
    return _with_added(log_power, babble, snr_db)


def _with_added(
    log_power: Float[Tensor, "frames mels"], noise: Float[Tensor, "frames mels"], snr_db: float
) -> Float[Tensor, "frames mels"]:
    """With a noise of this power, up to a factor, added so that it is `snr_db` below what is there."""
    loudest = log_power.amax()  # powers of 1 and less: loud recordings do not overflow
    power = (log_power - loudest).exp()
    gain = power.mean() / noise.mean() * 10 ** (-snr_db / 10)
    return _finite_log(power + gain * noise) + loudest


def _span(size: int, widest: float, rng: random.Random) -> tuple[int, int]:
    """A part of 0 to `widest * size` places, anywhere in `size`."""
    width = rng.randint(0, int(widest * size))
    first = rng.randint(0, size - width)
    return first, first + width
