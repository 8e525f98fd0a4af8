"""Sizes of the parts of a generated text."""

from collections.abc import Mapping


def check_sizes(sizes: Mapping[str, int], *, most: int | None = None) -> None:
    """Raise ValueError for a negative number of pairs, or more than `most` in total."""
    if min(sizes.values()) < 0 or (most is not None and sum(sizes.values()) > most):
        limit = "" if most is None else f", and at most {most} in total"
        raise ValueError(f"sizes must be 0 or more{limit}")
