"""OWSM's sizes as a transformers configuration."""

from __future__ import annotations

from typing import final, no_type_check

from transformers import PreTrainedConfig

from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.loading import MODEL_TYPE


@final
@no_type_check  # transformers gives the class another __init__, which jaxtyping's hook takes for a dataclass's
class OwsmConfig(OwsmArchitecture, PreTrainedConfig):
    """`OwsmArchitecture` with what transformers expects of every configuration; both read the same `config.json`."""

    model_type = MODEL_TYPE
    attribute_map = {"num_hidden_layers": "encoder_layers", "num_attention_heads": "encoder_attention_heads"}  # noqa: RUF012

    is_encoder_decoder: bool = True
    """Always true."""
    decoder_start_token_id: int | None = None
    """`bos_token_id` where none is given."""
    tie_word_embeddings: bool = False
    """Always false: the output layer has weights of its own."""

    def __post_init__(self, **kwargs: object) -> None:
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.bos_token_id
        super().__post_init__(**kwargs)
