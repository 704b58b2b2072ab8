"""OWSM's tokens: ESPnet's token list and its SentencePiece model, without transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import sentencepiece

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.models.speech_engine import TIMESTAMP_STEP_S

TOKENS_FILE = "tokens.txt"
SENTENCEPIECE_FILE = "bpe.model"

BLANK, UNKNOWN, NOT_AVAILABLE, NO_SPEECH = "<blank>", "<unk>", "<na>", "<nospeech>"
NO_TIMESTAMPS, START, END, START_PREVIOUS = "<notimestamps>", "<sos>", "<eos>", "<sop>"

_FIRST_TIME = "<0.00>"
_LANGUAGE = re.compile(r"<([a-z]{3})>")
_TASK = re.compile(r"<(asr|st_[a-z]{3})>")
_TIMESTAMP = re.compile(r"<\d+\.\d\d>")
_NOT_A_LANGUAGE = {"asr", "sos", "eos", "sop", "unk"}


@final
class OwsmVocabulary:
    """Text to token ids and back."""

    def __init__(self, tokens: Sequence[str], sentencepiece_model: bytes) -> None:
        self.tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise SkipwiseError("the token list has duplicates; it must name each token once.")
        self.sentencepiece_model = sentencepiece_model
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model)
        self._special = {token for token in self.tokens if is_special(token)}

    @classmethod
    def train(
        cls, texts: Iterable[str], *, languages: Sequence[str], tasks: Sequence[str], size: int
    ) -> OwsmVocabulary:
        """Return a vocabulary in OWSM's layout: a unigram model of `size` pieces learned from `texts`, and all symbols.

        Raises:
            SkipwiseError: if the texts do not hold enough different pieces.
        """
        import io

        symbols = [NOT_AVAILABLE, NO_SPEECH, *(f"<{code}>" for code in languages), *(f"<{task}>" for task in tasks)]
        symbols += [NO_TIMESTAMPS, *(f"<{step * TIMESTAMP_STEP_S:.2f}>" for step in range(1501))]
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type="unigram",
                vocab_size=size + len(symbols) + 3,
                character_coverage=1.0,
                user_defined_symbols=symbols,
                minloglevel=2,
                num_threads=1,
            )
        except (RuntimeError, OSError) as error:
            raise SkipwiseError(
                f"cannot learn {size} pieces from the training text: {error}. Ask for more, or fewer, as that says."
            ) from error
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        learned = [pieces.id_to_piece(index) for index in range(3, pieces.get_piece_size())]
        return cls([BLANK, UNKNOWN, *learned, START, END, START_PREVIOUS], model.getvalue())

    @classmethod
    def load(cls, folder: Path) -> OwsmVocabulary:
        """Return the vocabulary stored in a model's folder."""
        try:
            # not splitlines(): a token may hold one of Unicode's other line separators
            tokens = (folder / TOKENS_FILE).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
            return cls(tokens, (folder / SENTENCEPIECE_FILE).read_bytes())
        except FileNotFoundError as error:
            raise SkipwiseError(
                f"{folder} is not a whole OWSM model: {Path(error.filename).name} is missing."
            ) from error

    def save(self, folder: Path) -> None:
        """Write `tokens.txt` and `bpe.model` into a folder that exists."""
        with atomic_write(folder / TOKENS_FILE) as file:
            file.write("".join(f"{token}\n" for token in self.tokens))
        with atomic_write(folder / SENTENCEPIECE_FILE, "wb") as file:
            file.write(self.sentencepiece_model)

    def token_ids(self) -> dict[str, Any]:
        """Return the fields of `OwsmArchitecture` that name tokens."""
        return token_fields(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text."""
        unknown = self._ids[UNKNOWN]
        return [self._ids.get(piece, unknown) for piece in self._pieces.encode(text, out_type=str)]

    def encode_previous(self, text: str) -> list[int] | None:
        """Return the ids of a previous text; None for one that holds `<na>`, which says that there is none."""
        ids = self.encode(text)
        return None if self._ids.get(NOT_AVAILABLE) in ids else ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` without special tokens."""
        return self._pieces.decode_pieces([t for t in (self.tokens[i] for i in ids) if t not in self._special])


def token_fields(tokens: Sequence[str]) -> dict[str, Any]:
    """Return the fields of `OwsmArchitecture` that name tokens, for a token list in OWSM's layout.

    Raises:
        SkipwiseError: if it lacks a token that every OWSM has.
    """
    ids = {token: index for index, token in enumerate(tokens)}
    missing = [token for token in (BLANK, START, END, START_PREVIOUS, NO_TIMESTAMPS, _FIRST_TIME) if token not in ids]
    if missing:
        raise SkipwiseError(f"the token list is no OWSM's: it lacks {', '.join(missing)}. Give an OWSM's (v3.1, v4).")
    timestamps = [index for index, token in enumerate(tokens) if _TIMESTAMP.fullmatch(token)]
    return {
        "vocab_size": len(tokens),
        "pad_token_id": ids[BLANK],
        "bos_token_id": ids[START],
        "eos_token_id": ids[END],
        "sop_token_id": ids[START_PREVIOUS],
        "no_timestamps_token_id": ids[NO_TIMESTAMPS],
        "first_timestamp_token_id": timestamps[0],
        "last_timestamp_token_id": timestamps[-1],
        "language_token_ids": _named(tokens, _LANGUAGE),
        "task_token_ids": _named(tokens, _TASK),
    }


def _named(tokens: Sequence[str], pattern: re.Pattern[str]) -> dict[str, int]:
    matches = ((pattern.fullmatch(token), index) for index, token in enumerate(tokens))
    named = {match[1]: index for match, index in matches if match}
    return {name: index for name, index in named.items() if pattern is _TASK or name not in _NOT_A_LANGUAGE}


def is_special(token: str) -> bool:
    """Return whether a token is a symbol such as `<deu>` or `<0.00>`, not text, by ESPnet's rule."""
    return token.startswith("<") and token.endswith(">")
