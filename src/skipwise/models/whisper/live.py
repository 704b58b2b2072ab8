"""Gates on a Whisper that transformers runs: `generate()`, pipelines, forward in training.

While something is on the model its layers are gated ones, and hooks see the work come by: the encoder's plan is decided
from the conv embedding, the decoder's from the encoder's states and the prompt, once for each cache. All of it is taken
off again. One call at a time: what is decided lies here between the hooks. Our own decoding does not come through here.

Shapes: B rows, T frames, L positions, D width.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle
from transformers import Cache, WhisperForConditionalGeneration

from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import (
    OPEN_PLANNER,
    AdapterPlanner,
    Context,
    GateAdapter,
    GatePlan,
    LayerPlanner,
    Planner,
    StepPlanner,
)
from skipwise.gating.branch import LayerGates
from skipwise.gating.layerwise import StackGates, gates_of_layer
from skipwise.gating.sites import Stack
from skipwise.models.prompt import mean_over, prompt_positions
from skipwise.models.whisper.asked import Asked, asked_of
from skipwise.models.whisper.layers import LayerGatesSource, swap_in, swap_out
from skipwise.models.whisper.network import num_encoder_frames, num_real_features
from skipwise.models.whisper.words import WhisperWords

_KEPT = "_skipwise_gates"


@final
@dataclass(frozen=True, eq=False)
class _Heard:
    """What the encoder has just made: enough to recognise it in the decoder's hands, beams and all."""

    first_frames: Float[Tensor, "batch dim"]
    num_real_frames: Int[Tensor, " batch"]

    def repeats_in(self, encoded: Float[Tensor, "rows time dim"]) -> int:
        """Return how often each of the encoder's rows stands in what the decoder reads: once a beam.

        Raises:
            SkipwiseError: if the encoder has made something else.
        """
        repeats, rest = divmod(encoded.shape[0], self.first_frames.shape[0])
        known = self.first_frames.repeat_interleave(max(1, repeats), dim=0)
        if rest or not torch.equal(encoded[:, 0].to(known), known):
            raise SkipwiseError(
                "the decoder was given encoder states that the gated encoder has not just made, so how much of them is "
                "speech is not known. Pass input_features instead of encoder_outputs, or run the encoder right before."
            )
        return repeats


