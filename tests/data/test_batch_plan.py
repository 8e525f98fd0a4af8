"""Batch plans: limits, padding and order."""

import numpy as np
import pytest

from nmt.data.batch_plan import (
    BLOCK_PAIRS,
    LENGTH_JITTER,
    bucket_rows,
    longest_batch,
    plan_by_length,
    plan_epoch,
)
from nmt.data.token_corpus import Array

generator = np.random.default_rng(5)
TARGETS = generator.integers(1, 40, 700)
SOURCES = np.clip(TARGETS + generator.integers(-6, 7, 700), 1, None)


def plan(seed: int = 3, epoch: int = 1) -> list[Array]:
    return plan_epoch(SOURCES, TARGETS, batch_tokens=300, seed=seed, epoch=epoch)


def same(one: list[Array], other: list[Array]) -> bool:
    return [batch.tolist() for batch in one] == [batch.tolist() for batch in other]


@pytest.mark.parametrize("batch_tokens", [1, 30, 300, 100_000])
@pytest.mark.parametrize("batch_sentences", [None, 1, 7])
def test_epoch_contains_each_pair_once_within_the_limits(
    batch_tokens: int, batch_sentences: int | None
) -> None:
    batches = plan_epoch(
        SOURCES,
        TARGETS,
        batch_tokens=batch_tokens,
        batch_sentences=batch_sentences,
        seed=1,
        epoch=1,
    )
    assert sorted(np.concatenate(batches).tolist()) == list(range(700))
    for batch in batches:
        widest = max(SOURCES[batch].max(), TARGETS[batch].max()) + 1
        assert len(batch) * widest <= batch_tokens or len(batch) == 1
        assert batch_sentences is None or len(batch) <= batch_sentences


def test_batches_are_as_large_as_the_limit_allows() -> None:
    uniform = np.full(100, 9)
    batches = plan_epoch(uniform, uniform, batch_tokens=200, seed=1, epoch=1)
    assert [len(batch) for batch in batches] == [20] * 5
    short = np.full(100, 3)
    for sources, targets in ((uniform, short), (short, uniform)):
        batches = plan_epoch(sources, targets, batch_tokens=209, seed=1, epoch=1)
        assert [len(batch) for batch in batches] == [20] * 5


def test_pair_beyond_the_limit_forms_its_own_batch() -> None:
    sources, targets = np.array([3, 50, 3, 3]), np.array([3, 3, 3, 60])
    batches = plan_epoch(sources, targets, batch_tokens=20, seed=1, epoch=1)
    assert sorted(map(sorted, batches)) == [[0, 2], [1], [3]]


def test_less_than_a_tenth_is_padding() -> None:
    batches = plan()
    real = (SOURCES + 1).sum() + (TARGETS + 1).sum()
    padded = sum(len(b) * (SOURCES[b].max() + TARGETS[b].max() + 2) for b in batches)
    assert real / padded > 0.9


def test_plan_depends_only_on_seed_and_epoch() -> None:
    np.random.default_rng(0).random()
    first = plan()
    assert same(first, plan())
    next_epoch = plan(epoch=2)
    other_seed = plan(seed=4)
    for other in (next_epoch, other_seed):
        # Other batches, not only another order of the same batches.
        batches, others = ({frozenset(batch.tolist()) for batch in plan} for plan in (first, other))
        assert len(batches & others) < len(batches) / 2


@pytest.mark.parametrize(("pairs", "buckets"), [(10 * BLOCK_PAIRS + 5, 3), (10, 4), (7, 7)])
def test_buckets_divide_an_epoch_into_random_blocks(pairs: int, buckets: int) -> None:
    def rows(epoch: int) -> list[Array]:
        return [bucket_rows(pairs, buckets, n, seed=1, epoch=epoch) for n in range(buckets)]

    found = rows(epoch=0)
    assert sorted(np.concatenate(found).tolist()) == list(range(pairs))
    assert same(found, rows(epoch=0))
    assert not same(found, rows(epoch=1))
    size = min(BLOCK_PAIRS, -(-pairs // buckets))
    assert max(map(len, found)) - min(map(len, found)) <= 2 * size
    for own in found:
        starts = own[np.diff(own, prepend=-2) != 1]
        assert not np.any(starts % size)


def test_epoch_of_one_bucket_has_the_order_of_earlier_versions() -> None:
    numbers = [np.random.default_rng(seed).random(5).tolist() for seed in ([3, 1], [3, 1, 0])]
    assert numbers[0] == numbers[1]
    large = [np.random.default_rng(seed).random() for seed in ([2**63, 1], [2**63, 1, 0])]
    assert large[0] == large[1]


def test_order_of_batches_is_independent_of_length() -> None:
    longest = [TARGETS[batch].max() for batch in plan()]
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.4


def test_plan_by_length_is_sorted_and_deterministic() -> None:
    batches = plan_by_length(SOURCES, TARGETS, batch_tokens=300)
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(700))
    assert (np.diff(TARGETS[order]) >= 0).all()
    assert all(
        len(batch) == 1 or len(batch) * (max(SOURCES[batch].max(), TARGETS[batch].max()) + 1) <= 300
        for batch in batches
    )
    assert same(batches, plan_by_length(SOURCES, TARGETS, batch_tokens=300))


def test_longest_batch_has_most_tokens_including_padding() -> None:
    sources, targets = np.array([5, 5, 5, 9, 2]), np.array([5, 5, 5, 9, 30])
    batches = [np.array([3]), np.array([0, 1, 2]), np.array([4])]
    assert longest_batch(batches, sources, targets).tolist() == [0, 1, 2]
    assert longest_batch([batches[0], batches[2]], sources, targets).tolist() == [4]


def test_empty_corpus_has_no_batches() -> None:
    nothing = np.array([], np.int64)
    assert plan_epoch(nothing, nothing, batch_tokens=10, seed=1, epoch=1) == []


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_order_of_pairs_equals_lexsort_of_jittered_lengths(dtype: type[np.generic]) -> None:
    noise = np.random.default_rng([3, 1])
    sources, targets = (
        np.rint(lengths * (1 + LENGTH_JITTER * noise.random(700))) for lengths in (SOURCES, TARGETS)
    )
    shuffled = noise.permutation(700)
    # Source keys descend for odd target keys and ascend for even ones.
    signs = np.where(targets % 2 == 1, -1, 1)
    order = shuffled[np.lexsort(((signs * sources)[shuffled], targets[shuffled]))]
    batches = plan_epoch(
        SOURCES.astype(dtype), TARGETS.astype(dtype), batch_tokens=300, seed=3, epoch=1
    )
    assert {batch.dtype for batch in batches} == {np.dtype(np.int32)}
    ranks = np.argsort(order)
    ordered = sorted(batches, key=lambda batch: int(ranks[batch[0]]))
    assert np.concatenate(ordered).tolist() == order.tolist()
