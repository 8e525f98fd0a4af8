"""Beam search against search by hand."""

import math
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map_only

from nmt.errors import UserError
from nmt.search.beam import beam_search
from nmt.search.scoring import AverageLengthPenalty, GnmtCoveragePenalty, GnmtLengthPenalty

from .searching import NO_COVERAGE, NONE, assert_same, search
from .tables import (
    BOS,
    EOS,
    START,
    TOKENS,
    Table,
    average,
    best_strings,
    every_string,
    gnmt,
    plain,
    slow_beam,
)

SCORINGS = {
    "none": (NONE, NO_COVERAGE, plain),
    "average half": (AverageLengthPenalty(alpha=0.5), NO_COVERAGE, average(0.5)),
    "average": (AverageLengthPenalty(), NO_COVERAGE, average(1.0)),
    "average steep": (AverageLengthPenalty(alpha=2.0), NO_COVERAGE, average(2.0)),
    "gnmt": (GnmtLengthPenalty(), NO_COVERAGE, gnmt(0.2)),
    "gnmt steep": (GnmtLengthPenalty(alpha=1.5), NO_COVERAGE, gnmt(1.5)),
    "coverage": (NONE, GnmtCoveragePenalty(beta=1.0), gnmt(0.0, 1.0)),
    "gnmt both": (GnmtLengthPenalty(alpha=0.8), GnmtCoveragePenalty(), gnmt(0.8, 0.2)),
}
scorings = pytest.mark.parametrize("scoring", SCORINGS.values(), ids=SCORINGS.keys())


