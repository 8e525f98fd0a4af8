"""Weights of the corpora of a training text: which of its pairs an epoch reads.

A weight of w reads w times the n pairs of a corpus per epoch: the next round(w n) pairs of an
endless sequence of random permutations of all n. So w = 2 reads every pair twice, and w = 1/4 reads
in four epochs every pair once. The pairs of an epoch are a pure function of weights, seed and
epoch, so that training can continue at any of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nmt.data.token_corpus import Array


def temperature_weights(sizes: Sequence[int], temperature: float) -> list[float]:
    """Return weights by which the share of a corpus is proportional to its size^(1/temperature).

    The largest corpus has weight 1, so that an epoch reads every pair at least once. Arivazhagan et
    al. 2019, section 4.2, where a temperature of 5 suits 103 languages.

    Args:
        sizes: number of pairs of each corpus, at least 1
        temperature: 1 for shares by size, infinity for equal shares
    """
    largest = max(sizes)
    return [(largest / size) ** (1 - 1 / temperature) for size in sizes]


@dataclass(frozen=True, eq=False)
class WeightedPairs:
    """The pairs of consecutive corpora, each of which an epoch reads with its own weight.

    Attributes:
        bounds: index of the first pair of each corpus, and the number of all pairs
        weights: weight of each corpus
        seed: seed of the permutations
    """

    bounds: Array
    weights: Sequence[float]
    seed: int

    @property
    def counts(self) -> list[int]:
        """Return the number of pairs of each corpus in an epoch, at least 1."""
        sizes = np.diff(self.bounds).tolist()
        return [
            max(1, round(weight * size)) for weight, size in zip(self.weights, sizes, strict=True)
        ]

    def of_epoch(self, epoch: int) -> Array:
        """Return the indices of the pairs of an epoch, from 0; a pair may occur several times."""
        starts, ends = self.bounds[:-1].tolist(), self.bounds[1:].tolist()
        rows = [
            start + row
            for corpus, (start, end, count) in enumerate(
                zip(starts, ends, self.counts, strict=True)
            )
            for row in self._rows(corpus, end - start, epoch * count, (epoch + 1) * count)
        ]
        return np.concatenate(rows)

    def _rows(self, corpus: int, size: int, first: int, last: int) -> Iterator[Array]:
        """Yield the numbers from `first` to `last` of the endless permutations of a corpus."""
        while first < last:
            number, offset = divmod(first, size)
            end = min(size, offset + last - first)
            if end - offset == size:  # all pairs, in any order: that of batches is drawn later
                yield np.arange(size)
            else:
                generator = np.random.default_rng([self.seed, corpus, number])
                yield generator.permutation(size)[offset:end]
            first += end - offset
