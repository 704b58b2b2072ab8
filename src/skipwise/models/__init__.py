"""Base models: the only place that knows their inside."""

from skipwise.models.attach import attach, detach, disable_gates, gated
from skipwise.models.summary import gate_summary, print_gate_summary

__all__ = ["attach", "detach", "disable_gates", "gate_summary", "gated", "print_gate_summary"]
