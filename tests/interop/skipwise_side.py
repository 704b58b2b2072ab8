"""What skipwise says to the same questions: all rows of a group in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.search import search
from skipwise.features import SpeechStates
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.espnet_keys import architecture_from_espnet, from_espnet_state
from skipwise.models.owsm.loading import OwsmModel
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.pipeline import Request, Transcriber
from tests.interop.checkpoints import PIECES, Checkpoint, espnet_config, token_list
from tests.interop.clips import RATE
from tests.interop.matrix import Options, Row
from tests.interop.weights import Tokens, checksum, draw_state


def drawn_model(checkpoint: Checkpoint, shapes: Mapping[str, Sequence[int]], expected: str) -> OwsmModel:
    """Return a checkpoint without ESPnet: its weights are drawn again, and must be those of the checksum."""
    tokens = token_list(checkpoint.num_tokens)
    state = draw_state(shapes, seed=checkpoint.seed, speech=checkpoint.speech, tokens=Tokens.of(tokens))
    found = checksum(state)
    if found != expected:
        raise AssertionError(
            f"the weights of {checkpoint.name} came out as {found[:12]}, not {expected[:12]} as when the golden file "
            "was made: torch.randint draws other numbers here. This says nothing about the search."
        )
    network = OwsmNetwork(architecture_from_espnet(espnet_config(checkpoint, tokens, stats_file="", bpe_file="")))
    network.load_state_dict(from_espnet_state(state))
    return OwsmModel(network.eval(), OwsmVocabulary(tokens, PIECES.read_bytes()), checkpoint.name, PIECES.parent)


@torch.inference_mode()
def encode(network: OwsmNetwork, clips: Sequence[np.ndarray]) -> SpeechStates:
    """Return the states of all clips, encoded together."""
    return network.encode(network.embed(network.extract([torch.tensor(samples) for samples in clips])))


def prompt_of(model: OwsmModel, row: Row) -> list[int]:
    """Return what decoding a row starts from."""
    previous = None if row.previous is None else model.vocabulary.encode_previous(row.previous)
    return model.network.config.prompt(row.language, row.task, timestamps=row.timestamps, previous=previous)


def decode(model: OwsmModel, encoded: SpeechStates, options: Options, rows: Sequence[Row]) -> list[list[Hypothesis]]:
    """Return the n-best list of each row; `encoded` has a row for each clip."""
    return search(
        OwsmEngine(model.network),
        encoded.select(torch.tensor([row.clip for row in rows])),
        [prompt_of(model, row) for row in rows],
        options=decode_options(options),
    )


def decode_options(options: Options) -> DecodeOptions:
    """Return skipwise's words for ESPnet's."""
    return DecodeOptions(
        beam_size=options.beam_size,
        nbest=options.nbest,
        ctc_weight=options.ctc_weight,
        max_length_ratio=options.maxlenratio,
        min_length_ratio=options.minlenratio,
        length_bonus=options.penalty,
        normalize_length=options.normalize_length,
    )


@torch.inference_mode()
def hidden_states(network: OwsmNetwork, samples: np.ndarray, tokens_L: Tensor) -> dict[str, Tensor]:
    """Return encoder states, CTC and teacher-forced log-probabilities of one clip."""
    encoded = encode(network, [samples])
    return {
        "encoder": encoded.states[0],
        "ctc": network.ctc_logits(encoded)[0].log_softmax(dim=-1),
        "decoder": network.decode(tokens_L[None], encoded)[0].log_softmax(dim=-1),
    }


def decode_long(
    model: OwsmModel, samples: np.ndarray, *, options: Options, language: str, initial_text: str | None
) -> list[list[Any]]:
    """Return `[start_s, end_s, text]` of each sentence; windows know what was before if anything is given."""
    decoding = replace(
        decode_options(options),
        timestamps=True,
        long_form="timestamps",
        condition_on_previous=initial_text is not None,
    )
    request = Request((samples, RATE), language=language, previous_text=initial_text)
    (transcript,) = Transcriber(model, gates=None, options=decoding).transcribe_many([request])
    sentences = [sentence for segment in transcript.segments for sentence in segment.sentences]
    return [[round(sentence.start_s, 2), round(sentence.end_s, 2), sentence.text] for sentence in sentences]
