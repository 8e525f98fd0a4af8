"""Row-independent attention arithmetic against the formulas in float64."""

import pytest
import torch
from torch import Tensor

from nmt.inference.attention import (
    MAX_EXP_ARG,
    factored_tanh_energies,
    float64_softmax,
    row_independent_attention,
    row_independent_tanh_energies,
)
from nmt.model.attention.mechanism import masked_softmax
from nmt.model.layers.multi_head import Heads, multi_head_attention
from tests.product_libraries import PRODUCT_LIBRARIES, product_library

WIDTH = 6


def _exact_energies(query_bqa: Tensor, keys_bsa: Tensor, v_a: Tensor) -> Tensor:
    pairs_bqsa = torch.tanh(query_bqa.double()[:, :, None] + keys_bsa.double()[:, None])
    return pairs_bqsa @ v_a.detach().double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("largest", [0.01, 3.0, MAX_EXP_ARG - 0.1])
def test_factored_tanh_equals_tanh(dtype: torch.dtype, largest: float) -> None:
    torch.manual_seed(3)
    v_a = torch.randn(WIDTH, dtype=dtype)
    query_bqa = (2 * torch.rand(2, 5, WIDTH, dtype=dtype) - 1) * largest
    keys_bsa = (2 * torch.rand(2, 7, WIDTH, dtype=dtype) - 1) * largest
    keys_bsa[0, 0], query_bqa[0, 0] = largest, -largest
    energies_bqs = factored_tanh_energies(query_bqa, keys_bsa, v_a).double()
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    exact_bqs = _exact_energies(query_bqa, keys_bsa, v_a)
    torch.testing.assert_close(energies_bqs, exact_bqs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("queries", [1, 4])
def test_each_row_chooses_its_own_form(queries: int) -> None:
    """Keys of the second sentence and a query of the third are out of the range of exponentials."""
    torch.manual_seed(4)
    v_a, query_bqa, keys_bsa = torch.randn(6), torch.randn(3, queries, 6), torch.randn(3, 7, 6)
    keys_bsa[1, 2, 3], query_bqa[2, 0, 1] = -60.0, 90.0
    energies_bqs = factored_tanh_energies(query_bqa, keys_bsa, v_a)
    assert energies_bqs.isfinite().all()
    exact_bqs = _exact_energies(query_bqa, keys_bsa, v_a)
    torch.testing.assert_close(energies_bqs.double(), exact_bqs, rtol=2e-6, atol=2e-6)
    for sentence in range(3):
        row = slice(sentence, sentence + 1)
        alone_1qs = factored_tanh_energies(query_bqa[row], keys_bsa[row], v_a)
        assert torch.equal(alone_1qs[0], energies_bqs[sentence])
        for query in range(queries if queries > 1 else 0):
            # Two queries, so that the form of one query is not chosen.
            pair_12a = query_bqa[row][:, [query, query]]
            alone_12s = factored_tanh_energies(pair_12a, keys_bsa[row], v_a)
            assert torch.equal(alone_12s[0, 0], energies_bqs[sentence, query])


def test_nan_keys_give_nan_energies() -> None:
    keys_bsa = torch.full((2, 4, WIDTH), torch.nan)
    energies_bqs = factored_tanh_energies(torch.randn(2, 3, WIDTH), keys_bsa, torch.randn(WIDTH))
    assert energies_bqs.isnan().all()


def test_half_precision_is_never_factored() -> None:
    v_a = torch.randn(WIDTH).bfloat16()
    query_bqa, keys_bsa = torch.randn(2, 3, WIDTH).bfloat16(), torch.randn(2, 4, WIDTH).bfloat16()
    found_bqs = factored_tanh_energies(query_bqa, keys_bsa, v_a)
    assert torch.equal(found_bqs, row_independent_tanh_energies(query_bqa, keys_bsa, v_a))


def test_float64_softmax_equals_masked_softmax_without_showing_the_padding() -> None:
    torch.manual_seed(5)
    energies_bqs, mask_bs = torch.randn(2, 3, 5), torch.arange(5) < torch.tensor([[5], [3]])
    weights_bqs = float64_softmax(energies_bqs, mask_bs)
    assert weights_bqs.dtype == torch.float32
    torch.testing.assert_close(weights_bqs, masked_softmax(energies_bqs, mask_bs))
    assert torch.equal(
        weights_bqs[1:, :, :3], float64_softmax(energies_bqs[1:, :, :3], mask_bs[1:, :3])
    )
    assert (weights_bqs[1, :, 3:] == 0).all()


@pytest.mark.parametrize("library", PRODUCT_LIBRARIES)
@pytest.mark.parametrize(("width", "positions"), [(3, 99), (16, 9), (18, 40)])
def test_a_step_of_self_attention_equals_multi_head_attention(
    width: int, positions: int, library: str
) -> None:
    """The rows of a step are those of all hypotheses, which are few at the end of a batch."""
    torch.manual_seed(7)
    query_bh1w = torch.randn(40, 2, 1, width)
    memory = Heads(*torch.randn(2, 40, 2, positions, width))
    expected = multi_head_attention(query_bh1w, memory)
    with product_library(library):
        found = row_independent_attention(query_bh1w, memory)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        for rows in (slice(0, 2), slice(9, 12), slice(33, 40)):
            own = Heads(*(part[rows] for part in memory))
            some = row_independent_attention(query_bh1w[rows], own)
            assert all(map(torch.equal, some, (found[0][rows], found[1][rows])))


@pytest.mark.parametrize("causal", [True, False])
def test_row_independent_attention_equals_multi_head_attention(causal: bool) -> None:
    torch.manual_seed(6)
    query_bhqw, keys_bhsw, values_bhsw = torch.randn(3, 2, 4, 5, 8)
    mask_bs = None if causal else torch.arange(5) < torch.tensor([[5], [3]])
    memory = Heads(keys_bhsw, values_bhsw)
    found = row_independent_attention(query_bhqw, memory, mask_bs, causal=causal)
    expected = multi_head_attention(query_bhqw, memory, mask_bs, causal=causal)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