@scorings
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_what_trying_every_string_finds(scoring: Any, seed: int) -> None:
    length_penalty, coverage_penalty, score = scoring
    table, max_lengths = Table(3, seed), [4, 3, 1]
    found = search(
        table,
        beam_size=120,
        max_lengths_b=max_lengths,
        n_best=12,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    for sentence, max_length in enumerate(max_lengths):
        expected = best_strings(table, sentence, max_length, 12, score)
        assert_same(found[sentence], expected, score)


@scorings
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (2, 1), (2, 2), (3, 5), (5, 3), (7, 7)])
def test_a_narrow_beam_equals_the_slow_one_that_never_stops_early(
    scoring: Any, beam_size: int, n_best: int
) -> None:
    length_penalty, coverage_penalty, score = scoring
    table, max_lengths = Table(8, 11 * beam_size), [9, 7, 1, 2, 12, 5, 9, 3]
    found = search(
        table,
        beam_size=beam_size,
        max_lengths_b=max_lengths,
        n_best=n_best,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    for sentence, max_length in enumerate(max_lengths):
        expected = slow_beam(table, sentence, max_length, n_best, score, beam_size)
        assert_same(found[sentence], expected, score)


LENGTHENED = {"none": 0.0, "average": 1.0, "average steep": 2.0}


@pytest.mark.parametrize("name", LENGTHENED)
@pytest.mark.parametrize(("beam_size", "n_best"), [(1, 1), (3, 1), (5, 2)])
def test_a_likely_end_is_where_ending_next_could_not_win(
    name: str, beam_size: int, n_best: int
) -> None:
    length_penalty, _, score = SCORINGS[name]

    def done(finished: list[Any], live: list[Any], length: int) -> bool:
        scores = sorted(map(score, finished), reverse=True)
        if len(scores) < n_best or not live:
            return False
        longer = min(length + 1, max_length)
        return bool(scores[n_best - 1] >= live[0].log_prob / longer ** LENGTHENED[name])

    table, max_lengths = Table(8, 5 * beam_size), [9, 7, 1, 2, 12, 5, 9, 3]
    found, bound = (
        search(
            table,
            beam_size=beam_size,
            max_lengths_b=max_lengths,
            n_best=n_best,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
        )
        for early_stopping in ("heuristic", "exact")
    )
    for sentence, max_length in enumerate(max_lengths):
        expected = slow_beam(table, sentence, max_length, n_best, score, beam_size, done=done)
        assert_same(found[sentence], expected, score)
    if name == "average steep" and beam_size < 5:
        tokens = [[[one.tokens for one in best] for best in every] for every in (found, bound)]
        assert tokens[0] != tokens[1], "where nothing is missed there was nothing to test"


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    table = Table(6, 5)
    for sentence, (found,) in enumerate(search(table, beam_size=1, max_lengths_b=[10] * 6)):
        tokens: list[int] = []
        while len(tokens) < 10 and EOS not in tokens:
            before, last = [*START, *tokens][-2:]
            distribution = table.log_probs[sentence][before][last]
            tokens.append(max(range(TOKENS), key=distribution.__getitem__))
        assert found.tokens == tokens


@scorings
def test_neighbours_change_nothing(scoring: Any) -> None:
    length_penalty, coverage_penalty, _ = scoring
    table, max_lengths, order = Table(7, 3), [6, 2, 9, 4, 1, 9, 5], [4, 0, 6, 2, 5, 1, 3]
    options = {
        "beam_size": 3,
        "n_best": 3,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
    }
    shuffled = search(table, order=order, max_lengths_b=[max_lengths[i] for i in order], **options)
    for sentence, together in zip(order, shuffled, strict=True):
        (alone,) = search(table, order=[sentence], max_lengths_b=[max_lengths[sentence]], **options)
        for one, other in zip(together, alone, strict=True):
            assert one._replace(weights_ts=None) == other._replace(weights_ts=None)
            assert one.weights_ts is not None
            assert other.weights_ts is not None
            assert one.weights_ts.equal(other.weights_ts)


def test_equal_hypotheses_stand_in_the_order_of_the_vocabulary() -> None:
    table = Table(1, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [math.log(0.25)] * TOKENS
    (found,) = search(table, beam_size=40, max_lengths_b=[3], n_best=6)
    assert [one.tokens for one in found] == [[1], [0, 1], [2, 1], [3, 1], [0, 0, 1], [0, 2, 1]]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_no_ngram_comes_twice_when_blocked(size: int, beam_size: int) -> None:
    def allowed(tokens: tuple[int, ...]) -> bool:
        ngrams = [tokens[i : i + size] for i in range(len(tokens) - size + 1)]
        return len(set(ngrams)) == len(ngrams)

    table = Table(6, 9, sharpness=3.0)
    options: Any = {
        "beam_size": beam_size,
        "max_lengths_b": [12] * 6,
        "n_best": 2,
        "length_penalty": AverageLengthPenalty(alpha=2.0),
    }
    found = search(table, block_ngram=size, **options)
    for sentence in range(6):
        expected = slow_beam(table, sentence, 12, 2, average(2.0), beam_size, allowed)
        assert_same(found[sentence], expected, average(2.0))
    free = search(table, **options)
    assert any(not allowed(tuple(one.tokens)) for some in free for one in some)


def test_a_model_that_does_not_attend_gives_no_weights() -> None:
    table = Table(2, 4)
    blind = search(table, beam_size=3, max_lengths_b=[5, 5], step=table.blind_step)
    seeing = search(table, beam_size=3, max_lengths_b=[5, 5])
    assert [one.weights_ts for (one,) in blind] == [None, None]
    assert [one.tokens for (one,) in blind] == [one.tokens for (one,) in seeing]


def test_weights_and_coverage_are_of_real_positions_only() -> None:
    table, coverage = Table(2, 6), GnmtCoveragePenalty(beta=0.7)
    mask_bs = torch.tensor([[True, True, True], [True, True, False]])
    options: Any = {"beam_size": 4, "coverage_penalty": coverage}
    # The first sentence leaves before the second one.
    _, (padded,) = search(table, max_lengths_b=[1, 5], source_mask_bs=mask_bs, **options)
    for rows in table.weights[1]:
        rows[:] = [weights[:2] for weights in rows]
    table.weights = table.weights[1:]
    table.log_probs = table.log_probs[1:]
    ((short,),) = search(table, max_lengths_b=[5], **options)
    assert padded.weights_ts is not None
    assert short.weights_ts is not None
    assert padded.weights_ts.equal(short.weights_ts)
    assert padded.tokens == short.tokens
    assert padded.score == pytest.approx(short.score, rel=1e-12)


def test_a_coverage_penalty_without_attention_is_the_users_mistake() -> None:
    table = Table(1, 4)
    with pytest.raises(UserError, match="requires a model with attention"):
        search(
            table,
            beam_size=2,
            max_lengths_b=[3],
            step=table.blind_step,
            coverage_penalty=GnmtCoveragePenalty(),
        )


def test_probabilities_that_are_not_numbers_are_told() -> None:
    table = Table(2, 4)
    table.log_probs[1][EOS][BOS][2] = math.nan
    with pytest.raises(UserError, match="NaN"):
        search(table, beam_size=2, max_lengths_b=[3, 3])


def test_no_sentences_give_no_results() -> None:
    assert search(Table(1, 0), order=[], beam_size=2, max_lengths_b=[]) == []


def test_the_oracle_counts_all_probability() -> None:
    total = sum(math.exp(said.log_prob) for said in every_string(Table(1, 0), 0, 4))
    assert total == pytest.approx(1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("block_ngram", [0, 2])
def test_a_gpu_finds_what_the_cpu_finds(block_ngram: int) -> None:
    table, coverage = Table(4, 6), GnmtCoveragePenalty()
    options: Any = {"beam_size": 3, "max_lengths_b": [5, 2, 9, 7], "block_ngram": block_ngram}
    here = search(table, coverage_penalty=coverage, **options)
    memory, state = tree_map_only(torch.Tensor, torch.Tensor.cuda, table.start())
    there = beam_search(
        table.step,
        memory,
        state,
        bos=BOS,
        eos=EOS,
        length_penalty=NONE,
        coverage_penalty=coverage,
        **options,
    )
    for (one,), (other,) in zip(here, there, strict=True):
        assert one.tokens == other.tokens
        assert one.score == pytest.approx(other.score, rel=1e-6)
        torch.testing.assert_close(one.weights_ts, other.weights_ts)
