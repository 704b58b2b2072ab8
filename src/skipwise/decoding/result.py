"""What comes out of a transcription."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from skipwise.gating import GatePlan, Stack, sparsity_by_stack


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """A stretch of the audio that was decoded at once."""

    start_s: float
    """Where it begins in the file."""
    end_s: float
    """Where it ends in the file."""
    text: str
    """What was said, or its translation; empty for silence."""
    tokens: tuple[int, ...]
    """The text's tokens."""
    score: float
    """Sum of their log-probabilities."""
    finished: bool
    """False where the length limit cut the text off."""
    plan: GatePlan
    """The gates that it ran under: one row over the gated sites of both stacks; no site for silence."""


@final
@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds of audio, and seconds spent on them; reading and resampling the file is not counted."""

    audio_s: float
    features_s: float
    """Log-mel features."""
    encoder_s: float
    """Conv embedding, the encoder's plan and the encoder."""
    decoder_s: float
    """The decoder's plan and the search."""

    @classmethod
    def sum_of(cls, parts: Sequence[Timings]) -> Timings:
        """Return the sums over `parts`."""
        return cls(
            audio_s=sum(part.audio_s for part in parts),
            features_s=sum(part.features_s for part in parts),
            encoder_s=sum(part.encoder_s for part in parts),
            decoder_s=sum(part.decoder_s for part in parts),
        )

    @property
    def total_s(self) -> float:
        """Seconds spent in all."""
        return self.features_s + self.encoder_s + self.decoder_s

    @property
    def rtf(self) -> float:
        """Seconds spent per second of audio."""
        return self.total_s / self.audio_s if self.audio_s else 0.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Transcript:
    """The text of one request, and how it came about."""

    text: str
    """All segments' texts."""
    language: str
    """ISO 639-3 code of the speech."""
    task: str
    segments: tuple[Segment, ...]
    """In their order; together they cover the audio."""
    timings: Timings

    @property
    def sparsity(self) -> dict[Stack, float]:
        """The mean share of skipped sites over the segments, however long, for each stack that has gates."""
        shares: dict[Stack, list[float]] = {}
        for segment in self.segments:
            for stack, share in sparsity_by_stack(segment.plan).items():
                shares.setdefault(stack, []).append(share)
        return {stack: sum(values) / len(values) for stack, values in shares.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the transcript as values that JSON knows."""
        return {
            "text": self.text,
            "language": self.language,
            "task": self.task,
            "segments": [
                {
                    "start": round(segment.start_s, 3),
                    "end": round(segment.end_s, 3),
                    "text": segment.text,
                    "finished": segment.finished,
                    "closed": [str(site) for site in segment.plan.closed()],
                }
                for segment in self.segments
            ],
            "sparsity": dict(self.sparsity),
            "seconds": {
                "audio": self.timings.audio_s,
                "features": self.timings.features_s,
                "encoder": self.timings.encoder_s,
                "decoder": self.timings.decoder_s,
            },
            "rtf": self.timings.rtf,
        }
