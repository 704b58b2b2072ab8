"""OWSM as a transformers model: `from_pretrained`, `generate()` (greedy) and the Auto classes, over `OwsmNetwork`.

Importing this module makes the Auto classes know OWSM. Our own decoding does not need it.

Shapes: B rows, F feature frames, M mel bins, T encoder frames, L positions, S CTC targets, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    Cache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils import ModelOutput

from skipwise.data.languages import to_iso639_3
from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.features.log_mel import num_feature_frames
from skipwise.gating import Context
from skipwise.models.attach import planner_of
from skipwise.models.owsm.configuration import OwsmConfig
from skipwise.models.owsm.engine import pack_decoder
from skipwise.models.owsm.generation import NoTimestamps, OneTokenAFrame, OwsmCache
from skipwise.models.owsm.loading import GATES_FOLDER, MODEL_TYPE
from skipwise.models.owsm.loss import IGNORED_LABEL, attention_loss, ctc_loss
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.processing import OwsmFeatureExtractor, OwsmProcessor, OwsmTokenizer
from skipwise.models.owsm.weights import KEY_PREFIX
from skipwise.models.planned import decoder_gates

_ADAPTER_PREFIX = f"{KEY_PREFIX}gate_adapter."

Words = str | Sequence[str] | None
"""One language or task for all rows, or one a row; None is unknown."""


@final
@dataclass
class OwsmEncoderOutput(ModelOutput):
    """The encoder's states, and how much of each row is real: what the decoder's plan is decided from."""

    last_hidden_state: Float[Tensor, "batch time dim"] | None = None
    num_frames: Int[Tensor, " batch"] | None = None
    """Frames of each row that take part."""
    num_real_frames: Int[Tensor, " batch"] | None = None
    """Frames of each row that stem from real samples."""

    def speech_states(self) -> SpeechStates:
        assert self.last_hidden_state is not None and self.num_frames is not None and self.num_real_frames is not None
        return SpeechStates(self.last_hidden_state, self.num_frames, self.num_real_frames)


@final
class OwsmForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Speech to text in transformers' interface; `attach`, `detach` and `gated` work on it as on an `OwsmNetwork`."""

    config_class = OwsmConfig
    config: OwsmConfig  # pyrefly: ignore[bad-override-mutable-attribute]
    base_model_prefix = KEY_PREFIX.removesuffix(".")
    main_input_name = "input_features"
    input_modalities = "audio"
    _supports_sdpa = True
    _no_split_modules = ["EncoderLayer", "DecoderLayer"]  # noqa: RUF012

    def __init__(self, config: OwsmConfig) -> None:
        super().__init__(config)
        self.model = OwsmNetwork(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Return the model of a folder or a Hub name, without gates: `attach(model, folder / "gates")` puts them on.

        Raises:
            SkipwiseError: if its weights are not exactly those of its config.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        for problem, name in (("lack", "missing_keys"), ("have unknown", "unexpected_keys")):
            if info[name]:
                named = ", ".join(sorted(info[name])[:5])
                raise SkipwiseError(f"the weights of {args[0]} {problem} keys: {named} ({len(info[name])}).")
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self, save_directory: Any, *args: Any, state_dict: dict[str, Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Write the base, and the attached adapter, if there is one, into `gates/` beside it."""
        weights = {KEY_PREFIX + name: tensor for name, tensor in self.model.base_state().items()}
        if state_dict is not None:  # trainers pass gathered weights
            weights = {name: tensor for name, tensor in state_dict.items() if not name.startswith(_ADAPTER_PREFIX)}
        super().save_pretrained(save_directory, *args, state_dict=weights, **kwargs)
        if self.model.gate_adapter is not None:
            self.model.gate_adapter.save_pretrained(Path(save_directory) / GATES_FOLDER)

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the module as it is: torch's defaults from scratch; loading is strict, so nothing is ever missing."""

    def get_input_embeddings(self) -> nn.Module:
        return self.model.decoder.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.model.decoder.lm_head

    def encode(
        self,
        input_features: Float[Tensor, "batch frames mels"] | None,
        *,
        num_real_samples: Int[Tensor, " batch"] | None,
        num_frames: Int[Tensor, " batch"] | None = None,
        attention_mask: Int[Tensor, "batch frames"] | Bool[Tensor, "batch frames"] | None = None,
        language: Words = None,
        task: Words = None,
    ) -> OwsmEncoderOutput:
        """Return the encoder's states under the plan that the model's gates decide; arguments as in `forward`."""
        if input_features is None or num_real_samples is None:
            missing = "input_features" if input_features is None else "num_real_samples"
            raise SkipwiseError(f"{missing} is needed: pass on all that OwsmProcessor returns, or encoder_outputs.")
        if num_frames is None:
            everywhere = torch.ones(input_features.shape[:2], dtype=torch.bool, device=input_features.device)
            num_frames = (everywhere if attention_mask is None else attention_mask.bool()).sum(dim=1)
        num_real = torch.tensor([num_feature_frames(n) for n in num_real_samples.tolist()], device=num_frames.device)
        embedded = self.model.embed(SpeechStates(input_features, num_frames, num_real.minimum(num_frames)))
        contexts = _contexts(language, task, input_features.shape[0])
        encoded = self.model.encode(embedded, planner_of(self.model).encoder(contexts, embedded.pooled()))
        return OwsmEncoderOutput(encoded.states, encoded.num_frames, encoded.num_real_frames)

    def forward(  # noqa: PLR0913  transformers' names, which its callers pass by keyword
        self,
        input_features: Float[Tensor, "batch frames mels"] | None = None,
        num_frames: Int[Tensor, " batch"] | None = None,
        num_real_samples: Int[Tensor, " batch"] | None = None,
        attention_mask: Int[Tensor, "batch frames"] | Bool[Tensor, "batch frames"] | None = None,
        decoder_input_ids: Int[Tensor, "batch length"] | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        ctc_labels: Int[Tensor, "batch targets"] | None = None,
        language: Words = None,
        task: Words = None,
        encoder_outputs: OwsmEncoderOutput | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Return logits after each decoder position, and a loss if there are labels.

        `num_real_samples` is the length of the audio without a fixed window's padding; give `num_frames` or
        `attention_mask` unless all rows are as long as the batch. `labels` and `ctc_labels` are padded with -100. A row
        of `ctc_labels` that holds nothing else has no CTC text and drops out of that loss.

        Raises:
            SkipwiseError: if an input is missing that cannot be guessed.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encode(
                input_features,
                num_real_samples=num_real_samples,
                num_frames=num_frames,
                attention_mask=attention_mask,
                language=language,
                task=task,
            )
        if decoder_input_ids is None:
            decoder_input_ids = self._shift_right(labels)
        if past_key_values is None and use_cache:
            past_key_values = self.start_cache(encoder_outputs, language=language, task=task)
        logits = self._decode(decoder_input_ids, encoder_outputs, past_key_values, language, task)
        output = Seq2SeqLMOutput(
            loss=None if labels is None else self._loss(logits, labels, ctc_labels, encoder_outputs.speech_states()),
            logits=logits,
            past_key_values=past_key_values,  # pyrefly: ignore[bad-argument-type]
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )
        return output.to_tuple() if return_dict is False else output

    def start_cache(
        self,
        encoder_outputs: OwsmEncoderOutput,
        *,
        language: Words = None,
        task: Words = None,
        decoder_input_ids: Int[Tensor, "batch prompt"] | None = None,
    ) -> OwsmCache:
        """Return the empty cache of a new utterance batch, with the decoder's plan decided.

        Gates whose layers decide for themselves do so on the prompt `decoder_input_ids`, or on `<sos>` alone.
        """
        encoded = encoder_outputs.speech_states()
        contexts = _contexts(language, task, encoded.states.shape[0])
        starts = [[self.config.bos_token_id]] * len(contexts)
        prompts = starts if decoder_input_ids is None else decoder_input_ids.tolist()
        gates = decoder_gates(self.model, planner_of(self.model), contexts, encoded, prompts)
        decoder = pack_decoder(self.model.decoder, None, start_token_id=self.config.bos_token_id)
        return OwsmCache(decoder, decoder.start(encoded, gates))

    @torch.no_grad()
    def generate(  # pyrefly: ignore[bad-override]
        self,
        input_features: Float[Tensor, "batch frames mels"] | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        language: Words = None,
        task: Words = "asr",
        decoder_input_ids: Int[Tensor, "batch prompt"] | None = None,
        encoder_outputs: OwsmEncoderOutput | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the greedy hypothesis of each row, prompt included: `<sos> <language> <task> <notimestamps> ...`.

        Takes what the processor returns. A prompt given as `decoder_input_ids` is used as it is; `language` and `task`
        then only serve the gates. Without a length limit a row ends at one token per encoder frame, as in ESPnet.

        Raises:
            SkipwiseError: for an unknown language or task, missing inputs, or anything but one hypothesis a row.
        """
        config = copy.deepcopy(self.generation_config if generation_config is None else generation_config)
        kwargs = config.update(**kwargs)
        if max(config.num_beams or 1, config.num_return_sequences or 1) > 1:
            raise SkipwiseError(
                "generate() returns one hypothesis a row: num_beams and num_return_sequences must be 1."
            )
        inputs = {name: kwargs.pop(name, None) for name in ("num_real_samples", "num_frames", "attention_mask")}
        if encoder_outputs is None:
            encoder_outputs = self.encode(input_features, **inputs, language=language, task=task)
        encoded = encoder_outputs.speech_states()
        if decoder_input_ids is None:
            decoder_input_ids = self._prompts(language, task, encoded.states.shape[0])
        if config.use_cache is not False:
            told = {"language": language, "task": task, "decoder_input_ids": decoder_input_ids}
            kwargs.setdefault("past_key_values", self.start_cache(encoder_outputs, **told))
        prompt_length = decoder_input_ids.shape[1]
        # transformers puts <sos> before a prompt that does not begin with it, as one with previous text does not
        config.decoder_start_token_id = decoder_input_ids[:, 0].tolist()
        stopping = StoppingCriteriaList(kwargs.pop("stopping_criteria", None) or [])
        if config.max_new_tokens is None and config.max_length is None:
            config.max_new_tokens = encoded.states.shape[1]
            stopping.append(OneTokenAFrame(encoded.num_frames, prompt_length))
        without_times = (decoder_input_ids == self.config.no_timestamps_token_id).any(dim=1)
        times = slice(self.config.first_timestamp_token_id, self.config.last_timestamp_token_id + 1)
        processors = [NoTimestamps(without_times, times), *(kwargs.pop("logits_processor", None) or [])]
        return super().generate(  # pyrefly: ignore[bad-argument-type]
            generation_config=config,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=stopping,
            encoder_outputs=encoder_outputs,
            decoder_input_ids=decoder_input_ids,
            language=language,
            task=task,
            **kwargs,
        )

    def _decode(
        self, tokens: Tensor, encoder_outputs: OwsmEncoderOutput, cache: Cache | None, language: Words, task: Words
    ) -> Float[Tensor, "batch length vocab"]:
        if not isinstance(cache, OwsmCache | None):
            raise SkipwiseError("past_key_values must be the OwsmCache of start_cache(), or left out.")
        if cache is not None:
            return cache.decode(tokens)
        encoded = encoder_outputs.speech_states()
        plan = planner_of(self.model).decoder(_contexts(language, task, tokens.shape[0]), encoded.pooled())
        return self.model.decode(tokens, encoded, plan)

    def _loss(
        self, logits: Tensor, labels: Tensor, ctc_labels: Tensor | None, encoded: SpeechStates
    ) -> Float[Tensor, ""]:
        if ctc_labels is None:
            raise SkipwiseError(f"labels need ctc_labels beside them; a row without CTC text is all {IGNORED_LABEL}.")
        config, normalized = self.config, self.config.length_normalized_loss
        attention = attention_loss(logits, labels, label_smoothing=config.label_smoothing, length_normalized=normalized)
        num_targets = (ctc_labels != IGNORED_LABEL).sum(dim=1)
        heard = num_targets.nonzero()[:, 0]
        if heard.numel() == 0:
            return (1 - config.ctc_loss_weight) * attention
        ctc = ctc_loss(
            self.model.ctc_logits(encoded.select(heard)),
            encoded.num_frames[heard],
            ctc_labels[heard].masked_fill(ctc_labels[heard] == IGNORED_LABEL, config.pad_token_id),
            num_targets[heard],
            length_normalized=normalized,
        )
        return config.ctc_loss_weight * ctc + (1 - config.ctc_loss_weight) * attention

    def _shift_right(self, labels: Tensor | None) -> Int[Tensor, "batch length"]:
        """The decoder's input for labels without previous text: `<sos>`, then all but the last label."""
        if labels is None or bool((labels[:, 0] == IGNORED_LABEL).any()):
            raise SkipwiseError("decoder_input_ids are needed: there are no labels, or they begin with previous text.")
        start = torch.full_like(labels[:, :1], self.config.bos_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted == IGNORED_LABEL, self.config.eos_token_id)

    def _prompts(self, language: Words, task: Words, num_rows: int) -> Int[Tensor, "batch prompt"]:
        contexts = _contexts(language, task, num_rows)
        if any(context.language is None or context.task is None for context in contexts):
            raise SkipwiseError(
                "generate() needs a language and a task, or a prompt as decoder_input_ids. "
                f"Languages: {', '.join(self.config.languages)}. Tasks: {', '.join(self.config.tasks)}."
            )
        prompts = [self.config.prompt(str(context.language), str(context.task)) for context in contexts]
        return torch.tensor(prompts, device=self.device)


def register_auto_classes() -> None:
    """Make transformers' Auto classes know OWSM; a second call changes nothing."""
    AutoConfig.register(MODEL_TYPE, OwsmConfig, exist_ok=True)
    AutoModelForSpeechSeq2Seq.register(OwsmConfig, OwsmForConditionalGeneration, exist_ok=True)
    AutoFeatureExtractor.register(OwsmConfig, OwsmFeatureExtractor, exist_ok=True)
    AutoTokenizer.register(OwsmConfig, tokenizer_class=OwsmTokenizer, exist_ok=True)
    AutoProcessor.register(OwsmConfig, OwsmProcessor, exist_ok=True)


def _contexts(language: Words, task: Words, num_rows: int) -> list[Context]:
    """One context a row; two-letter language codes are accepted."""
    languages, tasks = _per_row("language", language, num_rows), _per_row("task", task, num_rows)
    codes = [to_iso639_3(code) if code is not None and len(code) == 2 else code for code in languages]
    return [Context(language=code, task=job) for code, job in zip(codes, tasks, strict=True)]


def _per_row(name: str, words: Words, num_rows: int) -> list[str | None]:
    if words is None or isinstance(words, str):
        return [words] * num_rows
    if len(words) != num_rows:
        raise SkipwiseError(f"{name} must be one word or one a row ({num_rows}); got {len(words)}.")
    return list(words)


register_auto_classes()
