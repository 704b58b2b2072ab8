"""Which language is spoken, as an OWSM says it: the token after `<sos>`.

Source: ESPnet 202511, `espnet2.bin.s2t_inference_language.Speech2Language`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.owsm.network import OwsmNetwork


@torch.inference_mode()
def predict_language(
    network: OwsmNetwork, encoded: SpeechStates, gates: GatePlan | None = None
) -> Float[Tensor, "batch languages"]:
    """Return the probability of each of the model's languages (`network.config.languages`) for each row."""
    num_rows = encoded.states.shape[0]
    start = torch.full((num_rows, 1), network.config.bos_token_id, device=encoded.states.device)
    logits = network.decode(start, encoded, gates)[:, -1].float()
    tokens = torch.tensor(list(network.config.language_token_ids.values()), device=logits.device)
    return logits[:, tokens].softmax(dim=-1)
