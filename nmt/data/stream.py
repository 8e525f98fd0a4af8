"""The endless stream of training batches, of which every position can be reached at once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from nmt.data.batching import Array, Batch, collate, collate_pictures, plan_epoch
from nmt.data.encoded import EncodedCorpus
from nmt.data.pictures import widen
from nmt.data.vocabulary import Specials
from nmt.distributed.rank import SINGLE_PROCESS, RankInfo

Marks = tuple[Specials | None, Specials]
"""Of source and target; pictures have none."""


class Position(NamedTuple):
    """The next batch: number `batch` of the plan of epoch `epoch`, both from 0."""

    epoch: int
    batch: int


class Numbered(NamedTuple):
    """A batch and the corpus lines (from 1) it was made of.

    An idle one only keeps its process in step with others that have one; nothing in it counts.
    """

    batch: Batch
    lines: Array
    idle: bool = False


class Group(NamedTuple):
    """The batches of one update, as one of the processes that share them sees it.

    Attributes:
        batches: that are this process's own, at least one
        target_tokens: to predict in the batches of all processes
        after: the first batch of the next update
    """

    batches: list[Numbered]
    target_tokens: int
    after: Position

    def pinned(self) -> "Group":
        """The same with batches in pinned memory."""
        batches = [one._replace(batch=one.batch.pinned()) for one in self.batches]
        return self._replace(batches=batches)


class Stream:
    """Training batches, epoch after epoch.

    Args:
        corpus_of: the encoded corpus of an epoch; the same one each time without sampling
        specials: marks of source and target
        batch_tokens, batch_sentences, seed: as `plan_epoch` has them
    """

    def __init__(
        self,
        corpus_of: Callable[[int], EncodedCorpus],
        specials: Marks,
        *,
        batch_tokens: int,
        batch_sentences: int | None,
        seed: int,
    ) -> None:
        self.corpus_of, self.specials = corpus_of, specials
        self.batch_tokens, self.batch_sentences, self.seed = batch_tokens, batch_sentences, seed
        self.planned: tuple[int, tuple[EncodedCorpus, list[Array]]] | None = None

    def cut(self, batch_tokens: int) -> None:
        """Make batches of another size from now on."""
        self.batch_tokens, self.planned = batch_tokens, None

    def plan(self, epoch: int) -> tuple[EncodedCorpus, list[Array]]:
        """The corpus of an epoch and its batches in order; the last plan is remembered."""
        if self.planned is None or self.planned[0] != epoch:
            self.planned = epoch, self._plan(epoch)
        return self.planned[1]

    def _plan(self, epoch: int) -> tuple[EncodedCorpus, list[Array]]:
        corpus = self.corpus_of(epoch)
        batches = plan_epoch(
            corpus.source_lengths,
            corpus.target_lengths,
            batch_tokens=self.batch_tokens,
            batch_sentences=self.batch_sentences,
            seed=self.seed,
            epoch=epoch,
        )
        return corpus, batches

    def groups(
        self, position: Position, size: int, rank: RankInfo = SINGLE_PROCESS
    ) -> Iterator[Group]:
        """Groups of `size` batches from a position on, without end; an epoch's last may be smaller.

        The batches of a group are dealt out in turn. Where there are fewer than processes, those
        without one get an idle batch, since all take part in every update.
        """
        epoch, start = position
        while True:
            corpus, plan = self.plan(epoch)
            for first in range(start, len(plan), size):
                end = first + size
                after = Position(epoch, end) if end < len(plan) else Position(epoch + 1, 0)
                yield self._group(corpus, plan[first:end], after, rank)
            epoch, start = epoch + 1, 0

    def _group(
        self, corpus: EncodedCorpus, batches: list[Array], after: Position, rank: RankInfo
    ) -> Group:
        lengths = corpus.target_lengths
        tokens = sum(int(lengths[rows].sum()) + len(rows) for rows in batches)
        own = [self._numbered(corpus, rows) for rows in batches[rank.rank :: rank.world_size]]
        return Group(own or [_idle(self._numbered(corpus, batches[0][:1]))], tokens, after)

    def _numbered(self, corpus: EncodedCorpus, rows: Array) -> Numbered:
        return Numbered(make_batch(corpus, rows, self.specials), corpus.lines[rows] + 1)


def _idle(numbered: Numbered) -> Numbered:
    """The same batch without a target to predict."""
    batch = numbered.batch
    return Numbered(batch.without_targets(), numbered.lines, idle=True)


def make_batch(corpus: EncodedCorpus, rows: Array, specials: Marks) -> Batch:
    """The pairs of these numbers as one batch."""
    of_source, of_target = specials
    sources = [np.asarray(corpus.source(row)) for row in rows.tolist()]
    targets = [np.asarray(corpus.target(row)) for row in rows.tolist()]
    if corpus.pictures is not None:
        pictures = widen(corpus.pictures[np.concatenate(sources)])
        return collate_pictures(pictures, targets, of_target)
    assert of_source is not None
    return collate(sources, targets, of_source, of_target)
