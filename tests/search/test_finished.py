"""Finished hypotheses, early stopping and the maximum length."""

import math
from typing import Any

import pytest

from nmt.search.scoring import AverageLengthPenalty, GnmtLengthPenalty

from .searching import NONE, search
from .tables import BOS, EOS, TOKENS, Table


def predictable_table(sentences: int) -> Table:
    """Return a table that generates token 2 and then ends, almost surely."""
    table = Table(sentences, 0)
    for sentence in table.log_probs:
        for rows in sentence:
            for last, row in enumerate(rows):
                likely = 2 if last == BOS else EOS
                row[:] = [math.log(0.997 if token == likely else 0.001) for token in range(TOKENS)]
    return table


@pytest.mark.parametrize("length_penalty", [NONE, AverageLengthPenalty(), GnmtLengthPenalty()])
def test_search_stops_when_no_hypothesis_can_win(length_penalty: Any) -> None:
    table = predictable_table(2)
    found = search(table, beam_size=3, max_lengths_b=[1000, 1000], length_penalty=length_penalty)
    assert [one.tokens for (one,) in found] == [[2, EOS], [2, EOS]]
    # An unlikely token costs 6.9, at length 1000 still 0.0069 per token, compared with 0.003.
    assert table.steps == 2


def test_search_continues_while_a_longer_hypothesis_can_win() -> None:
    table = predictable_table(1)
    found = search(table, beam_size=3, max_lengths_b=[3000], length_penalty=AverageLengthPenalty())
    # 6.9 / 3000 per token is less than 0.003, so the first finished hypothesis could still lose,
    # until every active hypothesis contains a second unlikely token.
    assert [one.tokens for (one,) in found] == [[2, EOS]]
    assert 2 < table.steps < 10


def test_sentences_that_are_done_leave_the_batch() -> None:
    table = Table(3, 1)
    search(table, beam_size=2, n_best=50, max_lengths_b=[2, 6, 4])
    assert table.rows == [6, 6, 4, 4, 2, 2]


def test_unfinished_hypotheses_follow_the_finished_ones() -> None:
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


def test_zero_probability_tokens_are_never_returned() -> None:
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


def test_sentence_without_possible_tokens_has_no_hypotheses() -> None:
    table = Table(2, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [-math.inf] * TOKENS
    nothing, something = search(table, beam_size=2, max_lengths_b=[3, 3])
    assert nothing == []
    assert len(something) == 1
