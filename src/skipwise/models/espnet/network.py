"""A live ESPnet model in the words of our own networks, which is how `attach` and its kin see it.

ESPnet is not imported before gates are put on, and then it is there: somebody built the model with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.models.foreign import ForeignNetwork
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.espnet_gates import TRAINING, without_gates
from skipwise.models.owsm.espnet_keys import (
    MEL_FILTERS_KEY,
    READABLE,
    SUBSAMPLING,
    espnet_names,
    from_espnet_state,
)
from skipwise.models.owsm.vocabulary import token_fields
from skipwise.models.owsm.weights import check_weights, network_shapes

_MODEL = "espnet2.s2t.espnet_model.ESPnetS2TModel"
_SPEECH2TEXT = "espnet2.bin.s2t_inference.Speech2Text"

_KNOWN: WeakKeyDictionary[nn.Module, OwsmArchitecture] = WeakKeyDictionary()
"""The sizes of models that were looked at: each call on one asks."""


@runtime_checkable
class HoldsS2tModel(Protocol):
    """ESPnet's `Speech2Text`, as far as gates are concerned."""

    s2t_model: nn.Module


@final
class EspnetNetwork(ForeignNetwork):
    """The part of a live `ESPnetS2TModel`, and of the `Speech2Text` around it, that gates go on."""

    family = "owsm"

    def __init__(self, model: nn.Module, speech2text: HoldsS2tModel | None = None) -> None:
        """See `model` as a network.

        Raises:
            SkipwiseError: if it is none that the port can compute, so that an adapter could not serve both.
        """
        super().__init__(model)
        self._speech2text: Any = speech2text
        if model not in _KNOWN:
            _KNOWN[model] = architecture_of(model)

    @property
    def config(self) -> OwsmArchitecture:
        return _KNOWN[self.model]

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        state = own_state(self.model)
        for ours, theirs in espnet_names(self.config).items():
            if ours.endswith(".weight") and theirs in state:
                yield ours.removesuffix(".weight"), self.model.get_submodule(theirs.removesuffix(".weight"))

    def base_state(self) -> dict[str, Tensor]:
        """Return the weights of the base alone under our names: those of a conversion, without converting."""
        own = {f"{name}.weight": weight.detach() for name, weight in self.base_weights.items()}
        return from_espnet_state(own_state(self.model)) | own

    def swap_classes(self, *, gated: bool) -> None:
        """Give encoder, decoder and their layers the classes that follow gates, or ESPnet's own, and end a training."""
        from skipwise.models.espnet.classes import swap_classes

        if self.gate_adapter is None:
            self._stop_training()
        swap_classes(self.model, self._speech2text, gated=gated)

    def train_as(self, model_class: type[nn.Module], training: nn.Module) -> None:
        """Give the model the class whose `forward` trains gates, and what that needs."""
        self.keep("own_class", type(self.model))
        self.model.__class__ = model_class
        self.model.add_module(TRAINING, training)

    def _stop_training(self) -> None:
        self.model.__class__ = self.kept("own_class") or type(self.model)
        self.model._modules.pop(TRAINING, None)
        self.keep("own_class", None)


def espnet_network(model: object) -> EspnetNetwork | None:
    """Return a live ESPnet S2T model, or the one in a `Speech2Text`, as a network; None for anything else.

    Raises:
        SkipwiseError: for an S2T model that is no OWSM.
    """
    if _is_a(model, _MODEL) and isinstance(model, nn.Module):
        return EspnetNetwork(model)
    if _is_a(model, _SPEECH2TEXT) and isinstance(model, HoldsS2tModel):
        return EspnetNetwork(model.s2t_model, model)
    return None


def own_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of an ESPnet model without what gates add to it."""
    return without_gates(model.state_dict())


def architecture_of(model: Any) -> OwsmArchitecture:
    """Return the sizes and tokens of a live ESPnet S2T model.

    Raises:
        SkipwiseError: if it has parts that no OWSM has.
    """
    problem = _unlike_owsm(model)
    if problem:
        raise SkipwiseError(f"gates go on an OWSM (v3.1, v4) in ESPnet; this model {problem}. {READABLE}")
    encoder, decoder = model.encoder, model.decoder
    first, last = encoder.encoders[0], decoder.decoders[0]
    architecture = OwsmArchitecture(
        hidden_size=encoder.output_size(),
        num_mel_bins=model.normalize.mean.numel(),
        subsampling_factor=2 ** sum(isinstance(module, nn.Conv2d) for module in encoder.embed.conv),
        encoder_layers=len(encoder.encoders),
        encoder_attention_heads=first.attn.h,
        encoder_ffn_dim=first.feed_forward.w_1.out_features,
        cgmlp_dim=first.cgmlp.channel_proj1[0].out_features,
        cgmlp_kernel_size=first.cgmlp.csgu.conv.kernel_size[0],
        merge_kernel_size=first.depthwise_conv_fusion.kernel_size[0],
        decoder_layers=len(decoder.decoders),
        decoder_attention_heads=last.self_attn.h,
        decoder_ffn_dim=last.feed_forward.w_1.out_features,
        ctc_loss_weight=model.ctc_weight,
        label_smoothing=model.criterion_att.smoothing,
        length_normalized_loss=model.criterion_att.normalize_length,
        **token_fields(model.token_list),
    )
    names = espnet_names(architecture)
    expected = {names[name]: shape for name, shape in network_shapes(architecture).items()}
    found = {key: tensor.shape for key, tensor in own_state(model).items() if key != MEL_FILTERS_KEY}
    check_weights(Path("the ESPnet model"), found, expected)
    return architecture


def _unlike_owsm(model: Any) -> str | None:
    """What a model has that OWSM does not have, or the other way around."""
    for part, needed in (("encoder", "EBranchformerEncoder"), ("decoder", "TransformerDecoder")):
        found = type(getattr(model, part, None))
        if needed not in (base.__name__ for base in found.__mro__):
            return f"has {found.__name__} as {part}, not {needed}"
    if model.preencoder is not None or model.postencoder is not None:
        return "has a pre- or postencoder"
    if model.ctc is None or model.normalize is None:
        return "has no CTC head, or no global mean and variance"
    embedding = type(model.encoder.embed).__name__
    if embedding not in ("Conv2dSubsampling", "Conv2dSubsampling8"):
        return f"has {embedding} as input layer, not {' or '.join(SUBSAMPLING)}"
    first, last = model.encoder.encoders[0], model.decoder.decoders[0]
    if type(first.attn).__name__ != "MultiHeadedAttention" or first.feed_forward_macaron is None:
        return "has relative positions, or no macaron feed-forward"
    if model.encoder.interctc_layer_idx or last.concat_after or not last.normalize_before:
        return "has intermediate CTC, or decoder layers of another kind"
    return None


def _is_a(thing: object, name: str) -> bool:
    """Whether a class of that name is among those of a thing, found without importing it."""
    return any(f"{base.__module__}.{base.__qualname__}" == name for base in type(thing).__mro__)
