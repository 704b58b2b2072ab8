"""What `skipwise train` reads: a YAML file, checked strictly, with `key=value` overrides."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from skipwise.errors import SkipwiseError
from skipwise.training.gates_section import CostSection, DistillationSection, GatesSection
from skipwise.training.section import Section, explained


class DataSection(Section):
    """Which speech to learn from."""

    root: Path
    """File or folder in one of the layouts of docs/data.md."""
    dev_root: Path | None = None
    """Where the dev split is, if not in `root`; needed where `root` is one split, as a manifest is."""
    skip_bad: bool = False
    """Leave bad lines of the data out, and list them before training begins."""
    languages: tuple[str, ...] = ("deu", "fra", "ita")
    """Source languages, ISO 639."""
    tasks: tuple[str, ...] = ("asr", "st_eng")
    """Tasks: every utterance has a reference for each of them."""
    tasks_a_window: Literal["all", "one"] = "all"
    """Whether a window serves all tasks in a step, or one that is drawn: with gates on the encoder each task has a pass
    of its own, which `one` does not pay for."""
    max_window_s: float = Field(default=30.0, gt=0)
    """Longest window; longer sentences are left out."""
    many_share: float = Field(default=0.5, ge=0, le=1)
    """Share of windows of several sentences, as many as fit into a length drawn up to `max_window_s`."""
    timestamps: float = Field(default=0.5, ge=0, le=1)
    """How often the text has timestamps."""
    previous_text: float = Field(default=0.5, ge=0, le=1)
    """How often the text before a window is told, where there is some."""
    lower_case: bool = False
    """Learn texts in lower case."""
    on_the_spot: Literal["tiny", "small", "full"] | None = None
    """Speak each window when a step needs it, in `jobs` processes beside the training, instead of reading `root`'s
    train split; the preset of the corpus whose test splits are never said. Needs the extra `corpus`."""
    jobs: int = Field(default=1, ge=1)
    """Processes that compute features."""


class AugmentSection(Section):
    """SpecAugment, and other voices, microphones, rooms and noises."""

    num_bands: int = Field(default=2, ge=0)
    """Bands of mel bins that are hidden."""
    widest_band: float = Field(default=0.3375, ge=0, le=1)
    """The widest band, as a share of the bins."""
    num_stretches: int = Field(default=10, ge=0)
    """Stretches of frames that are hidden."""
    longest_stretch: float = Field(default=0.05, ge=0, le=1)
    """The longest stretch, as a share of the frames."""
    vocal_tract: float = Field(default=0.0, ge=0, le=1)
    """How far formants move: standard deviation of the logarithm of the factor; 0: not at all."""
    channel_db: float = Field(default=0.0, ge=0, le=20)
    """How far gains of frequencies move: standard deviation in dB; 0: not at all."""
    room_share: float = Field(default=0.0, ge=0, le=1)
    """How often a window is heard in another room beside its own."""
    noise_share: float = Field(default=0.0, ge=0, le=1)
    """How often a window is heard over a noise beside its own, 0 to 25 dB below it."""
    babble_share: float = Field(default=0.0, ge=0, le=1)
    """How often a window is heard over what two to six others of its step say, 0 to 25 dB below it."""


class LoraSection(Section):
    """Low-rank changes of the base, beside the gates; needs the extra `peft`."""

    rank: int = Field(default=8, ge=1)
    """Rank of each change."""
    alpha: int = Field(default=16, ge=1)
    """Changes are scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before each change."""
    layers: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2", "in_proj")
    """Last parts of the names of the linear layers that change, in encoder and decoder layers."""


class ModelSection(Section):
    """Where the base comes from."""

    init: Literal["scratch"] | str = "scratch"
    """`scratch`, `reference` (the shipped one), or a model's folder or Hub name."""
    encoder: str | None = None
    """Model whose encoder and feature statistics to start from where `init` is `scratch`: it hears already, and only
    tokens and decoder are new. `reference` is the shipped one. Narrower kernels are widened with zeros."""
    family: Literal["owsm", "whisper"] = "owsm"
    """Kind of model to make where `init` is `scratch`; a trained one is of the kind that it is."""
    vocabulary_size: int = Field(default=1000, ge=20)
    """Pieces of text to learn, from scratch only: of SentencePiece, or byte-level ones of a Whisper, bytes included."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Fields of `OwsmArchitecture`, or of `WhisperConfig`; for a trained base only those that change no weight."""
    decoder_layers: tuple[int, ...] | None = None
    """Layers of the trained decoder in `init` to keep, from 0; the others go. Trained on without gates, that is a
    shallower dense model."""
    auxiliary_ctc: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the loss of a CTC head that a base without one, a Whisper, learns with and that is not saved. It begins
    with `ctc_weight_start`."""
    base: Literal["full", "decoder", "lora", "frozen"] = "full"
    """`full` trains the base too and writes a new one; `decoder` does so with the encoder and a CTC head as they are in
    `init`. `lora` trains low-rank changes of the base, `frozen` the gates alone: both write an adapter for it."""
    lora: LoraSection = LoraSection()

    @property
    def writes_base(self) -> bool:
        """Whether a run makes a new base; else an adapter for the one in `init`."""
        return self.base in ("full", "decoder")

    @model_validator(mode="after")
    def _kept_layers_are_a_trained_base_s(self) -> ModelSection:
        kept = self.decoder_layers
        if kept is None:
            return self
        if not kept or min(kept) < 0 or list(kept) != sorted(set(kept)):
            raise ValueError(f"decoder_layers must be layers from 0 on, in order and each once, got {list(kept)}")
        if self.init == "scratch" or not self.writes_base:
            raise ValueError(
                "decoder_layers is for a trained base (init) that trains on (base: full or decoder). For a fresh one "
                "set architecture.decoder_layers"
            )
        return self

    @model_validator(mode="after")
    def _a_kept_encoder_has_learned(self) -> ModelSection:
        if self.base == "decoder" and self.init == "scratch":
            raise ValueError("base decoder keeps the encoder of a trained base: name one in init")
        return self


class OptimisationSection(Section):
    """How to learn."""

    max_steps: int = Field(ge=1)
    """Optimiser steps."""
    batch_s: float = Field(default=96.0, gt=0)
    """Padded seconds of speech in a batch."""
    pieces: int = Field(default=1, ge=1)
    """A step is computed in as many pieces, one after the other, and their gradients are summed: less memory, same
    step. Where memory runs out there will be more of them."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """`muon` orthogonalises the steps of the weight matrices in the layers of the base (Jordan et al. 2024), at the
    scale of AdamW's; everything else is AdamW's in both."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of the base."""
    warmup_steps: int = Field(default=200, ge=0)
    """Steps of linear warm-up."""
    decay_share: float = Field(default=0.6, ge=0, le=1)
    """Share of the run, at its end, over which the rate falls along a cosine to a hundredth."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay; biases and norms are spared."""
    max_grad_norm: float = Field(default=2.0, gt=0)
    """Gradient clipping."""
    ctc_weight_start: float = Field(default=0.7, ge=0, le=1)
    """Weight of CTC in the first `ctc_warmup_steps`; then the architecture's `ctc_loss_weight`, or `auxiliary_ctc`.
    Nothing of this is for a model without a CTC head."""
    ctc_warmup_steps: int = Field(default=300, ge=0)
    """How long CTC leads; 0 for a trained base."""
    sorted_epochs: int = Field(default=1, ge=0)
    """Epochs at the start that go from short utterances to long ones."""
    bf16: Literal[True, False, "auto"] = False
    """Mixed precision in bfloat16; `auto`: on a GPU that has it, and on a CPU that has AMX. Other CPUs, AVX-512's with
    bfloat16 among them, are faster in fp32."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None leaves torch's choice."""
    log_steps: int = Field(default=25, ge=1)
    """Steps between log lines."""
    eval_steps: int = Field(default=500, ge=1)
    """Steps between evaluations on the dev set."""
    eval_utterances: int = Field(default=90, ge=0)
    """Dev utterances in each of these, spread over the languages; 0 for none."""
    save_steps: int = Field(default=250, ge=1)
    """Steps between checkpoints."""


