"""The batch loader: batches of an update, and their distribution over ranks."""

import queue
from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import pytest

from nmt.data.corpus import find_corpus
from nmt.data.loader import BatchLoader, Position, UpdateBatch
from nmt.data.special_tokens import SpecialTokens
from nmt.data.token_corpus import FilterStats, TokenArrays, TokenCorpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.distributed.rank import RankInfo
from nmt.errors import UserError
from tests.commands import PHRASES


@pytest.fixture(scope="module", params=[None, 20], ids=["one bucket", "3 buckets"])
def loader(request: pytest.FixtureRequest) -> BatchLoader:
    """Return a loader of sixty phrases in batches of at most 7."""
    corpus = find_corpus(PHRASES, "de", "en")
    lines = (line for pair in corpus.pairs() for line in pair)
    vocabulary = SentencePieceVocabulary.train(lines, size=180)
    tokenized = tokenize_corpus(corpus, vocabulary, vocabulary, max_length=100, cache_dir=None)
    specials = (vocabulary.special_tokens, vocabulary.special_tokens)
    return BatchLoader(
        lambda _: tokenized,
        specials,
        batch_tokens=4000,
        batch_sentences=7,
        seed=1,
        bucket_pairs=request.param,
    )


def _count_batches(loader: BatchLoader) -> int:
    return sum(len(loader.plan(0, bucket)[1]) for bucket in range(loader.count_buckets(0)))


def _lines(update: UpdateBatch) -> list[int]:
    return [n for one in update.batches if not one.is_dummy for n in one.lines.tolist()]


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (1, 4), (2, 1), (3, 2), (5, 1)])
def test_ranks_read_each_pair_once_and_make_the_same_updates(
    loader: BatchLoader, processes: int, accumulate: int
) -> None:
    batches, size = _count_batches(loader), processes * accumulate
    assert abs(loader.batches_per_epoch() - batches) <= loader.count_buckets(0)
    updates = -(-batches // size)
    assert processes == 1 or batches % size  # the last update of an epoch has fewer batches
    shares = [
        list(islice(loader.updates(Position(0, 0), size, RankInfo(n, processes)), updates + 1))
        for n in range(processes)
    ]
    whole = list(islice(loader.updates(Position(0, 0), size), updates + 1))
    for groups in zip(whole, *shares, strict=True):
        joined, *parts = groups
        assert sorted(n for part in parts for n in _lines(part)) == sorted(_lines(joined))
        assert {part.next_position for part in parts} == {joined.next_position}
        counted = sum(one.batch.target_tokens for part in parts for one in part.batches)
        assert {part.target_tokens for part in parts} == {counted}
        assert all(part.batches for part in parts)
    read = [n for groups in shares for group in groups[:updates] for n in _lines(group)]
    assert sorted(read) == list(range(1, 61))
    assert whole[updates - 1].next_position == Position(1, 0)


def test_rank_without_batch_gets_a_dummy_batch(loader: BatchLoader) -> None:
    last = _count_batches(loader) - 1
    update = next(loader.updates(Position(0, last), 3, RankInfo(2, 3)))
    (dummy,) = update.batches
    assert dummy.is_dummy
    assert dummy.batch.target_tokens == 0
    assert update.target_tokens > 0


def test_loading_continues_from_any_position(loader: BatchLoader) -> None:
    updates = list(islice(loader.updates(Position(0, 0), 2, RankInfo(1, 2)), 12))
    for update, following in pairwise(updates):
        again = next(loader.updates(update.next_position, 2, RankInfo(1, 2)))
        assert _lines(again) == _lines(following)
        assert again.target_tokens == following.target_tokens


def _ten_pairs(request: Callable[[int], object]) -> BatchLoader:
    """Return a loader of ten pairs that calls a function with the epoch of each plan."""
    offsets = np.arange(11)
    arrays = TokenArrays(np.full(10, 5), offsets, np.full(10, 6), offsets, np.arange(10))
    corpus = TokenCorpus(arrays, FilterStats(read=10, kept=10), "", "")

    def corpus_of_epoch(epoch: int) -> TokenCorpus:
        request(epoch)
        return corpus

    special = SpecialTokens(pad=0, bos=1, eos=2)
    return BatchLoader(
        corpus_of_epoch, (special, special), batch_tokens=8, batch_sentences=None, seed=1
    )


def test_next_epoch_is_planned_before_the_last_batch_is_requested() -> None:
    planned = queue.Queue[int]()
    updates = _ten_pairs(planned.put).updates(Position(0, 0), 1)
    assert next(updates).next_position == Position(0, 1)
    assert next(updates).next_position == Position(0, 2)
    assert planned.get_nowait() == 0
    assert next(updates).next_position == Position(1, 0)
    assert planned.get(timeout=60) == 1
    assert next(updates).next_position == Position(1, 1)
    assert planned.empty()


def test_error_of_a_plan_is_raised_after_the_batches_before_it() -> None:
    def fail(epoch: int) -> None:
        if epoch:
            raise UserError("no pairs")

    updates = _ten_pairs(fail).updates(Position(0, 1), 1)
    assert [next(updates).next_position for _ in range(2)] == [Position(0, 2), Position(1, 0)]
    with pytest.raises(UserError, match="no pairs"):
        next(updates)


def test_loader_caches_the_last_plan() -> None:
    requested: list[int] = []
    loader = _ten_pairs(requested.append)
    first = loader.plan(0)
    assert loader.plan(0) is first
    assert requested == [0]
    # A plan is a pure function of seed and epoch; only the last one is kept.
    assert list(map(list, loader.plan(1)[1])) != list(map(list, first[1]))
    assert list(map(list, loader.plan(0)[1])) == list(map(list, first[1]))
    assert requested == [0, 1, 0]
