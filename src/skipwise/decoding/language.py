"""Which language is spoken, as an OWSM says it: the token after `<sos>`.

Source: ESPnet 202511, `espnet2.bin.s2t_inference_language.Speech2Language`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.models.engine.decoder import DecoderGates
from skipwise.models.speech_engine import SpeechEngine


@torch.inference_mode()
def predict_language(
    engine: SpeechEngine, encoded: SpeechStates, gates: DecoderGates = None
) -> Float[Tensor, "batch languages"]:
    """Return the probability of each of the model's languages (`engine.config.languages`) for each row."""
    config, device = engine.config, encoded.states.device
    start = torch.full((encoded.states.shape[0], 1, 1), config.bos_token_id, device=device)
    logits = engine.decoder.step(start, engine.decoder.start(encoded, gates))[:, 0].float()
    tokens = torch.tensor(list(config.language_token_ids.values()), device=device)
    return logits[:, tokens].softmax(dim=-1)
