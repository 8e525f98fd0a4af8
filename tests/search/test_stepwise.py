"""Sampling and forced decoding compared with probabilities of a table."""

import math
from collections import Counter
from typing import Any

import pytest
import torch

from nmt.errors import UserError
from nmt.search.beam import beam_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.scoring import (
    UNPENALIZED,
    AverageLengthPenalty,
    GnmtCoveragePenalty,
    GnmtLengthPenalty,
    Scoring,
)
from nmt.search.stepwise import (
    find_alternatives,
    force_decode,
    invert_cdf,
    sample,
    truncate_distribution,
)

from .tables import BOS, EOS, START, Table, every_string, gnmt


def sample_table(table: Table, order: list[int], **options: Any) -> list[Hypothesis]:
    return sample(table.step, *table.start(order), bos=BOS, eos=EOS, **options)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize(
    "options", [(1e-310, 0, 1.0), (1e-40, 0, 1.0), (1.0, 0, 1e-310), (5e-324, 2, 5e-324)]
)
def test_tiny_temperature_and_tiny_nucleus_choose_the_most_likely_token(
    options: tuple[float, int, float], flush: bool
) -> None:
    log_probs_bv = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.4, 0.6]]).log()
    try:
        torch.set_flush_denormal(flush)
        found_bv = truncate_distribution(log_probs_bv, *options)
    finally:
        torch.set_flush_denormal(False)
    assert found_bv.argmax(dim=-1).tolist() == [1, 2]
    assert found_bv.count_nonzero(dim=-1).tolist() == [1, 1]


def test_samples_have_the_frequencies_of_the_model() -> None:
    table, count, max_length = Table(1, 3, sharpness=0.7), 6000, 3
    found = sample_table(
        table, [0] * count, max_lengths_b=[max_length] * count, seeds_b=range(count)
    )
    counts = Counter(tuple(one.tokens) for one in found)
    strings = list(every_string(table, 0, max_length))
    assert set(counts) <= {string.tokens for string in strings}
    frequent = [string for string in strings if count * math.exp(string.log_prob) >= 5]
    expected = [count * math.exp(string.log_prob) for string in frequent]
    chi_square = sum(
        (counts[string.tokens] - mean) ** 2 / mean
        for string, mean in zip(frequent, expected, strict=True)
    )
    # Chi-square has about mean n and standard deviation sqrt(2n); four deviations are 1 in 15,000.
    assert len(frequent) > 20
    assert chi_square < len(frequent) + 4 * math.sqrt(2 * len(frequent))


def test_sample_score_is_the_log_prob_of_the_untruncated_model() -> None:
    table = Table(3, 2)
    found = sample_table(
        table,
        [0, 1, 2],
        max_lengths_b=[6, 2, 4],
        seeds_b=[1, 2, 3],
        temperature=0.5,
        top_k=3,
        top_p=0.9,
    )
    for sentence, one in enumerate(found):
        string = table.string(sentence, one.tokens)
        assert one.token_log_probs == pytest.approx(list(string.log_probs))
        assert one.score == one.log_prob == pytest.approx(string.log_prob)
        assert one.finished == string.finished
        assert one.weights_ts is not None
        torch.testing.assert_close(one.weights_ts, torch.tensor(string.weights))


def test_samples_do_not_depend_on_the_other_sentences() -> None:
    table, seeds, lengths = Table(5, 7), [11, 5, 8, 5, 2], [9, 3, 9, 1, 6]
    together = sample_table(table, [3, 1, 4, 0, 2], max_lengths_b=lengths, seeds_b=seeds)
    for row, sentence in enumerate([3, 1, 4, 0, 2]):
        (alone,) = sample_table(
            table, [sentence], max_lengths_b=[lengths[row]], seeds_b=[seeds[row]]
        )
        assert alone.tokens == together[row].tokens
        assert alone.log_prob == together[row].log_prob


def test_top_k_samples_only_the_k_most_likely_tokens() -> None:
    table, count = Table(1, 3), 300
    found = sample_table(
        table, [0] * count, max_lengths_b=[5] * count, seeds_b=range(count), top_k=2
    )
    ranks = [rank for one in found for rank in _ranks(table, one.tokens)]
    assert set(ranks) == {0, 1}


