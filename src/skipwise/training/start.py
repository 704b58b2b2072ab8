"""What a run starts from: a model, trained or fresh, and the windows that it will learn from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from skipwise.corpus.settings import preset
from skipwise.data.languages import to_iso639_3
from skipwise.data.layouts import has_splits, read_data
from skipwise.data.manifest import Utterance
from skipwise.data.sidecar import by_sentence
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.loading import load_model, model_type
from skipwise.models.registry import family_called
from skipwise.models.speech_engine import SpeechConfig
from skipwise.models.trainable import FreshModel, FrontEnd, TrainableFamily, trainable_family_of
from skipwise.pipeline import REFERENCE, reference_model
from skipwise.training.batches import StepPlan, plan_steps
from skipwise.training.config import DataSection, TrainConfig
from skipwise.training.feature_store import build_feature_store
from skipwise.training.sources import SpokenWindows, StoredWindows, WindowSource, spoken_texts
from skipwise.training.windows import Recording, recordings_of

AnyModel = SpeechModel[nn.Module, Vocabulary]
_TRAINED = ("owsm", "whisper")
_TEXTS_OF = 4000
"""Spoken windows whose text a vocabulary is learned from."""


def starting_point(config: TrainConfig) -> tuple[AnyModel, WindowSource]:
    """Return the model to start from and its windows; from scratch, statistics and tokens come from train only.

    Raises:
        SkipwiseError: if there is nothing to train on, or the model or its architecture cannot be what is asked for.
    """
    spot, is_fresh = config.data.on_the_spot, config.model.init == "scratch"
    recordings = [] if spot else recordings_of(utterances_of(config.data, "train"))
    if is_fresh:
        model = _fresh(config, spoken_texts(preset(spot), _TEXTS_OF) if spot else _texts(config.data, recordings))
    else:
        model = _trained(config)
    family = trainable_family_of(model.network)
    data = config.data
    family.remember_shares(model.network, timestamps=data.timestamps, previous_text=data.previous_text)
    source = _source(config, family.front_end(model.network), family.config(model.network), recordings)
    if is_fresh and config.model.encoder is not None:
        family.take_encoder(model.network, _model_called(config.model.encoder))
    elif is_fresh:
        family.take_statistics(model.network, source.statistics)
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


def _model_called(name: str) -> AnyModel:
    if name != REFERENCE and (found := model_type(Path(name))) not in (None, *_TRAINED):
        raise SkipwiseError(
            f"skipwise train goes on from an OWSM or a Whisper; {name} is a {found}. Its own library trains that one."
        )
    return load_model(reference_model() if name == REFERENCE else name)


def _trained(config: TrainConfig) -> AnyModel:
    """The model of a name, in training; what its data say is something that it knows."""
    model = _model_called(config.model.init)
    family = trainable_family_of(model.network)
    family.configure(model.network, config.model.architecture)
    if config.model.decoder_layers is not None:
        family.keep_decoder_layers(model.network, config.model.decoder_layers)
    for language in config.data.languages:
        for task in config.data.tasks:
            family.config(model.network).prompt(to_iso639_3(language), task)
    model.network.train()
    return model


def _fresh(config: TrainConfig, texts: Iterable[str]) -> AnyModel:
    family = family_called(config.model.family)
    assert isinstance(family, TrainableFamily)
    wanted = FreshModel(
        languages=tuple(sorted({to_iso639_3(language) for language in config.data.languages} | {"eng"})),
        tasks=config.data.tasks,
        vocabulary_size=config.model.vocabulary_size,
        architecture=config.model.architecture,
        folder=config.output,
    )
    return family.fresh(wanted, texts)


def _texts(data: DataSection, recordings: Sequence[Recording]) -> list[str]:
    utterances = [utterance for recording in recordings for utterance in recording.utterances]
    return [utterance.reference(task) for utterance in utterances for task in data.tasks]


def _source(
    config: TrainConfig, front_end: FrontEnd, words: SpeechConfig, recordings: Sequence[Recording]
) -> WindowSource:
    data, chosen = config.data, config.optimisation
    max_window_s = min(data.max_window_s, words.window_s or data.max_window_s)
    if data.on_the_spot:
        return SpokenWindows(
            preset(data.on_the_spot),
            num_steps=chosen.max_steps,
            windows_a_step=max(1, int(chosen.batch_s / max_window_s)),
            max_window_s=max_window_s,
            many_share=data.many_share,
            front_end=front_end,
            seed=config.seed,
        )
    store = build_feature_store(recordings, config.output.parent / "features", front_end=front_end, jobs=data.jobs)
    plan = StepPlan(
        batch_s=chosen.batch_s,
        window_s=words.window_s,
        max_window_s=max_window_s,
        many_share=data.many_share,
        max_steps=chosen.max_steps,
        sorted_epochs=chosen.sorted_epochs,
        seed=config.seed,
    )
    return StoredWindows(recordings, store, plan_steps(recordings, plan))
