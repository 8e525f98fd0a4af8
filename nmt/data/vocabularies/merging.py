"""Merging of the symbols of a word by byte-pair encoding, with dropout. Provilkov et al. 2020."""

from collections.abc import Callable, Sequence
from itertools import pairwise

Rank = Callable[[tuple[str, str]], float | None]
"""Priority of the merge of two neighboring symbols, lowest first; None if they do not merge."""

Drop = Callable[[], bool]
"""Whether a possible merge is dropped in this step; called once for each in its order."""


def merge(symbols: Sequence[str], rank: Rank, drop: Drop | None = None) -> list[str]:
    """Merge the pair of neighbors with the lowest rank until none is left: algorithm 1.

    Args:
        symbols: symbols of a word, mostly its characters
        rank: priority of a merge
        drop: drops each possible merge of a step independently; None for no dropout
    """
    merged = list(symbols)
    while True:
        ranked = [(rank(pair), position) for position, pair in enumerate(pairwise(merged))]
        possible = [
            (priority, position)
            for priority, position in ranked
            if priority is not None and not (drop is not None and drop())
        ]
        if not possible:
            return merged
        # Of several occurrences, the first one.
        _, position = min(possible)
        merged[position : position + 2] = ["".join(merged[position : position + 2])]
