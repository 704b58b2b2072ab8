"""What gates are on a model, in words: what they are, how many, and what they add."""

from __future__ import annotations

from skipwise.gating import GateAdapter
from skipwise.gating.sites import STACKS
from skipwise.models.registry import gate_family_of, held_gates


def gate_summary(model: object) -> str:
    """Return a few lines about the gates that `attach` put on a model, or about an adapter alone.

    Raises:
        SkipwiseError: if the model is of no known family.
    """
    if isinstance(model, GateAdapter):
        return "\n".join(_lines(model))
    family = gate_family_of(model)
    network = family.network(model)
    described = family.describe(network)
    num_base = sum(tensor.numel() for tensor in family.base_state(network).values())
    head = f"{family.name}: {len(described.sites)} sites, {num_base / 1e6:.1f} M weights"
    adapter = held_gates(network).gate_adapter
    if adapter is None:
        return f"{head}; no gates. Put some on with attach(model, GateConfig() or a folder)."
    share = 100 * adapter.num_weights / num_base
    return "\n".join([head, *_lines(adapter), f"weights added: {adapter.num_weights:,} ({share:.2f} % of the base)"])


def print_gate_summary(model: object) -> None:
    """Print `gate_summary`."""
    print(gate_summary(model))  # noqa: T201 - that is what it is for


def _lines(adapter: GateAdapter) -> list[str]:
    config = adapter.config
    kind = type(config.predictor).__name__.removesuffix("PredictorConfig").lower()
    budget = f"any sparsity, {config.sparsity} by default" if adapter.is_elastic else f"a sparsity of {config.sparsity}"
    lines = [
        f"gates: {kind} predictor, {budget}, counted in {config.unit}",
        f"decided from: {', '.join(part for part in config.context if part != 'budget') or 'nothing'}",
    ]
    for stack in STACKS:
        if sites := adapter.sites(stack):
            often = "at every step" if stack == "decoder" and config.granularity == "step" else "once an utterance"
            kinds = ", ".join(dict.fromkeys(site.kind for site in sites))
            lines.append(f"{stack}: {len(sites)} gated sites ({kinds}), decided {often}")
    if adapter.lora is not None:
        lines.append(f"changes of the base (LoRA) in {len(adapter.lora.layers)} layers")
    return lines