class TrainConfig(Section):
    """A whole run."""

    output: Path
    """Folder of the run: checkpoints, TensorBoard, and the trained model in `model/`."""
    seed: int = Field(default=1, ge=0)
    """Seed of initialisation, data order and gates."""
    data: DataSection
    model: ModelSection = ModelSection()
    augment: AugmentSection | None = None
    gates: GatesSection | None = None
    optimisation: OptimisationSection

    @model_validator(mode="after")
    def _an_auxiliary_head_is_for_a_base(self) -> TrainConfig:
        if self.model.auxiliary_ctc and self.gates is not None:
            raise ValueError("model.auxiliary_ctc is for training a base: leave it out where gates are trained")
        return self

    @model_validator(mode="after")
    def _a_kept_base_is_there(self) -> TrainConfig:
        if self.model.writes_base:
            return self
        if self.gates is None or self.model.init == "scratch":
            raise ValueError(f"model.base {self.model.base} is for gates on a trained base: it needs gates and init")
        if "window_s" in self.model.architecture:
            raise ValueError(
                f"model.base {self.model.base} leaves the base as it is, so architecture.window_s cannot change"
            )
        return self


_NESTED: Mapping[str, type[Section]] = {
    "data": DataSection,
    "model": ModelSection,
    "gates": GatesSection,
    "augment": AugmentSection,
    "optimisation": OptimisationSection,
    "lora": LoraSection,
    "cost": CostSection,
    "distillation": DistillationSection,
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the run described by a YAML file, with `section.key=value` overrides applied in order.

    Raises:
        SkipwiseError: for a missing file, a wrong key (naming the allowed ones) or a wrong value.
    """
    try:
        record = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        raise SkipwiseError(f"no such config: {path}. See recipes/ for examples.") from error
    except yaml.YAMLError as error:
        raise SkipwiseError(f"{path} is not YAML: {error}") from error
    if not isinstance(record, dict):
        raise SkipwiseError(
            f"{path} must hold sections such as `data:` and `optimisation:`, got a {type(record).__name__}."
        )
    return config_of(with_overrides(record, overrides), path)


def config_of(record: dict[str, Any], where: str | Path) -> TrainConfig:
    """Return the run that a record describes.

    Raises:
        SkipwiseError: for a wrong key (naming the allowed ones) or a wrong value; begins with `where`.
    """
    try:
        return TrainConfig(**record)
    except ValidationError as error:
        raise SkipwiseError(explained(error, where, TrainConfig, _NESTED)) from error


def with_overrides(record: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a recipe's record with `section.key=value` applied in order.

    Raises:
        SkipwiseError: for an override that is written otherwise.
    """
    changed = copy.deepcopy(record)
    for override in overrides:
        _apply(changed, override)
    return changed


def _apply(record: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise SkipwiseError(f"an override is written key=value, as in optimisation.max_steps=100; got {override!r}.")
    *parents, last = dotted.split(".")
    for name in parents:
        child = record.get(name)
        record[name] = child if isinstance(child, dict) else {}
        record = record[name]
    record[last] = yaml.safe_load(text)
