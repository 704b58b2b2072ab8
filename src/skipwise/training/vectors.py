"""Speaker and event embeddings of the windows that gates learn from.

Shapes: F feature frames, M mel bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.features.vectors import FeatureVectorExtractor
from skipwise.gating import Context, as_vector
from skipwise.gating.context import VECTOR_PARTS, Vector, VectorPart
from skipwise.models.extractors import make_extractor
from skipwise.models.trainable import FrontEnd
from skipwise.training.gates_section import GIVEN, GatesSection
from skipwise.training.sources import WindowSource
from skipwise.training.windows import Recording, Window


@final
@dataclass(frozen=True, kw_only=True)
class ContextVectors:
    """Makes the embeddings of a window: the mean of those that its sentences bring, else computed from its features."""

    sizes: Mapping[VectorPart, int] = field(default_factory=dict)
    """Numbers of each embedding that is part of the context."""
    extractors: Mapping[VectorPart, FeatureVectorExtractor] = field(default_factory=dict)
    """What computes those that do not come with the data."""

    def of(self, recording: Recording, window: Window, features: Float[Tensor, "frames mels"]) -> Context:
        """Return a context with the embeddings of a window, as far as they are known, and nothing else."""
        sentences = recording.utterances[window.first : window.last + 1]
        found = {part: self._of_part(part, sentences, features) for part in self.sizes}
        return Context(speaker=found.get("speaker"), event=found.get("event"))

    def _of_part(
        self, part: VectorPart, sentences: Sequence[Utterance], features: Float[Tensor, "frames mels"]
    ) -> Vector | None:
        given = [vector for sentence in sentences if (vector := _given(sentence, part)) is not None]
        if given:
            return as_vector(torch.tensor(given).mean(dim=0))
        if part in self.extractors:
            return as_vector(self.extractors[part].of_features(features))
        return None


def context_vectors(gates: GatesSection | None, source: WindowSource, front_end: FrontEnd) -> ContextVectors:
    """Return what makes the embeddings that are part of the gates' context: of none, for most.

    Raises:
        SkipwiseError: if they can neither be computed from features nor come with the data.
    """
    sizes: dict[VectorPart, int] = {}
    extractors: dict[VectorPart, FeatureVectorExtractor] = {}
    for part in VECTOR_PARTS if gates is not None else ():
        assert gates is not None
        if part not in gates.context:
            continue
        name = gates.speaker if part == "speaker" else gates.event
        given = next((vector for one in source.utterances if (vector := _given(one, part)) is not None), None)
        computed = name != GIVEN and given is None and front_end.is_natural_log
        extractor = make_extractor(name, num_mel_bins=front_end.num_mel_bins) if computed else None
        if isinstance(extractor, FeatureVectorExtractor):
            extractors[part], sizes[part] = extractor, extractor.size
        elif given is not None:
            sizes[part] = len(given)
        else:
            heard = "" if front_end.is_natural_log else ", nor can one be computed from what this model hears"
            raise SkipwiseError(
                f"gates.{part} is {name}, and no sentence of the data brings a {part}_vector{heard}. Compute "
                f"them first: skipwise embed DATA --{part} EXTRACTOR --output MANIFEST, and train on that manifest."
            )
    return ContextVectors(sizes=sizes, extractors=extractors)


def _given(utterance: Utterance, part: VectorPart) -> Vector | None:
    return utterance.speaker_vector if part == "speaker" else utterance.event_vector
