"""An OWSM from scratch, whose encoder may come from one that hears already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.models.ctc_frequencies import know_frequencies
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.loading import OwsmModel
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.models.trainable import FreshModel


def fresh_owsm(wanted: FreshModel, texts: Iterable[str]) -> OwsmModel:
    """Return a random OWSM with pieces learned from `texts`; its CTC head knows how often each is said.

    Raises:
        SkipwiseError: for an architecture that cannot be, or too little text.
    """
    texts = sorted(set(texts))
    vocabulary = OwsmVocabulary.train(
        texts, languages=wanted.languages, tasks=wanted.tasks, size=wanted.vocabulary_size
    )
    unknown = wanted.architecture.keys() - OwsmArchitecture.__dataclass_fields__.keys()
    if unknown:
        raise SkipwiseError(
            f"unknown key model.architecture.{min(unknown)}; allowed there: "
            f"{', '.join(sorted(OwsmArchitecture.__dataclass_fields__))}."
        )
    network = OwsmNetwork(OwsmArchitecture(**vocabulary.token_ids() | dict(wanted.architecture)))
    know_frequencies(network.ctc_head, [vocabulary.encode(text) for text in texts])
    return OwsmModel(network, vocabulary, str(wanted.folder), wanted.folder)


@torch.no_grad()
def take_encoder(network: OwsmNetwork, donor: SpeechModel[nn.Module, Vocabulary]) -> None:
    """Give a network the encoder of a model, and the statistics of the features that it was trained on.

    Raises:
        SkipwiseError: if the encoders are not of one shape, but for the widths of their kernels.
    """
    own = network.state_dict()
    taken = {
        name: tensor for name, tensor in donor.network.state_dict().items() if name.startswith(("encoder.", "feature_"))
    }
    for name, tensor in taken.items():
        missing = own[name].shape[-1] - tensor.shape[-1] if name in own else 0
        if _is_kernel(name, tensor) and missing > 0 and missing % 2 == 0:
            taken[name] = torch.nn.functional.pad(tensor, (missing // 2, missing // 2))
    expected = {name: tensor.shape for name, tensor in own.items() if name.startswith(("encoder.", "feature_"))}
    found = {name: tensor.shape for name, tensor in taken.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise SkipwiseError(
            f"the encoder of {donor.name} has another shape: {wrong[0]} is {_shape(found, wrong[0])}, not "
            f"{_shape(expected, wrong[0])} ({len(wrong)} differ). Give model.architecture its sizes."
        )
    network.load_state_dict(own | taken)


def _is_kernel(name: str, tensor: Tensor) -> bool:  # a depthwise convolution over time
    return name.endswith("conv.weight") and tensor.ndim == 3


def _shape(shapes: Mapping[str, torch.Size], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "missing"
