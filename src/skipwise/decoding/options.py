"""What a caller may choose about decoding; ESPnet's name stands beside each field."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import final

from skipwise.errors import SkipwiseError, SkipwiseWarning

METHODS = ("attention", "ctc")
LONG_FORMS = ("quiet", "timestamps")

_MOST_PER_FRAME = 5
_OF_PADDED, _OF_UNPADDED = 0.4, 1.0

TRANSLATION_PREFIX = "st_"


@final
@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How hypotheses are searched for: as in ESPnet's `Speech2Text`, greedily unless told otherwise."""

    method: str = "attention"
    """`attention`: the decoder speaks, beam search; `ctc`: the CTC head alone, its best path (`ctc.argmax`)."""
    beam_size: int = 1
    """`beam_size`: hypotheses followed at once; 1 is greedy. ESPnet's default is 5 in Python, 20 in recipes."""
    nbest: int = 1
    """`nbest`: how many of the hypotheses found are returned, best first."""
    ctc_weight: float = 0.0
    """`ctc_weight`: share of the CTC head in a token's score, in [0, 1); the decoder has the rest."""
    ctc_skips_prompt: bool = False
    """Do not count the prompt as output of the CTC head. ESPnet counts it, so that as many frames at the start cannot
    emit as the prompt has tokens: the sentence's first word suffers, or with a long previous text most of it."""
    max_length_ratio: float | None = None
    """`maxlenratio`: most tokens per encoder frame, at least 1 in all; 0: one a frame, and the search ends when longer
    hypotheses only get worse; -n: n for every length. None: what suits the model, see `for_windows`."""
    min_length_ratio: float = 0.0
    """`minlenratio`: fewest tokens per encoder frame; -n: n for every length. What the length limit cuts off must have
    one more. Where nothing is that long and a ratio is 0.1 or more, the search is repeated with 0.1 less."""
    length_bonus: float = 0.0
    """`penalty`: added to the score for each token."""
    normalize_length: bool = False
    """`normalize_length`: order the hypotheses by score per token, prompt included."""
    timestamps: bool = False
    """`predict_time`: predict when each sentence begins and ends."""
    long_form: str = "quiet"
    """`quiet`: a long recording is cut at quiet points; `timestamps`: `decode_long`, each window begins where the last
    sentence of the one before it ended. The second wants `timestamps`, and decodes window after window."""
    condition_on_previous: bool = False
    """`condition_on_prev_text`: each window of a long recording is told the text of the window before it."""

    def __post_init__(self) -> None:
        for name, allowed in (("method", METHODS), ("long_form", LONG_FORMS)):
            if getattr(self, name) not in allowed:
                raise SkipwiseError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        self._check_search()
        self._check_lengths()
        if self.timestamps and (self.ctc_weight > 0 or self.method == "ctc"):
            raise SkipwiseError(
                "the CTC head knows no timestamps: use the method attention with ctc_weight 0, or no timestamps."
            )
        if self.long_form == "timestamps" and not self.timestamps:
            raise SkipwiseError(
                "long_form timestamps goes by predicted timestamps: set timestamps (--timestamps) too, or use quiet."
            )

    def _check_search(self) -> None:
        for name in ("beam_size", "nbest"):
            if getattr(self, name) < 1:
                raise SkipwiseError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.ctc_weight < 1:
            raise SkipwiseError(
                f"ctc_weight must be in [0, 1), got {self.ctc_weight}. For the CTC head alone use the method ctc."
            )
        if self.method == "ctc" and (self.beam_size > 1 or self.nbest > 1 or self.ctc_weight > 0):
            raise SkipwiseError(
                "the method ctc takes the one best path: leave beam_size, nbest and ctc_weight out, or use attention."
            )
        if self.nbest > 1 and self.beam_size == 1:
            raise SkipwiseError(
                f"greedy search finds one hypothesis, got nbest {self.nbest}. Set beam_size to as many."
            )
        if not math.isfinite(self.length_bonus):
            raise SkipwiseError(f"length_bonus must be a finite number, got {self.length_bonus}.")

    def _check_lengths(self) -> None:
        least, most = self.min_length_ratio, self._most
        _check_ratio("max_length_ratio", most)
        _check_ratio("min_length_ratio", least)
        if self.max_length_ratio is not None and ((0 < most < least) or (least < most < 0)):
            raise SkipwiseError(
                f"min_length_ratio asks for more than max_length_ratio allows: {least:g} and {most:g}. Lower the first."
            )

    @property
    def _most(self) -> float:
        return _OF_PADDED if self.max_length_ratio is None else self.max_length_ratio

    def for_windows(self, *, padded: bool) -> DecodeOptions:
        """Return these options with a length limit, where none was chosen, that cuts no sentence off.

        Windows that are padded to full length have frames to spare: 0.4 tokens a frame. Where a window is as long as
        its speech, fast speech in small pieces of words takes more than that: 1 token a frame.
        """
        if self.max_length_ratio is not None:
            return self
        return replace(self, max_length_ratio=_OF_PADDED if padded else _OF_UNPADDED)

    def max_tokens(self, num_frames: int) -> int:
        """Return the most tokens, `<eos>` not counted, that a row of `num_frames` encoder frames may get."""
        if self._most < 0:
            return -int(self._most)
        return num_frames if self._most == 0 else max(1, int(self._most * num_frames))

    def min_tokens(self, num_frames: int) -> int:
        """Return the fewest tokens, `<eos>` not counted, of a hypothesis that is kept."""
        ratio = self.min_length_ratio
        return -int(ratio) if ratio < 0 else int(ratio * num_frames)

    def check_task(self, task: str) -> None:
        """Warn where a translation would listen to the CTC head, which writes the source language.

        Raises:
            SkipwiseError: where it would listen to nothing else.
        """
        if not task.startswith(TRANSLATION_PREFIX):
            return
        if self.method == "ctc":
            raise SkipwiseError(
                f"the CTC head writes down the source language, so the method ctc cannot do the task {task}. "
                "Use the method attention, or the task asr alone."
            )
        if self.ctc_weight > 0:
            warnings.warn(
                f"the CTC head writes down the source language: ctc_weight {self.ctc_weight} draws the task {task} "
                "towards untranslated text. Use 0 for translation.",
                SkipwiseWarning,
                stacklevel=2,
            )


def _check_ratio(name: str, ratio: float) -> None:
    if not math.isfinite(ratio) or ratio > _MOST_PER_FRAME or (ratio < 0 and ratio != int(ratio)):
        zero = "0 for one a frame" if name == "max_length_ratio" else "0 for none"
        raise SkipwiseError(
            f"{name} must be tokens per encoder frame (0.4, at most {_MOST_PER_FRAME}), {zero}, or minus a whole "
            f"number of tokens (-50); got {ratio:g}."
        )
