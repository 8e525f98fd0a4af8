"""Batch plans: batch samplers that group pairs of similar length.

A plan is a list of batches, each an array of pair indices. It depends only on the lengths, the
options, the seed and the epoch, so that training can continue at any batch without replaying the
ones before.
"""

from typing import Any

import numpy as np

from nmt.data.token_corpus import Array

# Maximum relative increase of a length in sorting, so that epochs have different batches. With
# 29,000 sampled lengths and 4000 tokens per batch, the probability that two pairs of a batch are in
# one batch again in the next epoch is 46 % instead of 65 %, for 1.4 % more padding.
LENGTH_JITTER = 0.05

# Batches for CUDA graphs have few shapes: the rows are a multiple of ROW_MULTIPLE, or a power of
# two below it, and the lengths are padded to a multiple of LENGTH_MULTIPLE.
ROW_MULTIPLE = 16
LENGTH_MULTIPLE = 8

BLOCK_PAIRS = 2048
"""Consecutive pairs of a text that are in the same bucket, for reading from a disk."""


def plan_epoch(
    source_lengths: Array,
    target_lengths: Array,
    *,
    batch_tokens: int,
    batch_sentences: int | None = None,
    seed: int,
    epoch: int,
    bucket: int = 0,
    few_shapes: bool = False,
) -> list[Array]:
    """Plan the batches of an epoch in random order; each pair is in exactly one batch.

    Pairs are sorted by their lengths with a little random noise. On each side, rows x (longest
    sentence + `</s>`) is at most `batch_tokens`. A longer pair forms its own batch.

    Args:
        source_lengths, target_lengths: number of tokens of each pair, without begin and end
        batch_tokens: maximum number of tokens per batch and side, including padding
        batch_sentences: maximum number of pairs per batch; None for no limit
        seed: seed of the run
        epoch: number of the epoch
        bucket: number of the bucket, if the lengths are those of a part of the epoch
        few_shapes: whether batches have rounded sizes, as `LENGTH_MULTIPLE` describes
    """
    # Seeded by these numbers, so that any bucket can be planned without the ones before it.
    generator = np.random.default_rng([seed, epoch, bucket])
    num_pairs = len(source_lengths)
    # The shuffle decides the order of pairs with equal keys, which the stable sort keeps.
    keys = [_jitter(lengths, generator) for lengths in (source_lengths, target_lengths)]
    order = _sort_pairs(generator.permutation(_indices(num_pairs)), *keys)
    batches = _split(
        order, source_lengths, target_lengths, batch_tokens, batch_sentences, few_shapes
    )
    # Shuffled, because consecutive batches of similar length would bias the updates.
    return [batches[i] for i in generator.permutation(len(batches))]


