"""A live `ForCTC` model of transformers in the words of our own networks.

transformers' model code is imported when gates are put on, and then it is there: somebody built the model with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from torch import Tensor, nn

from skipwise.errors import SkipwiseError
from skipwise.gating import GateSite
from skipwise.models.foreign import ADAPTER, ForeignNetwork

_TRANSFORMER: Final = ("self_attn", "ffn")
_CONFORMER: Final = ("ffn1", "self_attn", "conv", "ffn2")
_MODELS: Final = {
    "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2ForCTC": ("wav2vec2.encoder", _TRANSFORMER),
    "transformers.models.hubert.modeling_hubert.HubertForCTC": ("hubert.encoder", _TRANSFORMER),
    "transformers.models.wavlm.modeling_wavlm.WavLMForCTC": ("wavlm.encoder", _TRANSFORMER),
    "transformers.models.parakeet.modeling_parakeet.ParakeetForCTC": ("encoder", _CONFORMER),
}
"""Each model class, where it holds its encoder, and the branches of a layer in their order."""


@final
@dataclass(frozen=True, kw_only=True)
class CtcSizes:
    """What gates must know of an encoder-only model."""

    hidden_size: int
    num_layers: int
    kinds: tuple[str, ...]
    """The branches of a layer in their order."""
    languages: tuple[str, ...] = ()
    """It has no token for any: a context's language counts as unknown."""
    tasks: tuple[str, ...] = ("asr",)

    def gate_sites(self) -> tuple[GateSite, ...]:
        """Return all sites, from the input up."""
        return tuple(GateSite("encoder", i, kind) for i in range(self.num_layers) for kind in self.kinds)


@final
class CtcNetwork(ForeignNetwork):
    """The encoder of a live wav2vec2, HuBERT, WavLM or Parakeet with a CTC head."""

    family = "ctc"

    def __init__(self, model: nn.Module, place: str, kinds: tuple[str, ...]) -> None:
        """See `model`, which holds its encoder under `place`, as a network whose layers have these branches.

        Raises:
            SkipwiseError: if its layers have parts that gates do not know.
        """
        super().__init__(model)
        self._place, self._kinds = place, kinds
        if getattr(self.model.config, "adapter_attn_dim", None) is not None:
            raise SkipwiseError(
                "this model has adapters of languages in its layers (MMS), which gates do not know. Gates go on those "
                "without (adapter_attn_dim: null)."
            )

    @property
    def config(self) -> CtcSizes:
        encoder = self.encoder
        return CtcSizes(hidden_size=encoder.config.hidden_size, num_layers=len(encoder.layers), kinds=self._kinds)

    @property
    def encoder(self) -> Any:
        """The layers and what is around them."""
        return self.model.get_submodule(self._place)

    def num_frames(self, lengths: Tensor) -> Tensor:
        """Return the encoder's frames, at least one, for numbers of samples, or of feature frames (Parakeet)."""
        subsampled = getattr(self.model, "_get_subsampling_output_length", None)
        counted = self.model._get_feat_extract_output_lengths if subsampled is None else subsampled
        return counted(lengths).long().clamp_min(1)

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        return ((name, module) for name, module in self.model.named_modules() if name.partition(".")[0] != ADAPTER)

    def base_state(self) -> dict[str, Tensor]:
        own = {f"{name}.weight": weight.detach() for name, weight in self.base_weights.items()}
        state = self.model.state_dict().items()
        return {key: own.get(key, tensor) for key, tensor in state if key.partition(".")[0] != ADAPTER}

    def swap_classes(self, *, gated: bool) -> None:
        from skipwise.models.ctc.layers import swap_class

        positions = [self.encoder.encode_positions] if hasattr(self.encoder, "encode_positions") else []
        for module in (self.encoder, *positions, *self.encoder.layers):
            swap_class(module, gated=gated)


def ctc_network(model: object) -> CtcNetwork | None:
    """Return a live `ForCTC` model as a network; None for anything else.

    Raises:
        SkipwiseError: for one whose layers have parts that gates do not know.
    """
    for base in type(model).__mro__:
        known = _MODELS.get(f"{base.__module__}.{base.__qualname__}")
        if known is not None and isinstance(model, nn.Module):
            return CtcNetwork(model, *known)
    return None
