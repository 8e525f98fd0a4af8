"""The stream of batches: groups for updates, and their sharing among processes."""

from itertools import islice, pairwise

import pytest

from nmt.data.cache import encode_corpus
from nmt.data.corpus import resolve
from nmt.data.stream import Group, Position, Stream
from nmt.data.vocabulary import Vocabulary
from nmt.distributed.rank import RankInfo
from tests.commands import PHRASES


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Sixty phrases in batches of at most 7."""
    corpus = resolve(PHRASES, "de", "en")
    lines = (line for pair in corpus.pairs() for line in pair)
    vocabulary = Vocabulary.train(lines, size=180)
    encoded = encode_corpus(corpus, vocabulary, vocabulary, max_length=100, folder=None)
    specials = (vocabulary.specials, vocabulary.specials)
    return Stream(lambda _: encoded, specials, batch_tokens=4000, batch_sentences=7, seed=1)


def _lines(group: Group) -> list[int]:
    return [n for one in group.batches if not one.idle for n in one.lines.tolist()]


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (1, 4), (2, 1), (3, 2), (5, 1)])
def test_processes_read_each_pair_of_an_epoch_once_and_make_the_same_updates(
    stream: Stream, processes: int, accumulate: int
) -> None:
    plan = stream.plan(0)[1]
    size = processes * accumulate
    updates = -(-len(plan) // size)
    assert processes == 1 or len(plan) % size  # an epoch's last group is smaller
    shares = [
        list(islice(stream.groups(Position(0, 0), size, RankInfo(n, processes)), updates + 1))
        for n in range(processes)
    ]
    whole = list(islice(stream.groups(Position(0, 0), size), updates + 1))
    for groups in zip(whole, *shares, strict=True):
        joined, *parts = groups
        assert sorted(n for part in parts for n in _lines(part)) == sorted(_lines(joined))
        assert {part.after for part in parts} == {joined.after}
        counted = sum(one.batch.target_tokens for part in parts for one in part.batches)
        assert {part.target_tokens for part in parts} == {counted}
        assert all(part.batches for part in parts)
    read = [n for groups in shares for group in groups[:updates] for n in _lines(group)]
    assert sorted(read) == list(range(1, 61))
    assert whole[updates - 1].after == Position(1, 0)


def test_a_process_without_a_batch_gets_an_idle_one(stream: Stream) -> None:
    last = len(stream.plan(0)[1]) - 1
    group = next(stream.groups(Position(0, last), 3, RankInfo(2, 3)))
    (idle,) = group.batches
    assert idle.idle
    assert idle.batch.target_tokens == 0
    assert group.target_tokens > 0


def test_groups_go_on_from_any_position(stream: Stream) -> None:
    every = list(islice(stream.groups(Position(0, 0), 2, RankInfo(1, 2)), 12))
    for group, following in pairwise(every):
        again = next(stream.groups(group.after, 2, RankInfo(1, 2)))
        assert _lines(again) == _lines(following)
        assert again.target_tokens == following.target_tokens
