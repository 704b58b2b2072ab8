"""What counts as a symbol, and what a token list must have."""

from __future__ import annotations

import pytest

from skipwise.errors import SkipwiseError
from skipwise.models.owsm.vocabulary import is_special, token_fields


@pytest.mark.parametrize("token", ["<deu>", "<0.00>", "<>", "<unk>"])
def test_what_stands_in_angle_brackets_is_a_symbol_as_in_espnet(token: str) -> None:
    assert is_special(token)


@pytest.mark.parametrize("token", ["<", ">", "a<b>", "<b>a", "▁<b>", ""])
def test_other_tokens_are_text(token: str) -> None:
    assert not is_special(token)


def test_a_token_list_of_another_model_is_refused() -> None:
    with pytest.raises(SkipwiseError, match=r"no OWSM's: it lacks <sos>, <eos>, <sop>, <notimestamps>, <0\.00>"):
        token_fields(["<blank>", "<unk>", "a", "<sos/eos>"])