def _ranks(table: Table, tokens: list[int]) -> list[int]:
    """Return the number of tokens that are more likely than the sampled one, per position."""
    ranks = []
    for position, token in enumerate(tokens):
        before, last = [*START, *tokens[:position]][-2:]
        distribution = table.log_probs[0][before][last]
        ranks.append(sum(other > distribution[token] for other in distribution))
    return ranks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((1.0, 0, 1.0), [0.1, 0.4, 0.3, 0.2]),
        ((0.5, 0, 1.0), [0.01 / 0.3, 0.16 / 0.3, 0.09 / 0.3, 0.04 / 0.3]),
        ((1.0, 1, 1.0), [0.0, 0.4, 0.0, 0.0]),
        ((1.0, 3, 1.0), [0.0, 0.4, 0.3, 0.2]),
        ((1.0, 9, 1.0), [0.1, 0.4, 0.3, 0.2]),
        ((1.0, 0, 0.01), [0.0, 0.4, 0.0, 0.0]),
        ((1.0, 0, 0.39), [0.0, 0.4, 0.0, 0.0]),
        ((1.0, 0, 0.41), [0.0, 0.4, 0.3, 0.0]),
        ((1.0, 0, 0.8), [0.0, 0.4, 0.3, 0.2]),
        ((1.0, 3, 0.7), [0.0, 0.4, 0.3, 0.0]),  # 0.63 of the 0.9 that top_k leaves
        ((1.0, 2, 0.5), [0.0, 0.4, 0.0, 0.0]),  # 0.35 of 0.7
    ],
)
def test_truncated_distribution_equals_the_hand_computed_one(
    options: tuple[float, int, float], expected: list[float]
) -> None:
    log_probs_bv = torch.tensor([[0.1, 0.4, 0.3, 0.2]], dtype=torch.float64).log()
    found_bv = truncate_distribution(log_probs_bv, *options)
    assert found_bv[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_top_k_of_ties_keeps_the_first_tokens() -> None:
    found_bv = truncate_distribution(torch.zeros(1, 4), 1.0, 2, 1.0)
    assert found_bv.tolist() == [[0.25, 0.25, 0.0, 0.0]]


def test_uniform_number_selects_the_token_whose_interval_contains_it() -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    tokens = {0.0: 1, 0.24: 1, 0.25: 3, 0.5: 3, 0.74: 3, 0.75: 4, math.nextafter(1, 0): 4}
    for number, token in tokens.items():
        uniform = torch.tensor([number], dtype=torch.float64)
        assert invert_cdf(probabilities, uniform).tolist() == [token]
        assert invert_cdf(probabilities / 4, uniform).tolist() == [token]


def test_nan_probabilities_raise() -> None:
    table = Table(1, 4)
    table.log_probs[0][EOS][BOS][2] = math.nan
    with pytest.raises(UserError, match="NaN"):
        sample_table(table, [0], max_lengths_b=[3], seeds_b=[0])


TARGETS = [[2, 3, 2, 2, 0], [], [3], [0, 0, 2]]


@pytest.mark.parametrize("penalized", [False, True])
def test_forced_target_has_the_sum_of_its_log_probs(penalized: bool) -> None:
    table = Table(4, 1)
    scoring, score = UNPENALIZED, gnmt(0.0)
    if penalized:
        scoring = Scoring(GnmtLengthPenalty(alpha=0.7), GnmtCoveragePenalty(beta=0.4))
        score = gnmt(0.7, 0.4)
    found = force_decode(table.step, *table.start(), TARGETS, bos=BOS, eos=EOS, scoring=scoring)
    for sentence, target in enumerate(TARGETS):
        string = table.string(sentence, [*target, EOS])
        one = found[sentence]
        assert one.tokens == [*target, EOS]
        assert one.finished
        assert one.token_log_probs == pytest.approx(list(string.log_probs))
        assert one.log_prob == pytest.approx(string.log_prob)
        assert one.score == pytest.approx(score(string), rel=1e-6)
        assert one.weights_ts is not None
        torch.testing.assert_close(one.weights_ts, torch.tensor(string.weights))
    assert table.rows == [4, 3, 2, 2, 1, 1]


def test_forced_target_of_probability_zero_scores_minus_infinity() -> None:
    table = Table(1, 1)
    table.log_probs[0][EOS][BOS][3] = -math.inf
    (found,) = force_decode(table.step, *table.start(), [[3, 2]], bos=BOS, eos=EOS)
    assert found.score == -math.inf


def test_forced_decoding_of_a_search_result_gives_its_score() -> None:
    table, scoring = Table(5, 8), Scoring(AverageLengthPenalty(), GnmtCoveragePenalty())
    found = beam_search(
        table.step,
        *table.start(),
        bos=BOS,
        eos=EOS,
        beam_size=3,
        max_lengths_b=[30] * 5,
        length_penalty=scoring.length,
        coverage_penalty=scoring.coverage,
    )
    targets = [one.tokens[:-1] for (one,) in found]
    forced_b = force_decode(table.step, *table.start(), targets, bos=BOS, eos=EOS, scoring=scoring)
    for (one,), forced in zip(found, forced_b, strict=True):
        assert forced.score == pytest.approx(one.score, rel=1e-6)
        assert forced.weights_ts is not None
        assert one.weights_ts is not None
        assert forced.weights_ts.equal(one.weights_ts)


def test_forced_weights_exclude_padding() -> None:
    table, mask_bs = Table(2, 3), torch.tensor([[True, True, False], [True, True, True]])
    options: Any = {"bos": BOS, "eos": EOS, "source_mask_bs": mask_bs}
    first, second = force_decode(table.step, *table.start(), [[2], [2, 3]], **options)
    assert first.weights_ts is not None
    assert second.weights_ts is not None
    assert first.weights_ts.shape == (2, 2)
    assert second.weights_ts.shape == (3, 3)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_alternatives_are_the_most_likely_other_tokens(count: int) -> None:
    table = Table(4, 1)
    table.log_probs[2][EOS][BOS][2] = -math.inf  # impossible, so no alternative
    # The third one is unfinished.
    sequences = [[2, 3, 2, 2, 0, EOS], [EOS], [3, 2], [0, 0, 2, EOS]]
    found = find_alternatives(table.step, *table.start(), sequences, count, bos=BOS, eos=EOS)
    assert [len(own) for own in found] == [6, 1, 2, 4]
    for sentence, (sequence, own) in enumerate(zip(sequences, found, strict=True)):
        for position, others in enumerate(own):
            before, last = [*START, *sequence[:position]][-2:]
            distribution = enumerate(table.log_probs[sentence][before][last])
            expected = sorted(
                ((-p, t) for t, p in distribution if t != sequence[position] and p > -math.inf)
            )
            assert others == [(token, -value) for value, token in expected[:count]]


def test_forced_decoding_without_attention_has_no_weights() -> None:
    table = Table(1, 3)
    (found,) = force_decode(table.step_without_attention, *table.start(), [[2]], bos=BOS, eos=EOS)
    assert found.weights_ts is None
