"""Experiments that train within a second."""

from typing import Any


def quick(experiment: dict[str, Any], **training: Any) -> dict[str, Any]:
    """Return the experiment with four updates, minimal search and the given training options."""
    experiment["training"] |= {"epochs": None, "steps": 4, "batch_sentences": 20, **training}
    experiment["evaluation"] = {"samples": 0, "pictures": 0}
    experiment["search"] = {"beam_size": 1, "max_length": 5}
    return experiment
