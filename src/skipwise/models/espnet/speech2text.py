"""ESPnet's `Speech2Text` under gates: it tells them language, task and length of each utterance. Needs ESPnet."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from espnet2.bin.s2t_inference import Speech2Text
from torch import Tensor

from skipwise.gating import Context
from skipwise.models.espnet.utterances import utterances


@final
class GatedSpeech2Text(Speech2Text):
    """Decodes with the gates of its model; `decode_long` does too, window by window."""

    def __call__(
        self,
        speech: Tensor | np.ndarray,
        text_prev: Any = None,
        lang_sym: str | None = None,
        task_sym: str | None = None,
        predict_time: bool | None = None,
    ) -> Any:
        """Return what `Speech2Text` does: the n-best list of one utterance, from samples [N] or [N, 1] at 16 kHz."""
        context = Context(language=_symbol(lang_sym or self.lang_sym), task=_symbol(task_sym or self.task_sym))
        window = int(self.preprocessor_conf["fs"] * self.preprocessor_conf["speech_length"])
        num_real_samples = min(len(speech), window)
        with utterances(self.s2t_model, contexts=[context], num_real_samples=[num_real_samples]):
            return super().__call__(speech, text_prev, lang_sym, task_sym, predict_time)


def _symbol(token: str) -> str:
    """`deu` for `<deu>`; one that the gates do not know, such as `<nolang>`, counts as unknown there."""
    return token.removeprefix("<").removesuffix(">")
