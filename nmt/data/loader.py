"""Batch loader of training: an infinite stream of batches that can start at any position."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import numpy as np

from nmt.data.batch import Batch, align_batch, combine, pad_rows
from nmt.data.batch_plan import bucket_rows, plan_epoch
from nmt.data.images import upcast_features
from nmt.data.special_tokens import SpecialTokenPair
from nmt.data.token_corpus import Array, TokenCorpus, sentence_lengths
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo
from nmt.prefetch import run_in_thread

# A corpus, and the rows of each batch.
Plan = tuple[TokenCorpus, list[Array]]

# A corpus, and the rows of it that an epoch reads; None for all, once.
Epoch = tuple[TokenCorpus, Array | None]

# Share of a bucket after which the next one is planned: late, since both plans take memory.
PLAN_AHEAD_AFTER = 0.9


class Position(NamedTuple):
    """Position of the next batch: its index in the plan of an epoch, both from 0."""

    epoch: int
    batch: int


class IndexedBatch(NamedTuple):
    """A batch with the corpus lines that it was made from.

    Attributes:
        batch: the padded pairs
        lines: line numbers of the pairs in the corpus, from 1
        is_dummy: whether the batch has no targets and only keeps its rank in step with others
    """

    batch: Batch
    lines: Array
    is_dummy: bool = False


class UpdateBatch(NamedTuple):
    """The batches of one update, for one rank.

    Attributes:
        batches: batches of this rank, at least one
        target_tokens: number of target tokens in the batches of all ranks
        next_position: position of the first batch of the next update
    """

    batches: list[IndexedBatch]
    target_tokens: int
    next_position: Position

    def for_gpu(self) -> "UpdateBatch":
        """Group the tokens of the batches, and copy the batches to page-locked memory."""
        batches = [
            indexed._replace(batch=indexed.batch.with_groups().pin_memory())
            for indexed in self.batches
        ]
        return self._replace(batches=batches)


class BatchLoader:
    """Loader of training batches, epoch after epoch.

    An epoch consists of buckets, whose pairs are shuffled and sorted by length together; by default
    it is one. Each is planned when the one before it ends, so time and memory of a plan depend on
    the size of a bucket, and not on that of the corpus or the number of ranks.

    Args:
        corpus_of_epoch: returns the corpus of an epoch; without subword regularization always the
            same one
        special_tokens: special tokens of source and target
        batch_tokens, batch_sentences, seed, few_shapes: options of `plan_epoch`
        bucket_pairs: maximum number of pairs of a bucket; None for one bucket per epoch
        pairs_of_epoch: returns the indices of the pairs that an epoch reads; None for all, once
    """

    def __init__(
        self,
        corpus_of_epoch: Callable[[int], TokenCorpus],
        special_tokens: SpecialTokenPair,
        *,
        batch_tokens: int,
        batch_sentences: int | None,
        seed: int,
        few_shapes: bool = False,
        bucket_pairs: int | None = None,
        pairs_of_epoch: Callable[[int], Array] | None = None,
    ) -> None:
        self.corpus_of_epoch, self.special_tokens = corpus_of_epoch, special_tokens
        self.batch_tokens, self.batch_sentences, self.seed = batch_tokens, batch_sentences, seed
        self.few_shapes, self.pairs_of_epoch = few_shapes, pairs_of_epoch
        self.bucket_pairs = bucket_pairs
        # The last epoch, and the plan of one bucket, by its epoch and number.
        self._epoch: tuple[int, Epoch] | None = None
        self._cached: tuple[tuple[int, int], Plan] | None = None

    def set_batch_tokens(self, batch_tokens: int) -> None:
        """Change the size of all following batches."""
        self.batch_tokens, self._cached = batch_tokens, None

    def plan(self, epoch: int, bucket: int = 0) -> Plan:
        """Return the corpus of an epoch and the batches of a bucket; the last plan is cached."""
        if self._cached is None or self._cached[0] != (epoch, bucket):
            self._cached = (epoch, bucket), self._plan(epoch, bucket)
        return self._cached[1]

    def batches_per_epoch(self) -> int:
        """Return the number of batches of the first epoch, estimated from its first bucket."""
        _, plan = self.plan(0)
        return round(len(plan) * self._count_pairs(0) / sum(map(len, plan)))

    def count_buckets(self, epoch: int) -> int:
        """Return the number of buckets of an epoch."""
        if self.bucket_pairs is None:
            return 1
        return max(1, -(-self._count_pairs(epoch) // self.bucket_pairs))

    def _count_pairs(self, epoch: int) -> int:
        corpus, pairs = self._read_epoch(epoch)
        return len(corpus if pairs is None else pairs)

    def _read_epoch(self, epoch: int) -> Epoch:
        if self._epoch is None or self._epoch[0] != epoch:
            pairs = None if self.pairs_of_epoch is None else self.pairs_of_epoch(epoch)
            self._epoch = epoch, (self.corpus_of_epoch(epoch), pairs)
        return self._epoch[1]

    def _plan(self, epoch: int, bucket: int) -> Plan:
        corpus, pairs = self._read_epoch(epoch)
        buckets = self.count_buckets(epoch)
        if buckets > 1:
            count = self._count_pairs(epoch)
            rows = bucket_rows(count, buckets, bucket, seed=self.seed, epoch=epoch)
            pairs = rows if pairs is None else pairs[rows]
        if pairs is None:
            lengths = corpus.source_lengths, corpus.target_lengths
        else:
            arrays = corpus.arrays
            lengths = (
                sentence_lengths(arrays.source_offsets, pairs),
                sentence_lengths(arrays.target_offsets, pairs),
            )
        batches = plan_epoch(
            *lengths,
            batch_tokens=self.batch_tokens,
            batch_sentences=self.batch_sentences,
            seed=self.seed,
            epoch=epoch,
            bucket=bucket,
            few_shapes=self.few_shapes,
        )
        return corpus, batches if pairs is None else [pairs[batch] for batch in batches]

    def updates(
        self, position: Position, batches_per_update: int, rank: RankInfo = SINGLE_PROCESS
    ) -> Iterator[UpdateBatch]:
        """Yield the batches of each update from a position on, without end.

        The last update of an epoch may have fewer batches. The batches of an update are distributed
        over the ranks round-robin. If an update has fewer batches than ranks, the other ranks get a
        dummy batch, because every rank must take part in every update.

        Another thread plans the next bucket before this one ends, so that its batches follow at
        once.

        Args:
            position: position of the first batch
            batches_per_update: number of batches per update, over all ranks
            rank: rank of this process
        """
        epoch, start = position
        while True:
            yield from self._updates_of_epoch(epoch, start, batches_per_update, rank)
            # Only the first epoch may start in the middle.
            epoch, start = epoch + 1, 0

    def _updates_of_epoch(
        self, epoch: int, start: int, size: int, rank: RankInfo
    ) -> Iterator[UpdateBatch]:
        """Yield the batches of the updates of an epoch from its batch number `start` on."""
        buckets = self.count_buckets(epoch)
        index = skipped = start
        rest: list[Array] = []
        for bucket in range(buckets):
            corpus, plan = self.plan(epoch, bucket)
            batches = rest + plan[skipped:]
            skipped = max(0, skipped - len(plan))
            is_last = bucket == buckets - 1
            # Batches that fill no update are those of the next one, together with the next bucket.
            end = len(batches) if is_last else len(batches) - len(batches) % size
            rest = batches[end:]
            following: Future[Plan] | None = None
            next_bucket = (epoch + 1, 0) if is_last else (epoch, bucket + 1)
            for first in range(0, end, size):
                index += size
                if following is None and first + size > PLAN_AHEAD_AFTER * end:
                    following = run_in_thread("nmt-plan", partial(self._plan, *next_bucket))
                # A checkpoint stores this position; the end of an epoch is the start of the next
                # one.
                ends_epoch = is_last and first + size >= end
                position = Position(epoch + 1, 0) if ends_epoch else Position(epoch, index)
                yield self._load_update(corpus, batches[first : first + size], position, rank)
            if following is not None:
                self._cached = next_bucket, following.result()

    def _load_update(
        self, corpus: TokenCorpus, batches: list[Array], following: Position, rank: RankInfo
    ) -> UpdateBatch:
        # Counted from the plan for all ranks, so that normalizing the loss needs no all-reduce;
        # each pair has one </s>.
        rows = np.concatenate(batches)
        lengths = sentence_lengths(corpus.arrays.target_offsets, rows)
        target_tokens = int(lengths.sum()) + len(rows)
        own = [self.load_batch(corpus, one) for one in batches[rank.rank :: rank.world_size]]
        if not own:
            # One pair of a real batch: as cheap as possible, with valid tokens.
            indexed = self.load_batch(corpus, batches[0][:1])
            own = [IndexedBatch(indexed.batch.without_targets(), indexed.lines, is_dummy=True)]
        return UpdateBatch(own, target_tokens, following)

    def load_batch(self, corpus: TokenCorpus, rows: Array) -> IndexedBatch:
        """Collate the pairs with the given indices, and note their lines."""
        batch = make_batch(corpus, rows, self.special_tokens)
        if self.few_shapes:
            source_special, target_special = self.special_tokens
            source_pad = None if source_special is None else source_special.pad
            batch = batch.round_lengths(source_pad, target_special.pad)
        return IndexedBatch(batch, corpus.lines[rows] + 1)


def make_batch(corpus: TokenCorpus, rows: Array, special_tokens: SpecialTokenPair) -> Batch:
    """Collate the pairs with the given indices into a batch."""
    source_special, target_special = special_tokens
    arrays = corpus.arrays
    reverses = corpus.reverses_targets
    targets = pad_rows(
        arrays.target_tokens, arrays.target_offsets, rows, target_special, reverses=reverses
    )
    if corpus.images is not None:
        # The one token of a source is the row of its image.
        images = corpus.images[arrays.source_tokens[arrays.source_offsets[rows]]]
        mask_bs = np.ones((len(rows), 1), bool)
        return combine(upcast_features(images), mask_bs, *targets, target_special)
    assert source_special is not None
    sources = pad_rows(arrays.source_tokens, arrays.source_offsets, rows, source_special)
    batch = combine(*sources, *targets, target_special)
    if corpus.links is None:
        return batch
    return align_batch(batch, corpus.links, rows, reverses_targets=reverses)
