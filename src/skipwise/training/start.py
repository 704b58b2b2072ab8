"""What a run starts from: a model, trained or fresh, and the windows that it will learn from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skipwise.corpus.settings import preset
from skipwise.data.languages import to_iso639_3
from skipwise.data.layouts import has_splits, read_data
from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import by_sentence
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.models.loading import model_type
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.loading import MODEL_TYPE, OwsmModel, load_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.pipeline import reference_model
from skipwise.training.batches import StepPlan, plan_steps
from skipwise.training.config import DataSection, TrainConfig
from skipwise.training.feature_store import build_feature_store
from skipwise.training.sources import SpokenWindows, StoredWindows, WindowSource, spoken_texts
from skipwise.training.windows import Recording, recordings_of

_FREE_FIELDS = ("window_s", "max_window_s", "ctc_loss_weight", "label_smoothing", "length_normalized_loss")
_TEXTS_OF = 4000
"""Spoken windows whose text a vocabulary is learned from."""

_BLANK_SHARE = 0.8
"""Of the frames: a token every five of them, 0.2 s."""
_LEAST_COUNT = 0.1
"""Of a token that is not said, but may be."""


def starting_point(config: TrainConfig) -> tuple[OwsmModel, WindowSource]:
    """Return the model to start from and its windows; from scratch, statistics and tokens come from train only.

    Raises:
        SkipwiseError: if there is nothing to train on, or the architecture cannot be what is asked for.
    """
    spot = config.data.on_the_spot
    recordings = [] if spot else recordings_of(utterances_of(config.data, "train"))
    if config.model.init != "scratch":
        model = _trained(config)
        return model, _source(config, model.network.config, recordings)
    texts = spoken_texts(preset(spot), _TEXTS_OF) if spot else _texts(config.data, recordings)
    model = _fresh(config, texts)
    source = _source(config, model.network.config, recordings)
    if config.model.encoder is None:
        mean, std = source.statistics()
        model.network.feature_mean.copy_(mean)
        model.network.feature_std.copy_(std)
    else:
        take_encoder(model.network, _model_called(config.model.encoder))
    return model, source


def utterances_of(data: DataSection, split: str) -> list[Utterance]:
    """Return what there is of a split; sentence by sentence to train on, where the data tells them apart.

    Raises:
        SkipwiseError: if there is nothing, or if dev data are asked of data that are one split, the one to train on.
    """
    root = data.dev_root if split == "dev" and data.dev_root is not None else data.root
    if split == "dev" and data.dev_root is None and not has_splits(root):
        raise SkipwiseError(
            f"{root} is one split, that to train on, so there is no dev data. Name some in data.dev_root, give a "
            "folder with train and dev in it (docs/data.md), or evaluate on none: optimisation.eval_utterances=0."
        )
    languages = [to_iso639_3(language) for language in data.languages]
    bad_lines: list[str] | None = [] if data.skip_bad else None
    found = read_data(root, split, languages=languages, bad_lines=bad_lines)
    if bad_lines:
        listed = "\n".join(bad_lines)
        warnings.warn(
            f"{len(bad_lines)} bad lines of the {split} data are left out:\n{listed}", SkipwiseWarning, stacklevel=2
        )
    if split == "train":
        found = by_sentence(root, found)
    found = [utterance for utterance in found if utterance.duration_s <= data.max_window_s]
    if not found:
        raise SkipwiseError(
            f"{root} has no {split} utterances of at most {data.max_window_s} s in {', '.join(languages)}."
        )
    return found


@torch.no_grad()
def take_encoder(network: OwsmNetwork, donor: OwsmModel) -> None:
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


def _model_called(name: str) -> OwsmModel:
    return load_owsm(reference_model() if name == "reference" else name)


def _trained(config: TrainConfig) -> OwsmModel:
    named = config.model.init
    found = model_type(Path(named))
    if found not in (None, MODEL_TYPE):
        raise SkipwiseError(
            f"skipwise train goes on from an OWSM; {named} is a {found}. docs/whisper.md trains gates of a Whisper in "
            "a loop of its own."
        )
    model, changes = _model_called(named), config.model.architecture
    fixed = changes.keys() - set(_FREE_FIELDS)
    if fixed:
        raise SkipwiseError(
            f"model.architecture.{min(fixed)} cannot change in a trained base; allowed there: "
            f"{', '.join(_FREE_FIELDS)}."
        )
    for name, value in (changes | _learned(config)).items():
        setattr(model.network.config, name, value)
    model.network.train()
    return model


def _fresh(config: TrainConfig, texts: Iterable[str]) -> OwsmModel:
    languages = sorted({to_iso639_3(language) for language in config.data.languages} | {"eng"})
    texts = sorted(set(texts))
    vocabulary = OwsmVocabulary.train(
        texts, languages=languages, tasks=config.data.tasks, size=config.model.vocabulary_size
    )
    unknown = config.model.architecture.keys() - OwsmArchitecture.__dataclass_fields__.keys()
    if unknown:
        raise SkipwiseError(
            f"unknown key model.architecture.{min(unknown)}; allowed there: "
            f"{', '.join(sorted(OwsmArchitecture.__dataclass_fields__))}."
        )
    architecture = OwsmArchitecture(**vocabulary.token_ids() | _learned(config) | config.model.architecture)
    network = OwsmNetwork(architecture)
    know_frequencies(network, [vocabulary.encode(text) for text in texts])
    return OwsmModel(network, vocabulary, str(config.output), config.output)


@torch.no_grad()
def know_frequencies(network: OwsmNetwork, texts: Iterable[Sequence[int]]) -> None:
    """Let the CTC head begin with how often each token is said, and blank, whatever it hears.

    Else the first steps teach the encoder to say it: a state that is the same in all frames and drowns the speech.
    """
    counts = torch.full((network.config.vocab_size,), _LEAST_COUNT)
    for tokens in texts:
        counts += torch.bincount(torch.tensor(tokens, dtype=torch.long), minlength=len(counts))
    counts[network.config.pad_token_id] = 0
    counts *= (1 - _BLANK_SHARE) / counts.sum()
    counts[network.config.pad_token_id] = _BLANK_SHARE
    network.ctc_head.weight.zero_()
    network.ctc_head.bias.copy_(counts.log())


def _learned(config: TrainConfig) -> dict[str, Any]:
    """What the model's config says of what it was trained to say."""
    return {"timestamps_share": config.data.timestamps, "previous_text_share": config.data.previous_text}


