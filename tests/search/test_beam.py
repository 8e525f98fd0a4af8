"""Beam search compared with exhaustive search and with a reference implementation."""

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
    reference_beam_search,
    unpenalized,
)

SCORINGS = {
    "none": (NONE, NO_COVERAGE, unpenalized),
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
def test_wide_beam_equals_exhaustive_search(scoring: Any, seed: int) -> None:
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
def test_narrow_beam_equals_the_reference_without_early_stopping(
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
        expected = reference_beam_search(table, sentence, max_length, n_best, score, beam_size)
        assert_same(found[sentence], expected, score)


EXPONENTS = {"none": 0.0, "average": 1.0, "average steep": 2.0}


@pytest.mark.parametrize("name", EXPONENTS)
@pytest.mark.parametrize(("beam_size", "n_best"), [(2, 1), (3, 1), (5, 2)])
def test_heuristic_stops_if_no_hypothesis_would_win_by_ending_next(
    name: str, beam_size: int, n_best: int
) -> None:
    length_penalty, _, score = SCORINGS[name]

    def stops(finished: list[Any], active: list[Any], length: int) -> bool:
        scores = sorted(map(score, finished), reverse=True)
        if len(scores) < n_best or not active:
            return False
        longer = min(length + 1, max_length)
        return bool(scores[n_best - 1] >= active[0].log_prob / longer ** EXPONENTS[name])

    table, max_lengths = Table(8, 5 * beam_size), [9, 7, 1, 2, 12, 5, 9, 3]
    heuristic, exact = (
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
        expected = reference_beam_search(
            table, sentence, max_length, n_best, score, beam_size, stops=stops
        )
        assert_same(heuristic[sentence], expected, score)
    if name == "average steep" and beam_size < 5:
        tokens = [[[one.tokens for one in best] for best in every] for every in (heuristic, exact)]
        assert tokens[0] != tokens[1], "the test requires a sentence on which the two differ"


@scorings
def test_greedy_search_selects_the_most_likely_token_at_every_step(scoring: Any) -> None:
    length_penalty, coverage_penalty, _ = scoring
    table = Table(40, 5)
    found = search(
        table,
        beam_size=1,
        max_lengths_b=[10] * 40,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    for sentence, (greedy,) in enumerate(found):
        tokens: list[int] = []
        while len(tokens) < 10 and EOS not in tokens:
            before, last = [*START, *tokens][-2:]
            distribution = table.log_probs[sentence][before][last]
            tokens.append(max(range(TOKENS), key=distribution.__getitem__))
        assert greedy.tokens == tokens
        assert greedy.finished == (EOS in tokens)


def _collapsed(tokens: list[int]) -> str:
    """Return a text that tokens 2 and 3 spell alike, and in which token 0 is a space."""
    return "".join({0: " ", 2: "a", 3: "a"}[token] for token in tokens)


@scorings
def test_n_best_texts_are_distinct_and_the_best_of_each(scoring: Any) -> None:
    length_penalty, coverage_penalty, score = scoring
    table = Table(5, 8)
    options: Any = {"length_penalty": length_penalty, "coverage_penalty": coverage_penalty}
    found = search(
        table, beam_size=120, max_lengths_b=[4] * 5, n_best=6, detokenize=_collapsed, **options
    )
    for sentence, hypotheses in enumerate(found):
        best: dict[str, Any] = {}
        for string in best_strings(table, sentence, 4, 10_000, score):
            tokens = [token for token in string.tokens if token != EOS]
            best.setdefault(" ".join(_collapsed(tokens).split()), string)
        assert_same(hypotheses, list(best.values())[:6], score)
    # The best hypothesis is the same as without a list.
    alone = search(table, beam_size=120, max_lengths_b=[4] * 5, detokenize=_collapsed, **options)
    assert [one.tokens for (one,) in alone] == [one[0].tokens for one in found]


@scorings
def test_results_do_not_depend_on_the_other_sentences(scoring: Any) -> None:
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


def test_ties_are_in_the_order_of_parent_and_token() -> None:
    table = Table(1, 2)
    for row in (row for rows in table.log_probs[0] for row in rows):
        row[:] = [math.log(0.25)] * TOKENS
    (found,) = search(table, beam_size=40, max_lengths_b=[3], n_best=6)
    assert [one.tokens for one in found] == [[1], [0, 1], [2, 1], [3, 1], [0, 0, 1], [0, 2, 1]]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_blocked_ngrams_do_not_repeat(size: int, beam_size: int) -> None:
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
        expected = reference_beam_search(table, sentence, 12, 2, average(2.0), beam_size, allowed)
        assert_same(found[sentence], expected, average(2.0))
    free = search(table, **options)
    assert any(not allowed(tuple(one.tokens)) for some in free for one in some)


def test_model_without_attention_gives_no_weights() -> None:
    table = Table(2, 4)
    without = search(table, beam_size=3, max_lengths_b=[5, 5], step=table.step_without_attention)
    attending = search(table, beam_size=3, max_lengths_b=[5, 5])
    assert [one.weights_ts for (one,) in without] == [None, None]
    assert [one.tokens for (one,) in without] == [one.tokens for (one,) in attending]


def test_weights_and_coverage_exclude_padding() -> None:
    table, coverage = Table(2, 6), GnmtCoveragePenalty(beta=0.7)
    mask_bs = torch.tensor([[True, True, True], [True, True, False]])
    options: Any = {"beam_size": 4, "coverage_penalty": coverage}
    # The first sentence is done before the second one.
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


def test_coverage_penalty_without_attention_raises() -> None:
    table = Table(1, 4)
    with pytest.raises(UserError, match="requires a model with attention"):
        search(
            table,
            beam_size=2,
            max_lengths_b=[3],
            step=table.step_without_attention,
            coverage_penalty=GnmtCoveragePenalty(),
        )


def test_nan_probabilities_raise() -> None:
    table = Table(2, 4)
    table.log_probs[1][EOS][BOS][2] = math.nan
    with pytest.raises(UserError, match="NaN"):
        search(table, beam_size=2, max_lengths_b=[3, 3])


def test_empty_batch_has_no_results() -> None:
    assert search(Table(1, 0), order=[], beam_size=2, max_lengths_b=[]) == []


def test_probabilities_of_exhaustive_search_sum_to_one() -> None:
    total = sum(math.exp(string.log_prob) for string in every_string(Table(1, 0), 0, 4))
    assert total == pytest.approx(1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("block_ngram", [0, 2])
def test_gpu_results_equal_those_of_the_cpu(block_ngram: int) -> None:
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
