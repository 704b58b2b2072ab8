"""Which class of ESPnet's becomes which of ours, and back. Needs ESPnet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espnet.nets.pytorch_backend.transformer.decoder_layer import DecoderLayer
from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder, EBranchformerEncoderLayer
from espnet2.bin.s2t_inference import Speech2Text

from skipwise.models.espnet.decoder import GatedDecoder, GatedDecoderLayer
from skipwise.models.espnet.encoder import GatedEncoder, GatedEncoderLayer
from skipwise.models.espnet.speech2text import GatedSpeech2Text

_GATED: dict[type, type] = {
    EBranchformerEncoder: GatedEncoder,
    EBranchformerEncoderLayer: GatedEncoderLayer,
    TransformerDecoder: GatedDecoder,
    DecoderLayer: GatedDecoderLayer,
    Speech2Text: GatedSpeech2Text,
}
_BASE = {ours: theirs for theirs, ours in _GATED.items()}


def swap_classes(model: Any, speech2text: Any, *, gated: bool) -> None:
    """Make encoder, decoder and their layers, and the `Speech2Text` if there is one, follow gates, or ESPnet's again.

    Only classes change: no module, parameter or attribute does.
    """
    classes = _GATED if gated else _BASE
    for thing in (*_gateable(model), *(() if speech2text is None else (speech2text,))):
        thing.__class__ = classes.get(type(thing), type(thing))


def _gateable(model: Any) -> Iterator[Any]:
    yield model.encoder
    yield from model.encoder.encoders
    yield model.decoder
    yield from model.decoder.decoders
