"""Division of pairs into training, validation and test, without sentences in two parts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN, VALID, TEST = 0, 1, 2
# Validation and test each get one pair of this many, and at most MAX_PART_PAIRS.
PART_DIVISOR, MAX_PART_PAIRS = 12, 2_000
MIN_PAIRS = 40
# Largest share of a part that one group of pairs may take.
MAX_GROUP_SHARE = 0.1


class Division(NamedTuple):
    """Parts of the pairs.

    Attributes:
        parts: TRAIN, VALID or TEST per pair
        groups: number of groups of pairs that share sentences
    """

    parts: NDArray[np.int8]
    groups: int


def part_size(pairs: int) -> int:
    """Return the number of validation or test pairs of a text."""
    return min(MAX_PART_PAIRS, pairs // PART_DIVISOR)


def divide(
    hashes: NDArray[np.uint64], usable: NDArray[np.bool_], sizes: tuple[int, int], seed: int = 1
) -> Division:
    """Divide pairs into parts such that pairs with a common side are in the same part.

    The division is a function of the sentences and the seed; the order of the pairs does not
    matter.

    Args:
        hashes: hashes of source and target, [pairs, 2]
        usable: pairs that may be in the validation or test part
        sizes: numbers of pairs for validation and test, which whole groups exceed slightly
        seed: selects another division
    """
    groups = _connect(hashes)
    # A group's rank is the smallest hash of its pairs, mixed with the seed.
    ranks = _mix(hashes[:, 0] ^ _mix(hashes[:, 1], seed), seed)
    num_groups = int(groups.max(initial=-1)) + 1
    rank_of = np.full(num_groups, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(rank_of, groups, ranks)
    counts = np.bincount(groups, minlength=num_groups)
    unusable = np.zeros(num_groups, np.bool_)
    unusable[groups[~usable]] = True
    part_of = np.zeros(num_groups, np.int8)
    order: Iterator[int] = iter(np.argsort(rank_of, kind="stable").tolist())
    for part, size in zip((VALID, TEST), sizes, strict=True):
        missing, largest = size, max(1, int(MAX_GROUP_SHARE * size))
        while missing > 0 and (group := next(order, None)) is not None:
            # Groups of frequent sentences, such as "Yes.", stay in the training part.
            if counts[group] <= largest and not unusable[group]:
                part_of[group] = part
                missing -= int(counts[group])
    return Division(part_of[groups], num_groups)


def _connect(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the number of the group of each pair; pairs with a common side have the same one."""
    pairs = len(hashes)
    sources = np.unique(hashes[:, 0], return_inverse=True)[1].reshape(-1)
    targets = np.unique(hashes[:, 1], return_inverse=True)[1].reshape(-1)
    parents = list(range(pairs))

    def root(pair: int) -> int:
        while parents[pair] != pair:
            parents[pair] = pair = parents[parents[pair]]
        return pair

    for side in (sources, targets):
        counts = np.bincount(side, minlength=0) if pairs else np.zeros(0, np.int64)
        first: dict[int, int] = {}
        # Only sentences that occur more than once connect pairs.
        for pair in np.flatnonzero(counts[side] > 1).tolist() if pairs else []:
            other = first.setdefault(int(side[pair]), pair)
            parents[root(pair)] = root(other)
    roots = np.array([root(pair) for pair in range(pairs)], np.int64)
    return np.unique(roots, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _mix(values: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Return well-distributed 64-bit values (the finalizer of SplitMix64)."""
    values = values + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
