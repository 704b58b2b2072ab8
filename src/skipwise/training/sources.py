"""Where the windows of a run come from: features of recordings on disk, or speech that is made when a step needs it.

Shapes: F feature frames, M mel bins.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.corpus.on_the_spot import SpokenWindow, Synthesiser
from skipwise.corpus.settings import CorpusSettings
from skipwise.data.manifest import Utterance
from skipwise.features.log_mel import SAMPLE_RATE
from skipwise.models.trainable import FrontEnd
from skipwise.training.feature_store import FeatureStore
from skipwise.training.windows import Recording, Window, draw_windows

_MEASURED = 200
"""Spoken windows that the features' statistics are taken of."""

_HELD = 256
"""Spoken windows that are kept: a step's are asked for several times."""


class WindowSource(ABC):
    """The windows of every step: the same for the same seed, whoever asks, and in any order."""

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Steps of the run."""

    @property
    @abstractmethod
    def num_sentences(self) -> int | None:
        """Sentences that there are; None if there is no end of them."""

    @property
    @abstractmethod
    def utterances(self) -> Iterable[Utterance]:
        """Sentences that are there before a run; none if they are made for it."""

    @abstractmethod
    def statistics(self) -> tuple[Float[Tensor, " mels"], Float[Tensor, " mels"]]:
        """Return mean and standard deviation of every mel bin: global mean-variance normalisation."""

    @abstractmethod
    def num_windows(self, step: int) -> int:
        """Return how many windows a step has, without making them."""

    @abstractmethod
    def windows(self, step: int) -> Sequence[Window]:
        """Return the windows of a step."""

    @abstractmethod
    def recording(self, window: Window) -> Recording:
        """Return the recording that a window is cut from."""

    @abstractmethod
    def features(self, window: Window) -> Float[Tensor, "frames mels"]:
        """Return the log-mel features of a window as they are cut: neither normalised nor filled up."""


@final
class StoredWindows(WindowSource):
    """Windows of recordings whose features lie on disk."""

    def __init__(self, recordings: Sequence[Recording], store: FeatureStore, steps: Sequence[Sequence[Window]]) -> None:
        self._recordings, self._store, self._steps = recordings, store, steps

    @property
    def num_steps(self) -> int:
        return len(self._steps)

    @property
    def num_sentences(self) -> int:
        return sum(len(recording.utterances) for recording in self._recordings)

    @property
    def utterances(self) -> Iterator[Utterance]:
        return (utterance for recording in self._recordings for utterance in recording.utterances)

    def statistics(self) -> tuple[Float[Tensor, " mels"], Float[Tensor, " mels"]]:
        return self._store.statistics()

    def num_windows(self, step: int) -> int:
        return len(self._steps[step])

    def windows(self, step: int) -> Sequence[Window]:
        return self._steps[step]

    def recording(self, window: Window) -> Recording:
        return self._recordings[window.recording]

    def features(self, window: Window) -> Float[Tensor, "frames mels"]:
        return self._store.window(window)


@final
class SpokenWindows(WindowSource):
    """Windows that are spoken when they are needed, none of them twice: for machines with cores to spare and no corpus.

    Nothing that is said is in the dev and test splits of the corpus with the same settings. Needs neither av nor
    soundfile.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        *,
        num_steps: int,
        windows_a_step: int,
        max_window_s: float,
        many_share: float,
        front_end: FrontEnd,
        seed: int,
    ) -> None:
        self._settings, self._num_steps, self._windows_a_step = settings, num_steps, windows_a_step
        self._max_window_s, self._many_share, self._seed = max_window_s, many_share, seed
        self._front_end = front_end
        self._start()

    def __getstate__(self) -> dict[str, object]:
        """Without what is cached: each worker makes its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_synthesiser", "_spoken")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._start()

    @property
    def num_steps(self) -> int:
        return self._num_steps

    @property
    def num_sentences(self) -> None:
        return None

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        return ()

    def statistics(self) -> tuple[Float[Tensor, " mels"], Float[Tensor, " mels"]]:
        rows = torch.cat([self.features(self._window(number)) for number in range(_MEASURED)]).double()
        return rows.mean(dim=0).float(), rows.std(dim=0, correction=0).float()

    def num_windows(self, step: int) -> int:
        return self._windows_a_step

    def windows(self, step: int) -> Sequence[Window]:
        first = step * self._windows_a_step
        return [self._window(number) for number in range(first, first + self._windows_a_step)]

    def recording(self, window: Window) -> Recording:
        return _recording(window.recording, self._spoken(window.recording))

    def features(self, window: Window) -> Float[Tensor, "frames mels"]:
        samples = self._spoken(window.recording).samples
        cut = samples[round(window.start_s * SAMPLE_RATE) : round(window.end_s * SAMPLE_RATE)]
        return self._front_end.of_recording(torch.from_numpy(cut))

    def _start(self) -> None:
        self._synthesiser = Synthesiser(self._settings)
        self._spoken = lru_cache(maxsize=_HELD)(self._synthesiser)

    def _window(self, number: int) -> Window:
        """One of the windows that a spoken one can be cut into, longer ones more often."""
        rng = random.Random(f"{self._seed} {number}")
        recording = _recording(number, self._spoken(number))
        drawn = draw_windows(
            [recording], max_window_s=self._max_window_s, many_share=self._many_share, rng=rng
        ) or draw_windows([recording], max_window_s=float("inf"), many_share=0.0, rng=rng)
        (chosen,) = rng.choices(drawn, weights=[window.duration_s for window in drawn])
        return Window(number, chosen.first, chosen.last, chosen.start_s, chosen.end_s)


def spoken_texts(settings: CorpusSettings, count: int) -> Iterator[str]:
    """Yield what is said, and what it means in English, in the first `count` spoken windows; nothing is spoken."""
    synthesiser = Synthesiser(settings)
    for number in range(count):
        speech = synthesiser.speech(number)
        for language in (speech.language, "eng"):
            yield from (sentence for segment in speech.texts(language) for sentence in segment)


def _recording(number: int, spoken: SpokenWindow) -> Recording:
    utterances = tuple(
        Utterance(
            id=f"{number}.{index}",
            audio=f"window {number}",
            start_s=sentence.start_s,
            end_s=sentence.end_s,
            language=spoken.language,
            transcript=sentence.transcript,
            translations={"eng": sentence.translation},
        )
        for index, sentence in enumerate(spoken.sentences)
    )
    return Recording(utterances=utterances, start_s=0.0, end_s=len(spoken.samples) / SAMPLE_RATE)
