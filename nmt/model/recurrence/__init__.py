"""Recurrences with attention over known targets, as one differentiable operation."""
