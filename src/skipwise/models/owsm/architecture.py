"""The sizes of an OWSM, in transformers' words; the ESPnet name stands beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from skipwise.errors import SkipwiseError
from skipwise.gating import GateSite

ENCODER_KINDS = ("ffn1", "self_attn", "cgmlp", "ffn2")
DECODER_KINDS = ("self_attn", "src_attn", "ffn")


# Not frozen: transformers' configuration class inherits its fields, and Python forbids mixing frozen and not frozen.
@dataclass(kw_only=True)
class OwsmArchitecture:
    """An OWSM: E-Branchformer encoder, Transformer decoder, CTC head. The defaults are v3.1 base."""

    vocab_size: int = 50_002
    """Entries of ESPnet's `token_list`."""
    hidden_size: int = 384
    """`output_size`."""
    num_mel_bins: int = 80
    """`n_mels`: 80 for v3.1, 128 for v4."""
    subsampling_factor: int = 4
    """`input_layer`: 4 is `conv2d`, 8 is `conv2d8`."""
    encoder_layers: int = 6
    """`num_blocks` of the encoder."""
    encoder_attention_heads: int = 6
    """`attention_heads` of the encoder."""
    encoder_ffn_dim: int = 1536
    """`linear_units` of the encoder."""
    cgmlp_dim: int = 1536
    """`cgmlp_linear_units`."""
    cgmlp_kernel_size: int = 31
    """`cgmlp_conv_kernel`."""
    merge_kernel_size: int = 31
    """`merge_conv_kernel`."""
    decoder_layers: int = 6
    """`num_blocks` of the decoder."""
    decoder_attention_heads: int = 6
    """`attention_heads` of the decoder."""
    decoder_ffn_dim: int = 1536
    """`linear_units` of the decoder."""
    dropout: float = 0.1
    """`dropout_rate` and `positional_dropout_rate`."""
    attention_dropout: float = 0.1
    """`attention_dropout_rate`, `self_attention_dropout_rate` and `src_attention_dropout_rate`."""
    ctc_loss_weight: float = 0.3
    """`ctc_weight`."""
    label_smoothing: float = 0.1
    """`lsm_weight`."""
    length_normalized_loss: bool = False
    """`length_normalized_loss`: per token instead of per utterance."""
    window_s: float | None = 30.0
    """`speech_length`: every input is padded or cut to it; None for a model that takes audio as long as it is."""
    max_window_s: float = 30.0
    """Longest input that the model was trained on, in seconds; longer audio is cut into windows."""

    timestamps_share: float = 0.5
    """`time_apply_prob`: how often it was trained to say timestamps; 0: never, so that it only makes them up."""
    previous_text_share: float = 0.5
    """`text_prev_apply_prob`: how often it was trained with a previous text; 0: never."""

    pad_token_id: int = 0
    """`<blank>`: CTC's blank, and the padding of token rows."""
    bos_token_id: int = 49_999
    """`<sos>`."""
    eos_token_id: int = 50_000
    """`<eos>`."""
    sop_token_id: int = 50_001
    """`<sop>`: start of the previous text."""
    no_timestamps_token_id: int = 178
    """`<notimestamps>`."""
    first_timestamp_token_id: int = 179
    """`<0.00>`."""
    last_timestamp_token_id: int = 1679
    """`<30.00>`."""
    language_token_ids: dict[str, int] = field(default_factory=dict)
    """Token of each language, by its ISO 639-3 code."""
    task_token_ids: dict[str, int] = field(default_factory=dict)
    """Token of each task: `asr`, `st_eng`."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the model has a token for, ISO 639-3."""
        return tuple(self.language_token_ids)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the model has a token for."""
        return tuple(self.task_token_ids)

    def prompt(
        self, language: str, task: str, *, timestamps: bool = False, previous: Sequence[int] | None = None
    ) -> list[int]:
        """Return the tokens that decoding starts from: `<sos> <language> <task> <notimestamps>`.

        The last one is left out where timestamps are to be predicted; the tokens of a `previous` text, which may be
        none, go before the rest, after `<sop>`.

        Raises:
            SkipwiseError: for a language or task that the model has no token for.
        """
        for name, value, known in (("language", language, self.languages), ("task", task, self.tasks)):
            if value not in known:
                raise SkipwiseError(f"this model does not know the {name} {value!r}. It knows: {', '.join(known)}.")
        before = [] if previous is None else [self.sop_token_id, *previous]
        start = [self.bos_token_id, self.language_token_ids[language], self.task_token_ids[task]]
        return [*before, *start, *([] if timestamps else [self.no_timestamps_token_id])]

    def check(self) -> None:
        """Raise a SkipwiseError for the first size that cannot be."""
        if self.subsampling_factor not in (4, 8):
            raise SkipwiseError(f"subsampling_factor must be 4 or 8, got {self.subsampling_factor}.")
        for stack, heads in (("encoder", self.encoder_attention_heads), ("decoder", self.decoder_attention_heads)):
            if self.hidden_size % heads:
                raise SkipwiseError(
                    f"hidden_size must be a multiple of the {stack}'s heads, got {self.hidden_size} and {heads}."
                )
        for name in ("cgmlp_kernel_size", "merge_kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise SkipwiseError(f"{name} must be odd, got {getattr(self, name)}.")
        if self.cgmlp_dim % 2:
            raise SkipwiseError(f"cgmlp_dim must be even, got {self.cgmlp_dim}.")

    def gate_sites(self) -> tuple[GateSite, ...]:
        """Return all sites, encoder first, from the input up."""
        encoder = [GateSite("encoder", i, kind) for i in range(self.encoder_layers) for kind in ENCODER_KINDS]
        decoder = [GateSite("decoder", i, kind) for i in range(self.decoder_layers) for kind in DECODER_KINDS]
        return (*encoder, *decoder)
