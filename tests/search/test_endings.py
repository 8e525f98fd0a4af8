"""When search stops, and what stands at its end."""

import math
from typing import Any

import pytest

from nmt.search.scoring import AverageLengthPenalty, GnmtLengthPenalty

from .searching import NONE, search
from .tables import BOS, EOS, TOKENS, Table


def easy_table(sentences: int) -> Table:
    """Says token 2, then ends, almost surely."""
    table = Table(sentences, 0)
    for sentence in table.log_probs:
        for rows in sentence:
            for last, row in enumerate(rows):
                likely = 2 if last == BOS else EOS
                row[:] = [math.log(0.997 if token == likely else 0.001) for token in range(TOKENS)]
    return table


@pytest.mark.parametrize("length_penalty", [NONE, AverageLengthPenalty(), GnmtLengthPenalty()])
def test_a_sentence_that_nothing_can_beat_stops_at_once(length_penalty: Any) -> None:
    table = easy_table(2)
    found = search(table, beam_size=3, max_lengths_b=[1000, 1000], length_penalty=length_penalty)
    assert [one.tokens for (one,) in found] == [[2, EOS], [2, EOS]]
    # log 0.001 on the way to length 1000 is at its mildest 6.9 / 1000 a piece, against 0.003.
    assert table.steps == 2


def test_search_goes_on_while_a_longer_hypothesis_may_win() -> None:
    table = easy_table(1)
    found = search(table, beam_size=3, max_lengths_b=[3000], length_penalty=AverageLengthPenalty())
    # 6.9 / 3000 a piece is less than 0.003: the first ending could still be beaten, until the
    # second loss of a live hypothesis.
    assert [one.tokens for (one,) in found] == [[2, EOS]]
    assert 2 < table.steps < 10


def test_sentences_that_are_done_leave_the_batch() -> None:
    table = Table(3, 1)
    search(table, beam_size=2, n_best=50, max_lengths_b=[2, 6, 4])
    assert table.rows == [6, 6, 4, 4, 2, 2]


def test_a_hypothesis_cut_off_at_the_longest_length_stands_after_the_finished_ones() -> None:
    table = Table(1, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [math.log(p) for p in (0.3, 0.01, 0.65, 0.04)]
    ((first, second),) = search(table, beam_size=2, max_lengths_b=[1], n_best=2)
    assert (first.tokens, second.tokens) == ([2], [0])
    assert not first.finished
    found = search(table, beam_size=4, max_lengths_b=[1], n_best=3)[0]
    assert [(one.tokens, one.finished) for one in found] == [
        ([EOS], True),
        ([2], False),
        ([0], False),
    ]
    assert found[1].score == pytest.approx(math.log(0.65))


def test_what_cannot_happen_is_never_a_hypothesis() -> None:
    table = Table(1, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [-math.inf, math.log(0.5), math.log(0.5), -math.inf]
    (found,) = search(table, beam_size=6, max_lengths_b=[3], n_best=100)
    assert sorted(tuple(one.tokens) for one in found) == [
        (1,),
        (2, 1),
        (2, 2, 1),
        (2, 2, 2),
    ]


def test_a_sentence_left_without_hypotheses_ends_and_gives_none() -> None:
    table = Table(2, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [-math.inf] * TOKENS
    nothing, something = search(table, beam_size=2, max_lengths_b=[3, 3])
    assert nothing == []
    assert len(something) == 1
