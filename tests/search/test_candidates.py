"""Candidates are exact, and ties have a fixed order."""

import random
from typing import Any

import pytest
import torch

from nmt.native import library
from nmt.search.candidates import (
    block_repeated_ngrams,
    select_candidates,
    topk_by_sorting,
    topk_with_tie_repair,
)

NATIVE = pytest.param(
    library.largest_sums,
    marks=pytest.mark.skipif(
        not library.is_available(), reason="the kernels in C were not compiled"
    ),
)
every_topk = pytest.mark.parametrize("topk", [topk_with_tie_repair, topk_by_sorting, NATIVE])


@pytest.mark.parametrize("count", [1, 2, 7, 36, 100])
@pytest.mark.parametrize("is_native", [True, False])
def test_candidates_equal_a_sort_by_log_prob_parent_and_token(
    count: int, is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_native:
        monkeypatch.setattr(library, "is_available", lambda: False)
    numbers = random.Random(count)
    # Few different values, exact in binary, so that most of them are equal.
    live = [[-0.25 * numbers.randrange(3) for _ in range(3)] for _ in range(40)]
    table = [[[-0.25 * numbers.randrange(5) for _ in range(12)] for _ in range(3)] for _ in live]
    found = select_candidates(torch.tensor(live), torch.tensor(table).flatten(0, 1), count)
    for row in range(len(live)):
        totals = [(-(live[row][k] + table[row][k][v]), k, v) for k in range(3) for v in range(12)]
        expected = sorted(totals)[:count]
        assert found.log_prob_bc[row].tolist() == [-total for total, _, _ in expected]
        assert found.parent_bc[row].tolist() == [k for _, k, _ in expected]
        assert found.token_bc[row].tolist() == [v for _, _, v in expected]
        assert found.token_log_prob_bc[row].tolist() == [table[row][k][v] for _, k, v in expected]


@every_topk
@pytest.mark.parametrize("count", [1, 2, 7, 36, 100])
def test_ties_are_ordered_by_position(topk: Any, count: int) -> None:
    torch.manual_seed(count)
    # Few different values, exact in binary; blocks of ten and whole blocks of nothing but equals.
    live_bk = -0.25 * torch.randint(3, (40, 3)).float()
    table_bkv = -0.25 * torch.randint(5, (40, 3, 130)).float()
    table_bkv[:20, :, 10:100] = -0.5
    totals_bx = (live_bk[:, :, None] + table_bkv).flatten(1)
    expected_bc, places_bc = totals_bx.sort(dim=1, descending=True, stable=True)
    found_bc, found_places_bc = topk(live_bk, table_bkv, count)
    assert torch.equal(found_bc, expected_bc[:, :count])
    assert torch.equal(found_places_bc, places_bc[:, :count])


@every_topk
@pytest.mark.parametrize("vocabulary", [8000, 1021, 130, 3])
def test_topk_is_exact_for_any_vocabulary_size(topk: Any, vocabulary: int) -> None:
    torch.manual_seed(vocabulary)
    live_bk, table_bkv = -torch.rand(6, 5), -3 * torch.rand(6, 5, vocabulary)
    found_bc, found_places_bc = topk(live_bk, table_bkv, 10)
    totals_bx = (live_bk[:, :, None] + table_bkv).flatten(1)
    expected_bc, places_bc = totals_bx.sort(dim=1, descending=True, stable=True)
    assert torch.equal(found_bc, expected_bc[:, :10])
    assert torch.equal(found_places_bc, places_bc[:, :10])


def test_large_vocabulary_of_ties_gives_its_first_tokens() -> None:
    found = select_candidates(torch.zeros(2, 2), torch.full((4, 5000), -1.0), 4)
    assert found.token_bc.tolist() == [[0, 1, 2, 3]] * 2
    assert found.parent_bc.tolist() == [[0, 0, 0, 0]] * 2


def test_half_precision_is_summed_in_float32() -> None:
    log_probs_nv = torch.tensor([[-0.001, -3.0]], dtype=torch.bfloat16)
    found = select_candidates(torch.tensor([[-100.0]]), log_probs_nv, 1)
    assert found.log_prob_bc.item() == pytest.approx(-100.001, abs=1e-5)


@every_topk
def test_nan_sorts_first(topk: Any) -> None:
    log_probs_bkv = torch.full((2, 2, 50), -1.0)
    log_probs_bkv[1, 1, 33] = float("nan")
    found_bc, _ = topk(torch.zeros(2, 2), log_probs_bkv, 2)
    assert found_bc[:, 0].isnan().tolist() == [False, True]


def test_only_tokens_that_repeat_an_ngram_are_blocked() -> None:
    prefixes_nt = torch.tensor([[4, 5, 6, 4, 5], [4, 4, 4, 4, 4], [1, 2, 3, 4, 5]])
    log_probs_nv = torch.full((3, 8), -1.0)

    def blocked(size: int) -> list[list[int]]:
        kept_nv = block_repeated_ngrams(log_probs_nv, prefixes_nt, size).isfinite()
        return [(~row).nonzero().flatten().tolist() for row in kept_nv]

    assert blocked(1) == [[4, 5, 6], [4], [1, 2, 3, 4, 5]]
    assert blocked(2) == [[6], [4], []]
    assert blocked(3) == [[6], [4], []]
    assert blocked(4) == [[], [4], []]
    assert blocked(6) == [[], [], []]
    assert log_probs_nv.eq(-1.0).all()
