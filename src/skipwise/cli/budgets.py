"""From `--sparsity`, `--exact` and `--unit` to a transcriber that meets them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from skipwise.decoding.options import DecodeOptions
    from skipwise.gating import Budget
    from skipwise.models.precision import Dtype
    from skipwise.pipeline import Transcriber

MACS_AUDIO_S, MACS_TOKENS = 10.0, 30
"""The utterance that MACs are counted for, where the gates were trained to count something else."""


def make_transcriber(
    model: str | None,
    gates: str,
    budget: Budget,
    *,
    device: str,
    dtype: Dtype | Literal["auto"],
    options: DecodeOptions,
) -> Transcriber:
    """Return a transcriber that follows gates at a budget; MACs are counted for its model if the gates do not say."""
    from skipwise.gating.shuffle import followed_adapter
    from skipwise.pipeline import Transcriber

    if budget.unit != "macs":
        return Transcriber(model, gates=gates, sparsity=budget, device=device, dtype=dtype, options=options)
    from skipwise.evaluation.cost import mac_weights

    plain = Transcriber(model, gates=gates, device=device, dtype=dtype, options=options)
    adapter = followed_adapter(plain.planner)
    if adapter is not None and adapter.config.unit != "macs":
        architecture = plain.model.network.config
        weights = mac_weights(architecture, audio_s=MACS_AUDIO_S, num_tokens=MACS_TOKENS)
        budget = replace(budget, site_weights=weights)
    return Transcriber(plain.model, gates=adapter, sparsity=budget, dtype=dtype, options=options)
