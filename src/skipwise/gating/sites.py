"""Sites: the residual branches of a model that a gate can open or close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from skipwise.errors import SkipwiseError

Stack = Literal["encoder", "decoder"]
STACKS: tuple[Stack, ...] = get_args(Stack)

Scope = Literal["encoder", "decoder", "both"]


@dataclass(frozen=True, order=True)
class GateSite:
    """One branch that can be skipped, written `encoder.3.cgmlp`."""

    stack: Stack
    """The stack that the branch belongs to."""
    layer: int
    """Its layer, counted from 0 at the input."""
    kind: str
    """Its kind within the layer: `ffn1`, `self_attn`, `cgmlp`, `ffn2`, `src_attn`, `ffn`."""

    def __str__(self) -> str:
        return f"{self.stack}.{self.layer}.{self.kind}"

    @classmethod
    def parse(cls, text: str) -> GateSite:
        """Return the site that `text` names.

        Raises:
            SkipwiseError: if `text` is not `<stack>.<layer>.<kind>`.
        """
        stack, _, rest = text.partition(".")
        layer, _, kind = rest.partition(".")
        if stack not in STACKS or not layer.isdecimal() or not kind:
            raise SkipwiseError(f"a site is written <stack>.<layer>.<kind>, as in decoder.7.src_attn; got {text!r}.")
        return cls(stack, int(layer), kind)


def check_scope(scope: str) -> None:
    """Raise a SkipwiseError if there is no such scope."""
    if scope not in get_args(Scope):
        raise SkipwiseError(f"scope must be one of {', '.join(get_args(Scope))}; got {scope!r}.")


def sites_in(scope: Scope, sites: Sequence[GateSite]) -> tuple[GateSite, ...]:
    """Return those of `sites` that lie in the stacks of `scope`, in their order."""
    return tuple(site for site in sites if scope in ("both", site.stack))


@lru_cache(maxsize=256)
def columns_of(sites: tuple[GateSite, ...]) -> dict[GateSite, int]:
    """Return each site's column in a plan over `sites`. Do not change the dict: it is shared."""
    return {site: column for column, site in enumerate(sites)}
