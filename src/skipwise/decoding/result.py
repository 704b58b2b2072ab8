"""What comes out of a transcription."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from skipwise.decoding.sentences import Sentence
from skipwise.gating import GatePlan, Stack, sparsity_by_stack


@final
@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another hypothesis of a segment."""

    text: str
    score: float
    """As that of the segment; with `normalize_length` alternatives are not in the order of it."""


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
    language: str | None
    """ISO 639-3 code of the speech, given or predicted; None for silence of an unknown language."""
    tokens: tuple[int, ...]
    """The text's tokens, with its timestamps."""
    score: float
    """Weighted sum of the log-probabilities of all that was decoded here: see `Hypothesis`. Where long recordings are
    followed by timestamps, that includes what was left to the next window."""
    finished: bool
    """False where the length limit cut the text off."""
    plan: GatePlan
    """The gates that it ran under: one row over the gated sites of both stacks; no site for silence. Gates that
    are decided at every step are in `step_plan`."""
    num_prompt_tokens: int
    """Tokens that the decoder was started with; 0 where it did not run."""
    step_plan: GatePlan | None = None
    """The decoder's gates at each position, [1, positions, sites], those of the prompt first, if each had its own."""
    is_silent: bool = False
    """Nothing was decoded here: there was no sound."""
    sentences: tuple[Sentence, ...] = ()
    """What was said when, if timestamps were asked for."""
    alternatives: tuple[Alternative, ...] = ()
    """The next best hypotheses, if more than one was asked for."""

    @property
    def predicting_plan(self) -> GatePlan | None:
        """The part of `step_plan` that counts: the positions that predicted a token."""
        return None if self.step_plan is None else self.step_plan.positions(self.num_prompt_tokens - 1)


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
    """ISO 639-3 code of the speech; where it was predicted, that of most seconds, `und` if there are none."""
    task: str
    segments: tuple[Segment, ...]
    """In their order; together they cover the audio, but for up to 0.2 s at its end where timestamps are followed."""
    timings: Timings

    @property
    def sparsity(self) -> dict[Stack, float]:
        """The mean share of skipped sites over the segments, however long, for each stack that has gates."""
        shares: dict[Stack, list[float]] = {}
        for segment in self.segments:
            for plan in (segment.plan, segment.predicting_plan):
                for stack, share in ({} if plan is None else sparsity_by_stack(plan)).items():
                    shares.setdefault(stack, []).append(share)
        return {stack: sum(values) / len(values) for stack, values in shares.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the transcript as values that JSON knows."""
        return {
            "text": self.text,
            "language": self.language,
            "task": self.task,
            "segments": [_segment(segment) for segment in self.segments],
            "sparsity": dict(self.sparsity),
            "seconds": {
                "audio": self.timings.audio_s,
                "features": self.timings.features_s,
                "encoder": self.timings.encoder_s,
                "decoder": self.timings.decoder_s,
            },
            "rtf": self.timings.rtf,
        }


def _segment(segment: Segment) -> dict[str, Any]:
    record: dict[str, Any] = {
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "language": segment.language,
        "score": segment.score,
        "finished": segment.finished,
        "closed": [str(site) for site in segment.plan.closed()],
    }
    if (steps := segment.predicting_plan) is not None:
        record["open_at_steps"] = dict(zip(map(str, steps.sites), steps.open_shares().tolist(), strict=True))
    if segment.sentences:
        record["sentences"] = [
            {"start": round(sentence.start_s, 3), "end": round(sentence.end_s, 3), "text": sentence.text}
            for sentence in segment.sentences
        ]
    if segment.alternatives:
        record["alternatives"] = [asdict(alternative) for alternative in segment.alternatives]
    return record