def _texts(data: DataSection, recordings: Sequence[Recording]) -> list[str]:
    utterances = [utterance for recording in recordings for utterance in recording.utterances]
    return [utterance.reference(task) for utterance in utterances for task in data.tasks]


def _source(config: TrainConfig, architecture: OwsmArchitecture, recordings: Sequence[Recording]) -> WindowSource:
    data, chosen = config.data, config.optimisation
    max_window_s = min(data.max_window_s, architecture.window_s or data.max_window_s)
    sizes = {"num_mel_bins": architecture.num_mel_bins, "min_frames": 2 * architecture.subsampling_factor}
    if data.on_the_spot:
        return SpokenWindows(
            preset(data.on_the_spot),
            num_steps=chosen.max_steps,
            windows_a_step=max(1, int(chosen.batch_s / max_window_s)),
            max_window_s=max_window_s,
            many_share=data.many_share,
            seed=config.seed,
            **sizes,
        )
    store = build_feature_store(recordings, config.output.parent / "features", jobs=data.jobs, **sizes)
    plan = StepPlan(
        batch_s=chosen.batch_s,
        window_s=architecture.window_s,
        max_window_s=max_window_s,
        many_share=data.many_share,
        max_steps=chosen.max_steps,
        sorted_epochs=chosen.sorted_epochs,
        seed=config.seed,
    )
    return StoredWindows(recordings, store, plan_steps(recordings, plan))
