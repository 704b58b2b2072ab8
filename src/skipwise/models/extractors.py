"""Speaker and event embeddings by name, from statistics of the features or from models of transformers.

Shapes: N samples, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.audio import SAMPLE_RATE, load_audio
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.features.vectors import LogMelStatistics, NoiseStatistics, VectorExtractor
from skipwise.gating import Context, GateConfig, LibraryPlanner, Planner, as_vector
from skipwise.gating.context import VECTOR_PARTS, VectorPart
from skipwise.gating.shuffle import followed_adapter

XVECTOR, AUDIO_TAGS = "xvector", "audio_tags"
LOG_MEL, NOISE = "log_mel_statistics", "noise_statistics"


def make_extractor(name: str, *, num_mel_bins: int) -> VectorExtractor:
    """Return what makes embeddings: `log_mel_statistics`, `noise_statistics`, `xvector:MODEL` or `audio_tags:MODEL`.

    MODEL is a folder, or a name on the Hub, of a transformers model for speaker verification (x-vectors) or audio
    classification (its logits are the embedding).

    Raises:
        SkipwiseError: for another name, or a model that cannot be loaded.
    """
    kind, _, model = name.partition(":")
    match kind:
        case "log_mel_statistics" if not model:
            return LogMelStatistics(num_mel_bins)
        case "noise_statistics" if not model:
            return NoiseStatistics(num_mel_bins)
        case "xvector" | "audio_tags" if model:
            return TransformersExtractor(kind, model)
        case _:
            raise SkipwiseError(
                f"an extractor is {LOG_MEL}, {NOISE}, {XVECTOR}:MODEL or {AUDIO_TAGS}:MODEL, where MODEL is the folder "
                f"or Hub name of a transformers model; got {name!r}."
            )


@final
class TransformersExtractor(VectorExtractor):
    """The embeddings of a transformers model, on the CPU."""

    def __init__(self, kind: str, name: str) -> None:
        """Load the model `name`; `kind` is `xvector` or `audio_tags`."""
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, AutoModelForAudioXVector

        model_class = AutoModelForAudioXVector if kind == XVECTOR else AutoModelForAudioClassification
        try:
            self._features: Any = AutoFeatureExtractor.from_pretrained(name)
            self._model: Any = model_class.from_pretrained(name).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise SkipwiseError(
                f"cannot load {name} for {kind} embeddings: {reason} Without a network, bring the model's folder "
                f"(`hf download {name}` elsewhere) and name that, or use {LOG_MEL} or {NOISE}, which need no weights."
            ) from error
        self._output = "embeddings" if kind == XVECTOR else "logits"
        config = self._model.config
        self._size = int(config.xvector_output_dim if kind == XVECTOR else config.num_labels)

    @property
    def size(self) -> int:
        return self._size

    @torch.inference_mode()
    def __call__(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, " size"]:
        inputs = self._features(waveform.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return getattr(self._model(**inputs), self._output)[0].float()


@final
class ContextExtractors:
    """Completes contexts with the embeddings that their gates were trained with."""

    def __init__(self, extractors: Mapping[VectorPart, VectorExtractor]) -> None:
        self._extractors = dict(extractors)

    @classmethod
    def of_planner(cls, planner: Planner, *, num_mel_bins: int) -> ContextExtractors:
        """Return what the gates of a planner ask for; nothing, for most."""
        planners = planner.planners.values() if isinstance(planner, LibraryPlanner) else [planner]
        configs = [adapter.config for one in planners if (adapter := followed_adapter(one)) is not None]
        _check_agreement(configs)
        found: dict[VectorPart, VectorExtractor] = {}
        for config in configs:
            found |= extractors_of(config, num_mel_bins=num_mel_bins)
        return cls(found)

    def complete(self, context: Context, waveform: Float[Tensor, " samples"]) -> Context:
        """Return the context with embeddings of the audio where it has none of its own."""
        for part, extractor in self._extractors.items():
            if getattr(context, part) is None:
                vector = as_vector(extractor(waveform))
                context = replace(context, speaker=vector) if part == "speaker" else replace(context, event=vector)
        return context


def _check_agreement(configs: Sequence[GateConfig]) -> None:
    """Raise a SkipwiseError if gates that share a model take embeddings of one kind from different extractors."""
    for part in VECTOR_PARTS:
        names = {config.extractor(part) for config in configs if part in config.context}
        if len(names) > 1:
            listed = " and ".join(sorted(name or "nothing" for name in names))
            raise SkipwiseError(
                f"gates on one model must take their {part} embeddings from one extractor, got {listed}. Give them "
                "Transcribers of their own."
            )


def extractors_of(config: GateConfig, *, num_mel_bins: int) -> dict[VectorPart, VectorExtractor]:
    """Return what computes the embeddings that are part of the context of gates."""
    return {
        part: make_extractor(config.extractor(part), num_mel_bins=num_mel_bins)
        for part in VECTOR_PARTS
        if part in config.context and config.extractor(part)
    }


def with_vectors(
    utterances: Iterable[Utterance], extractors: Mapping[VectorPart, VectorExtractor]
) -> Iterator[Utterance]:
    """Yield utterances with their embeddings; those that they bring stay."""
    for utterance in utterances:
        audio = torch.from_numpy(load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s))
        given = Context(speaker=utterance.speaker_vector, event=utterance.event_vector)
        found = ContextExtractors(extractors).complete(given, audio)
        yield replace(utterance, speaker_vector=found.speaker, event_vector=found.event)