@final
class LiveGates(LayerGatesSource):
    """What is on one Whisper, and what its gates have decided for the call that is running."""

    def __init__(self, model: WhisperForConditionalGeneration) -> None:
        self.gate_adapter: GateAdapter | None = None
        self.forced_planner: Planner | None = None
        self.base_weights: dict[str, nn.Parameter] = {}
        self._model = model
        self._handles: list[RemovableHandle] = []
        self._asked = Asked()
        self._told: Int[Tensor, "batch length"] | None = None
        self._num_real: Int[Tensor, " batch"] | None = None
        self._heard: _Heard | None = None
        self._deciding: Bool[Tensor, "batch length"] | None = None
        self._encoder: StackGates = None
        self._decoder: StackGates = None
        self._is_decided = False
        self._by_cache: weakref.WeakKeyDictionary[Cache, StackGates] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, model: WhisperForConditionalGeneration) -> LiveGates:
        """Return what is on a model; something new, not yet on it, where there is nothing."""
        found = model.__dict__.get(_KEPT)
        assert found is None or isinstance(found, cls)
        return cls(model) if found is None else found

    def settle(self) -> None:
        """Be on the model if there is something to follow, and off it if not; changed weights are known either way."""
        wanted = self.gate_adapter is not None or self.forced_planner is not None
        self._is_decided = False  # by what is on it from now on
        if wanted and not self._handles:
            self._put_on()
        elif not wanted and self._handles:
            self._take_off()
        if wanted or self.base_weights:
            self._model.__dict__[_KEPT] = self
        else:
            self._model.__dict__.pop(_KEPT, None)

    def encoder_layer(self, index: int, hidden: Float[Tensor, "batch time dim"]) -> LayerGates:
        return gates_of_layer(self._encoder, index, lambda: self._states(hidden).pooled().float())

    def decoder_layer(self, index: int, hidden: Float[Tensor, "batch new dim"]) -> LayerGates:
        assert self._deciding is not None
        deciding = self._deciding
        return gates_of_layer(self._decoder, index, lambda: mean_over(hidden, deciding).float())

    # --- on and off

    def _put_on(self) -> None:
        model = self._model
        encoder, decoder = model.model.encoder, model.model.decoder
        layers = [(layer, i) for stack in (encoder, decoder) for i, layer in enumerate(stack.layers)]
        changed = [type(layer).__name__ for layer, _ in layers if "forward" in layer.__dict__]
        if changed:
            raise SkipwiseError(
                f"something else has replaced the forward of this model's {changed[0]}, as device_map does. Load the "
                "model without it (and move it with .to(device)) before gates go on."
            )
        for layer, index in layers:
            swap_in(layer, self, index)
        before: list[tuple[nn.Module, Callable[..., None]]] = [
            (model, self._on_model),
            (encoder, self._on_encoder),
            (decoder, self._on_decoder),
        ]
        after: list[tuple[nn.Module, Callable[..., None]]] = [
            (encoder.conv2, self._on_embedded),
            (encoder, self._on_encoded),
            (decoder, self._on_decoded),
        ]
        self._handles = [
            *(module.register_forward_pre_hook(hook, with_kwargs=True) for module, hook in before),
            *(module.register_forward_hook(hook, with_kwargs=True) for module, hook in after),
            model.register_forward_hook(self._on_model_done, always_call=True),
        ]
        model.__dict__["generate"] = self._generate  # hears the language and the task before the encoder runs

    def _take_off(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for stack in (self._model.model.encoder, self._model.model.decoder):
            for layer in stack.layers:
                swap_out(layer)
        self._told = self._heard = self._num_real = self._deciding = self._encoder = self._decoder = None
        del self._model.__dict__["generate"]

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        model: Any = self._model
        told = {"generation_config": args[1], **kwargs} if len(args) > 1 else kwargs
        self._asked = asked_of(model, told)
        try:
            return type(model).generate(model, *args, **kwargs)
        finally:
            self._asked = Asked()

    # --- hooks, in the order in which they come

    def _on_model(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward with a prompt or labels says what is asked before its encoder runs."""
        told = kwargs.get("decoder_input_ids", args[2] if len(args) > 2 else None)
        self._told = kwargs.get("labels") if told is None else told

    def _on_model_done(self, *_: Any) -> None:
        self._told = None  # `generate()` runs the encoder of the next window on its own

    def _on_encoder(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        features = kwargs["input_features"] if "input_features" in kwargs else args[0]
        self._num_real = num_encoder_frames(num_real_features(features))

    def _on_embedded(self, _: nn.Module, args: Any, kwargs: Any, convolved: Float[Tensor, "batch dim time"]) -> None:
        if self._num_real is None:  # not the encoder's own pass
            return
        embedded = self._states(F.gelu(convolved).permute(0, 2, 1))
        num_rows = embedded.states.shape[0]
        adapter, forced = self.gate_adapter, self.forced_planner is not None
        if forced or adapter is None or not adapter.sites("encoder"):  # nobody asks what is known
            contexts = [Context()] * num_rows
        else:
            contexts = self._asked.contexts(num_rows) if self._told is None else self._read(self._told)
        decided = self._planner().encoder(contexts, embedded.pooled().float())
        self._encoder = self._followed(decided, "encoder", num_rows, convolved.device)

    def _on_encoded(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        assert self._num_real is not None
        self._heard, self._num_real = _Heard(output[0][:, 0].detach(), self._num_real), None
        self._is_decided = False

    def _on_decoder(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tokens = kwargs.get("input_ids", args[0] if args else None)
        cache, encoded = kwargs.get("past_key_values"), kwargs.get("encoder_hidden_states")
        if tokens is None or encoded is None:
            raise SkipwiseError(
                "gates decide from the prompt and the encoder's states: call a gated Whisper with decoder_input_ids "
                "and speech, not with decoder_inputs_embeds."
            )
        self._deciding = prompt_positions(tokens, int(self._model.config.decoder_start_token_id or 0))
        if self._heard is None:
            raise SkipwiseError("the gated encoder has not run yet: pass input_features instead of encoder_outputs.")
        repeats = self._heard.repeats_in(encoded)
        if cache is None or cache.get_seq_length() == 0:
            self._decoder, self._is_decided = self._decide(tokens, encoded, repeats), True
        elif cache in self._by_cache:
            self._decoder = self._by_cache[cache]
        elif not self._is_decided:  # else transformers has put a cache of this speech together anew, as assistants do
            raise SkipwiseError(
                "past_key_values were filled before these gates were put on, or by other gates. Start without them."
            )

    def _on_decoded(self, _: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if isinstance(self._decoder, LayerPlanner):
            plan, num_layers = self._decoder.plan(), self._model.config.decoder_layers
            self._asked.check_words(plan)
            self._decoder = plan.layer_gates("decoder", num_layers, self._model.device)
        returned = output.values() if isinstance(output, dict) else output
        for cache in (kwargs.get("past_key_values"), *returned):
            if isinstance(cache, Cache):
                self._by_cache[cache] = self._decoder

    # --- deciding

    def _decide(
        self, tokens: Int[Tensor, "rows length"], encoded: Float[Tensor, "rows time dim"], repeats: int
    ) -> StackGates:
        """What the decoder follows: the beams of an utterance have one plan."""
        assert self._heard is not None
        own, num_real = encoded[::repeats], self._heard.num_real_frames
        pooled = SpeechStates(own, torch.full_like(num_real, own.shape[1]), num_real).pooled().float()
        decided = self._planner().decoder(self._read(tokens[::repeats]), pooled)
        if isinstance(decided, LayerPlanner) and repeats > 1:  # its layers see all beams
            decided = self._planner().decoder(self._read(tokens), pooled.repeat_interleave(repeats, dim=0))
        if isinstance(decided, StepPlanner):
            raise SkipwiseError(
                "gates of every step (granularity step) are followed by our own engine, Transcriber or skipwise "
                "transcribe, not by transformers' forward and generate(). Use that, or gates of an utterance."
            )
        if isinstance(decided, GatePlan):
            self._asked.check_words(decided)
            decided = GatePlan(decided.sites, decided.gates.repeat_interleave(repeats, dim=0))
        return self._followed(decided, "decoder", encoded.shape[0], encoded.device)

    def _read(self, tokens: Int[Tensor, "batch length"]) -> list[Context]:
        """What prompts or labels say; of what they do not, what the call does."""
        words = WhisperWords.of(self._model.generation_config)
        read = [words.context(row) for row in tokens.tolist()]
        return self._asked.complete(read)

    def _planner(self) -> Planner:
        if self.forced_planner is not None:
            return self.forced_planner
        if self.gate_adapter is None:
            return OPEN_PLANNER
        return AdapterPlanner(self.gate_adapter.to(self._model.device))  # the model may have moved since it came

    def _followed(
        self, decided: GatePlan | LayerPlanner, stack: Stack, num_rows: int, device: torch.device
    ) -> StackGates:
        if isinstance(decided, LayerPlanner):
            return decided
        if decided.is_stepwise:
            raise SkipwiseError("plans that differ from position to position are for skipwise's own decoding.")
        config = self._model.config
        num_layers = config.encoder_layers if stack == "encoder" else config.decoder_layers
        return decided.expand(num_rows).layer_gates(stack, num_layers, device)

    def _states(self, states: Float[Tensor, "batch time dim"]) -> SpeechStates:
        assert self._num_real is not None
        everywhere = torch.full_like(self._num_real, states.shape[1])
        return SpeechStates(states, everywhere, self._num_real)
