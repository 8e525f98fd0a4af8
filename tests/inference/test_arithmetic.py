"""Contexts whose bits do not depend on padding and on the number of sentences."""

import pytest
import torch
from torch import Tensor

from nmt.inference import arithmetic
from nmt.inference.arithmetic import (
    MAX_POSITIONS,
    MIN_CONTEXT_WIDTH,
    MIN_QUERIES,
    RowIndependentArithmetic,
    adds_in_order,
)
from tests.product_libraries import PRODUCT_LIBRARIES, product_library

PRODUCT = Tensor.__matmul__


def _draw(queries: int, positions: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(positions)
    weights_bqs = torch.rand(17, queries, positions, generator=generator)
    return weights_bqs, torch.randn(17, positions, width, generator=generator)


@pytest.mark.usefixtures("elementwise")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("library", PRODUCT_LIBRARIES)
@pytest.mark.parametrize("width", [20, MIN_CONTEXT_WIDTH, 131, 515])
@pytest.mark.parametrize("queries", range(1, MIN_QUERIES + 2))
def test_contexts_do_not_depend_on_padding_and_other_sentences(
    queries: int, width: int, library: str, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with product_library(library) as is_available:
            if not is_available:
                pytest.skip(f"products by {library} lose precision on this CPU")
            _compare_contexts(queries, width)
    finally:
        torch.set_num_threads(before)


def _compare_contexts(queries: int, width: int) -> None:
    context = RowIndependentArithmetic().context
    weights_bqs, values_bse = _draw(queries, 2 * MAX_POSITIONS + 9, width)
    for positions in (1, 3, 9, 33, 100, MAX_POSITIONS + 1, 230):
        padded_bqs = weights_bqs.clone()
        padded_bqs[:, :, positions:] = 0
        padded_bqe = context(padded_bqs, values_bse)
        exact_bqe = padded_bqs.double() @ values_bse.double()
        torch.testing.assert_close(padded_bqe.double(), exact_bqe, rtol=1e-5, atol=1e-4)
        for rows in (slice(0, 1), slice(7, 8), slice(0, 2), slice(7, 10), slice(0, 17)):
            own_bqs = padded_bqs[rows, :, :positions].contiguous()
            own_bqe = context(own_bqs, values_bse[rows, :positions].contiguous())
            assert torch.equal(own_bqe, padded_bqe[rows]), (positions, rows)


def _divide_sums(left: Tensor, right: Tensor) -> Tensor:
    """Compute a product whose sums are those of two halves."""
    half = left.size(-1) // 2
    parts = PRODUCT(left[..., :half], right[..., :half, :])
    return parts + PRODUCT(left[..., half:], right[..., half:, :])


def test_contexts_are_summed_in_float64_by_libraries_that_divide_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tensor, "__matmul__", _divide_sums)
    assert not adds_in_order.__wrapped__(MIN_CONTEXT_WIDTH, 1)
    monkeypatch.setattr(arithmetic, "adds_in_order", lambda width, threads: False)
    _compare_contexts(MIN_QUERIES, MIN_CONTEXT_WIDTH)
