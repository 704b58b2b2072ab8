"""One speech as sound: sentences, pauses, level, room, noise; and as a file, AAC in m4a."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipwise.corpus.grammar import render
from skipwise.corpus.noise import add_noise
from skipwise.corpus.rooms import impulse_response, reverberated
from skipwise.corpus.script import Speech
from skipwise.corpus.speech import SAMPLE_RATE, say
from skipwise.corpus.voices import Speaker

FILE_RATE = 44100
"""As in Europarl-ST, in Hz."""

_LEVEL = 0.06
_SILENCE = 0.002
_MARGIN_S = 0.08
_BIT_RATE = 64000
_CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What the microphone heard of a speech, and when each part was said."""

    samples: NDArray[np.float32]
    """At SAMPLE_RATE, in [-1, 1]."""
    segments_s: tuple[tuple[float, float], ...]
    """Start and end of each segment, with a margin."""
    sentences_s: tuple[tuple[float, float], ...]
    """Start and end of each sentence."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return round(len(self.samples) / SAMPLE_RATE, 3)


def mix(speech: Speech) -> Mixed:
    """Say `speech`, put it in its room and its noise; needs numpy, soxr and espeak-ng only."""
    digest = hashlib.blake2b(speech.id.encode(), digest_size=8).digest()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([speech.seed, int.from_bytes(digest, "big")])))
    texts = speech.texts(speech.language)
    sentences = _said([text for segment in texts for text in segment], speech.speaker)
    level = float(np.sqrt(np.mean(np.concatenate(sentences) ** 2)))
    target = _LEVEL * 10 ** (speech.speaker.loudness_db / 20)
    dry, segments_s, sentences_s = _assemble(
        [sentence * np.float32(target / level) for sentence in sentences], [len(t) for t in texts], rng
    )
    response = impulse_response(speech.room, rng, sample_rate=SAMPLE_RATE)
    wet = reverberated(dry, response)
    # the room makes it louder; the noise is set against what reaches the microphone, which is kept at `target`
    wet *= np.float32(np.sqrt(np.mean(dry**2) / max(float(np.mean(wet**2)), 1e-12)))
    voices = [_said([render(meaning, speech.language)], speaker)[0] for speaker, meaning in speech.babble]
    heard = add_noise(
        wet, speech.noise, speech.snr_db, rng, sample_rate=SAMPLE_RATE, speech_level=target, voices=voices
    )
    heard *= np.float32(min(1.0, 0.95 / float(np.abs(heard).max())))
    return Mixed(samples=heard, segments_s=segments_s, sentences_s=sentences_s)


def _said(texts: list[str], speaker: Speaker) -> list[NDArray[np.float32]]:
    """Each text without the silence around it, at the speaker's tempo."""
    import soxr

    spoken = [_trimmed(samples) for samples in say(texts, speaker)]
    if speaker.tempo == 1.0:
        return spoken
    return [soxr.resample(samples, SAMPLE_RATE * speaker.tempo, SAMPLE_RATE) for samples in spoken]


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence that espeak-ng puts around a sentence."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    return samples[loud[0] : loud[-1] + 1]


def _assemble(
    sentences: list[NDArray[np.float32]], sizes: list[int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """All sentences with pauses; start and end of each segment (with a margin in the pauses) and of each sentence."""
    pieces = [_silence(rng.uniform(0.2, 0.6))]
    position = len(pieces[0])
    spans, said = [], []
    remaining = iter(sentences)
    for size in sizes:
        start = position
        for index in range(size):
            if index:
                pieces.append(_silence(rng.uniform(0.2, 0.5)))
                position += len(pieces[-1])
            pieces.append(next(remaining))
            said.append((round(position / SAMPLE_RATE, 2), round((position + len(pieces[-1])) / SAMPLE_RATE, 2)))
            position += len(pieces[-1])
        spans.append((round(start / SAMPLE_RATE - _MARGIN_S, 2), round(position / SAMPLE_RATE + _MARGIN_S, 2)))
        pieces.append(_silence(rng.uniform(0.35, 1.0)))
        position += len(pieces[-1])
    return np.concatenate(pieces), tuple(spans), tuple(said)


def _silence(duration_s: float) -> NDArray[np.float32]:
    return np.zeros(round(duration_s * SAMPLE_RATE), dtype=np.float32)


def encode_m4a(samples: NDArray[np.float32]) -> bytes:
    """Mono samples at SAMPLE_RATE as AAC in m4a at FILE_RATE; no date and no version get into the container."""
    import av
    import soxr

    raised = soxr.resample(samples, SAMPLE_RATE, FILE_RATE).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ipod", options={"fflags": "+bitexact"}) as container:
        # The fast coder: 190 times real time instead of 110, and at this rate of bits no worse.
        stream = container.add_stream(
            "aac", rate=FILE_RATE, layout="mono", options={"aac_coder": "fast", "flags": "+bitexact"}
        )
        stream.bit_rate = _BIT_RATE
        stream.codec_context.thread_count = 1
        for start in range(0, len(raised), _CHUNK):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(raised[None, start : start + _CHUNK]), format="fltp", layout="mono"
            )
            frame.sample_rate = FILE_RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
