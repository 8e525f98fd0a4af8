"""Sampling: the right frequencies, the right sets, nobody's neighbours."""

import math
from collections import Counter
from typing import Any

import pytest
import torch

from nmt.errors import UserError
from nmt.search.hypothesis import Hypothesis
from nmt.search.stepwise import invert_cdf, sample, truncate_distribution

from .tables import BOS, EOS, START, Table, every_string


def drawn(table: Table, order: list[int], **options: Any) -> list[Hypothesis]:
    return sample(table.step, *table.start(order), bos=BOS, eos=EOS, **options)


def test_strings_come_as_often_as_they_are_likely() -> None:
    table, draws, max_length = Table(1, 3, sharpness=0.7), 6000, 3
    found = drawn(table, [0] * draws, max_lengths_b=[max_length] * draws, seeds_b=range(draws))
    counts = Counter(tuple(one.tokens) for one in found)
    strings = list(every_string(table, 0, max_length))
    assert set(counts) <= {said.tokens for said in strings}
    frequent = [said for said in strings if draws * math.exp(said.log_prob) >= 5]
    expected = [draws * math.exp(said.log_prob) for said in frequent]
    chi_square = sum(
        (counts[said.tokens] - mean) ** 2 / mean
        for said, mean in zip(frequent, expected, strict=True)
    )
    # Mean and deviation of chi-square are about n and sqrt(2n); four deviations are 1 in 15000.
    assert len(frequent) > 20
    assert chi_square < len(frequent) + 4 * math.sqrt(2 * len(frequent))


def test_a_draw_is_scored_by_the_model_itself_whatever_it_was_drawn_from() -> None:
    table = Table(3, 2)
    found = drawn(
        table,
        [0, 1, 2],
        max_lengths_b=[6, 2, 4],
        seeds_b=[1, 2, 3],
        temperature=0.5,
        top_k=3,
        top_p=0.9,
    )
    for sentence, one in enumerate(found):
        said = table.spell(sentence, one.tokens)
        assert one.token_log_probs == pytest.approx(list(said.log_probs))
        assert one.score == one.log_prob == pytest.approx(said.log_prob)
        assert one.finished == said.finished
        assert one.weights_ts is not None
        torch.testing.assert_close(one.weights_ts, torch.tensor(said.weights))


def test_neighbours_change_nothing() -> None:
    table, seeds, lengths = Table(5, 7), [11, 5, 8, 5, 2], [9, 3, 9, 1, 6]
    together = drawn(table, [3, 1, 4, 0, 2], max_lengths_b=lengths, seeds_b=seeds)
    for place, sentence in enumerate([3, 1, 4, 0, 2]):
        (alone,) = drawn(table, [sentence], max_lengths_b=[lengths[place]], seeds_b=[seeds[place]])
        assert alone.tokens == together[place].tokens
        assert alone.log_prob == together[place].log_prob


def test_only_the_top_k_are_ever_drawn() -> None:
    table, draws = Table(1, 3), 300
    found = drawn(table, [0] * draws, max_lengths_b=[5] * draws, seeds_b=range(draws), top_k=2)
    ranks = [rank for one in found for rank in _ranks(table, one.tokens)]
    assert set(ranks) == {0, 1}


def _ranks(table: Table, tokens: list[int]) -> list[int]:
    """How many tokens were likelier than the one drawn, at each place."""
    ranks = []
    for place, token in enumerate(tokens):
        before, last = [*START, *tokens[:place]][-2:]
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
def test_temperature_top_k_and_top_p_leave_these_shares(
    options: tuple[float, int, float], expected: list[float]
) -> None:
    log_probs_bv = torch.tensor([[0.1, 0.4, 0.3, 0.2]], dtype=torch.float64).log()
    assert truncate_distribution(log_probs_bv, *options)[0].tolist() == pytest.approx(
        expected, abs=1e-12
    )


def test_of_equally_likely_tokens_the_first_are_the_top() -> None:
    assert truncate_distribution(torch.zeros(1, 4), 1.0, 2, 1.0)[0].tolist() == [
        0.25,
        0.25,
        0.0,
        0.0,
    ]


def test_a_number_falls_to_the_token_whose_share_holds_it() -> None:
    shares = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]], dtype=torch.float64)
    places = {0.0: 1, 0.24: 1, 0.25: 3, 0.5: 3, 0.74: 3, 0.75: 4, math.nextafter(1, 0): 4}
    for number, token in places.items():
        assert invert_cdf(shares, torch.tensor([number], dtype=torch.float64)).tolist() == [token]
        assert invert_cdf(shares / 4, torch.tensor([number], dtype=torch.float64)).tolist() == [
            token
        ]


def test_probabilities_that_are_not_numbers_are_told() -> None:
    table = Table(1, 4)
    table.log_probs[0][EOS][BOS][2] = math.nan
    with pytest.raises(UserError, match="NaN"):
        drawn(table, [0], max_lengths_b=[3], seeds_b=[0])
