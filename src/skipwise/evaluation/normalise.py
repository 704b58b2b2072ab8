"""The forms in which texts are compared: WER on normalised words, BLEU as written and normalised."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache


def normalise(text: str) -> str:
    """Return `text` lower-cased and without punctuation, symbols and bracketed parts; diacritics stay.

    Source: `BasicTextNormalizer` of transformers, the multilingual normalisation of Whisper (Radford et al. 2022).
    """
    return _normaliser()(text).strip()


@lru_cache(maxsize=1)
def _normaliser() -> Callable[[str], str]:
    # This module of transformers needs no model code and no torch, but importing it still takes about a second.
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer(remove_diacritics=False)
