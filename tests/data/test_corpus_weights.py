"""Weights of corpora: the pairs of an epoch, compared with counts over many epochs."""

from collections import Counter

import numpy as np
import pytest

from nmt.data.corpus_weights import WeightedPairs, temperature_weights
from nmt.data.loader import BatchLoader, Position
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import Array, FilterStats, TokenArrays, TokenCorpus

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2)


def _weighted(*corpora: tuple[int, float], seed: int = 1) -> WeightedPairs:
    sizes, weights = zip(*corpora, strict=True)
    return WeightedPairs(np.cumsum([0, *sizes]), weights, seed)


@pytest.mark.parametrize("weight", [0.25, 1 / 3, 0.9, 1.0, 1.5, 2.0, 3.7])
def test_epochs_read_all_pairs_equally_often(weight: float) -> None:
    size, epochs = 24, 30
    weighted = _weighted((5, 1.0), (size, weight))
    read = [row for epoch in range(epochs) for row in weighted.of_epoch(epoch).tolist()]
    counts = Counter(read)
    assert len(read) == epochs * (5 + round(weight * size))
    assert {counts[row] for row in range(5)} == {epochs}
    expected = epochs * round(weight * size) / size
    # The permutations end anywhere in an epoch, and every pair is in each of them once.
    assert all(abs(counts[row] - expected) < 1 for row in range(5, 5 + size))
    assert set(counts) == set(range(5 + size))


def test_pairs_of_a_small_weight_differ_between_epochs_seeds_and_corpora() -> None:
    weighted = _weighted((60, 0.5), (60, 0.5))
    first, again = weighted.of_epoch(0), weighted.of_epoch(0)
    assert np.array_equal(first, again)
    one, other = set(first[:30].tolist()), set((first[30:] - 60).tolist())
    assert len(one) == len(other) == 30
    assert one != other
    # Two halves of one permutation.
    assert one.isdisjoint(weighted.of_epoch(1)[:30].tolist())
    assert one != set(_weighted((60, 0.5), (60, 0.5), seed=2).of_epoch(0)[:30].tolist())


def test_a_corpus_of_tiny_weight_gives_at_least_one_pair() -> None:
    assert _weighted((3, 1e-9), (2, 1.0)).counts == [1, 2]


def test_temperature_gives_shares_of_powers_of_the_sizes() -> None:
    sizes = [1000, 100, 7]
    assert temperature_weights(sizes, 1.0) == [1, 1, 1]
    read = [s * w for s, w in zip(sizes, temperature_weights(sizes, 5.0), strict=True)]
    assert read[0] == 1000
    shares = np.array(sizes, np.float64) ** 0.2
    np.testing.assert_allclose(np.array(read) / sum(read), shares / shares.sum())
    np.testing.assert_allclose(np.multiply(sizes, temperature_weights(sizes, 1e9)), 1000)


def _loader(weighted: WeightedPairs | None) -> BatchLoader:
    # Pair i has i + 1 source tokens, so that a batch shows its pairs.
    sizes = np.arange(1, 13)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tokens = np.full(offsets[-1], 5)
    arrays = TokenArrays(tokens, offsets, tokens, offsets, np.arange(12))
    corpus = TokenCorpus(arrays, FilterStats(read=12, kept=12), "", "", part_sizes=(4, 8))
    assert corpus.part_bounds.tolist() == [0, 4, 12]
    return BatchLoader(
        lambda _: corpus,
        (SPECIAL, SPECIAL),
        batch_tokens=30,
        batch_sentences=3,
        seed=1,
        pairs_of_epoch=None if weighted is None else weighted.of_epoch,
    )


def _lines(loader: BatchLoader, position: Position, updates: int) -> list[Array]:
    stream = loader.updates(position, 1)
    return [next(stream).batches[0].lines for _ in range(updates)]


def test_loader_reads_the_weighted_pairs_from_any_position() -> None:
    weighted = _weighted((4, 2.5), (8, 0.5))
    loader = _loader(weighted)
    plans = [loader.plan(epoch)[1] for epoch in range(2)]
    for epoch, plan in enumerate(plans):
        expected = Counter(weighted.of_epoch(epoch).tolist())
        assert Counter(np.concatenate(plan).tolist()) == expected
    everything = _lines(loader, Position(0, 0), len(plans[0]) + len(plans[1]))
    later = _lines(_loader(weighted), Position(1, 1), len(plans[1]) - 1)
    for one, other in zip(everything[len(plans[0]) + 1 :], later, strict=True):
        assert np.array_equal(one, other)


def test_weights_of_one_plan_the_same_batches_as_no_weights() -> None:
    ones, none = _loader(_weighted((4, 1.0), (8, 1.0))), _loader(None)
    for one, other in zip(ones.plan(3)[1], none.plan(3)[1], strict=True):
        assert np.array_equal(one, other)
