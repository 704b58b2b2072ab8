"""Attention weights that transformers collects: a closed layer leaves none, and its place must not be another's.

transformers collects what attention modules return, in the order in which they run, and then counts layers by that
order (word timestamps do). Where a module does not run, or on some rows only, zeros stand for what was not computed.

Shapes: B rows, R open rows among them, H heads, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers.utils import output_capturing

from skipwise.gating.branch import RowGate, SiteGate, is_closed


def fill_collected(
    name: str, attention: nn.Module, gate: SiteGate, hidden: Tensor, num_keys: Callable[[], int]
) -> None:
    """Complete what was collected as `name` (`attentions`, `cross_attentions`) of an attention that has just run.

    `num_keys` says how many keys it would have read; it is asked only where somebody collects.
    """
    collector: Any = output_capturing._active_collector.get()
    if collector is None or name not in collector or not isinstance(gate, RowGate):
        return
    module: Any = attention
    if module.config._attn_implementation != "eager":  # others return no weights, of which nothing is collected
        return
    if is_closed(gate):
        collector[name].append(hidden.new_zeros(hidden.shape[0], module.num_heads, hidden.shape[1], num_keys()))
    else:
        ran = collector[name][-1]
        collector[name][-1] = ran.new_zeros(hidden.shape[0], *ran.shape[1:]).index_copy(0, gate.rows, ran)
