"""The endless stream of training batches, of which every position can be reached at once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from nmt.data.batching import Array, Batch, collate, collate_pictures, plan_epoch
from nmt.data.encoded import EncodedCorpus
from nmt.data.pictures import widen
from nmt.data.vocabulary import Specials

Marks = tuple[Specials | None, Specials]
"""Of source and target; pictures have none."""


class Position(NamedTuple):
    """The next batch: number `batch` of the plan of epoch `epoch`, both from 0."""

    epoch: int
    batch: int


class Numbered(NamedTuple):
    """A batch, the corpus lines (from 1) it was made of, and what comes after it."""

    batch: Batch
    lines: Array
    after: Position


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

    def batches(self, position: Position) -> Iterator[Numbered]:
        """Batches from a position on, without end."""
        epoch, start = position
        while True:
            corpus, plan = self.plan(epoch)
            for number in range(start, len(plan)):
                last = number + 1 == len(plan)
                after = Position(epoch + 1, 0) if last else Position(epoch, number + 1)
                yield self._numbered(corpus, plan[number], after)
            epoch, start = epoch + 1, 0

    def _numbered(self, corpus: EncodedCorpus, rows: Array, after: Position) -> Numbered:
        return Numbered(make_batch(corpus, rows, self.specials), corpus.lines[rows] + 1, after)


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
