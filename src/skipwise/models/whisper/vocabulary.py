"""A Whisper tokenizer of transformers, as decoding asks it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final


@final
class WhisperVocabulary:
    """Text to token ids and back."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        """A `WhisperTokenizer`."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text as a Whisper says it: every word begins with a space, the first one too."""
        return list(self.tokenizer(f" {text.strip()}", add_special_tokens=False).input_ids)

    def encode_previous(self, text: str) -> list[int]:
        """Return the ids of a previous text."""
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` without special tokens and timestamps."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