def bucket_rows(num_pairs: int, buckets: int, bucket: int, *, seed: int, epoch: int) -> Array:
    """Return the indices of the pairs of a bucket: blocks of consecutive pairs, drawn at random.

    Each pair of an epoch is in exactly one bucket. All buckets have the same number of blocks, or
    one less.

    Args:
        num_pairs: number of pairs of the epoch
        buckets: number of buckets of the epoch
        bucket: number of the bucket, from 0
        seed: seed of the run
        epoch: number of the epoch
    """
    # A bucket of this number does not exist, so no plan has the same random numbers.
    generator = np.random.default_rng([seed, epoch, buckets])
    block_pairs = min(BLOCK_PAIRS, -(-num_pairs // buckets))
    blocks = generator.permutation(-(-num_pairs // block_pairs))[bucket::buckets]
    rows = (blocks[:, None] * block_pairs + np.arange(block_pairs)).flatten()
    return rows[rows < num_pairs].astype(_index_type(num_pairs))


def plan_by_length(
    source_lengths: Array,
    target_lengths: Array,
    *,
    batch_tokens: int,
    batch_sentences: int | None = None,
    few_shapes: bool = False,
) -> list[Array]:
    """Plan batches like `plan_epoch`, but from short to long and without randomness."""
    order = _sort_pairs(_indices(len(source_lengths)), source_lengths, target_lengths)
    return _split(order, source_lengths, target_lengths, batch_tokens, batch_sentences, few_shapes)


def longest_batch(plan: list[Array], source_lengths: Array, target_lengths: Array) -> Array:
    """Return the batch of a plan with the most tokens, both sides and padding included."""

    def num_tokens(batch: Array) -> int:
        tokens_per_row = source_lengths[batch].max() + 1 + target_lengths[batch].max() + 1
        return int(len(batch) * tokens_per_row)

    return max(plan, key=num_tokens)


def _indices(count: int) -> Array:
    return np.arange(count, dtype=_index_type(count))


def _index_type(count: int) -> type[np.signedinteger[Any]]:
    # Plans stay in memory, so they use 32 bits where possible.
    return np.int32 if count <= 1 << 31 else np.int64


def _jitter(lengths: Array, generator: np.random.Generator) -> Array:
    """Return round(lengths * (1 + LENGTH_JITTER * noise)) with noise uniform in [0, 1)."""
    # In place, because a corpus may have hundreds of millions of pairs.
    keys = generator.random(len(lengths))
    keys *= LENGTH_JITTER
    keys += 1
    keys *= lengths
    return np.rint(keys, out=keys).astype(np.int32)


def _split(
    order: Array,
    source_lengths: Array,
    target_lengths: Array,
    batch_tokens: int,
    batch_sentences: int | None,
    few_shapes: bool,
) -> list[Array]:
    """Split sorted pairs into consecutive batches, each as large as the limits allow."""
    sources, targets = source_lengths[order] + 1, target_lengths[order] + 1
    if few_shapes:
        sources, targets = (_round_up(lengths) for lengths in (sources, targets))
    batches = []
    start = 0
    while start < len(order):
        # Targets ascend, so the first one gives an upper bound of the number of rows.
        max_rows = min(batch_tokens // int(targets[start]), batch_sentences or len(order))
        end = start + max(1, max_rows)
        rows = np.arange(1, len(targets[start:end]) + 1)
        longest = np.maximum.accumulate(np.maximum(sources[start:end], targets[start:end]))
        # The size of a prefix increases with its rows, so the fitting prefixes are the first ones.
        num_fitting = int(np.count_nonzero(rows * longest <= batch_tokens))
        num_rows = max(1, num_fitting)
        # The last batch of all may have any number of rows: it is one of many.
        if few_shapes and start + num_rows < len(order):
            num_rows = _round_rows(num_rows)
        end = start + num_rows
        batches.append(order[start:end])
        start = end
    return batches


def padding_length(length: int) -> int:
    """Return the number of padding tokens that make a length one of few."""
    return -length % LENGTH_MULTIPLE


def _round_up(lengths: Array) -> Array:
    rounded: Array = lengths + -lengths % LENGTH_MULTIPLE
    return rounded


def _round_rows(rows: int) -> int:
    """Return the largest number of rows, at most this one, that a batch of few shapes may have."""
    if rows >= ROW_MULTIPLE:
        return rows - rows % ROW_MULTIPLE
    return 1 << (rows.bit_length() - 1)


def _sort_pairs(order: Array, source_keys: Array, target_keys: Array) -> Array:
    """Sort pairs stably by target key, then by source key.

    Source keys ascend for even target keys and descend for odd ones, so that a batch that spans two
    target keys has little padding.
    """
    # Least significant key first: the second, stable sort keeps the order of the first.
    descending = source_keys.max(initial=0) - source_keys
    order = _sort_stably(order, np.where(target_keys % 2 == 1, descending, source_keys))
    return _sort_stably(order, target_keys)


def _sort_stably(order: Array, keys: Array) -> Array:
    # NumPy's stable sort is a linear-time radix sort for integers of up to 16 bits.
    keys = keys[order].astype(np.min_scalar_type(keys.max(initial=0)))
    return order[np.argsort(keys, kind="stable")]
