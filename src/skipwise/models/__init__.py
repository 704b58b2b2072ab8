"""Base models: the only place that knows their inside."""

from skipwise.models.attach import attach, detach, gated

__all__ = ["attach", "detach", "gated"]
