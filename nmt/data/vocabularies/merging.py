"""Merging of the symbols of a word by byte-pair encoding, with dropout. Provilkov et al. 2020."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf

Rank = Callable[[str, str], float]
"""Priority of the merge of two neighboring symbols, lowest first; infinity if they do not merge."""

Drop = Callable[[], bool]
"""Whether a possible merge is dropped; independent in each call."""


def merge(symbols: Sequence[str], rank: Rank, drop: Drop | None = None) -> list[str]:
    """Merge the pair of neighbors with the lowest rank until none is left: algorithm 1.

    Args:
        symbols: symbols of a word, mostly its characters
        rank: priority of a merge
        drop: drops each possible merge of a step; None for no dropout
    """
    merged = list(symbols)
    ranks = [rank(*pair) for pair in pairwise(merged)]
    while True:
        # Of several occurrences the first one. Whether worse merges are dropped does not matter.
        lowest, best = inf, -1
        for position, priority in enumerate(ranks):
            if priority < lowest and not (drop is not None and drop()):
                lowest, best = priority, position
        if best < 0:
            return merged
        merged[best : best + 2] = [merged[best] + merged[best + 1]]
        del ranks[best]
        if best > 0:
            ranks[best - 1] = rank(merged[best - 1], merged[best])
        if best < len(ranks):
            ranks[best] = rank(merged[best], merged[best + 1])
